"""Sub-rows of `load()`: columns such as `invoice_line_ids/quantity`, rows that go on with the record above.

Guarantees: a line whose external id is known is changed, any other is made (and named, when it has an id), as
Odoo 16 and 19 do; errors name the one2many field and the path of the label. Refuses: sub-rows of sub-rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Path = tuple[str, str | None]
Rows = list[Sequence[Any]]


def split(paths: list[Path], lines: set[str], rows: Sequence[Sequence[Any]]) -> list[tuple[int, int, Rows]]:
    """(first, last, rows) of each record: a row without any cell of its own belongs to the one before."""
    own = [place for place, (name, _) in enumerate(paths) if name not in lines]
    found: list[tuple[int, int, Rows]] = []
    for place, row in enumerate(rows):
        if found and lines and not any(row[index] for index in own):
            first, _, kept = found[-1]
            found[-1] = (first, place, [*kept, row])
        else:
            found.append((place, place, [row]))
    return found


def parts(paths: list[Path], name: str, rows: Rows) -> tuple[list[str], Rows]:
    """The columns and rows of one one2many field; rows without any cell of it are left out."""
    places = [place for place, (field, sub) in enumerate(paths) if field == name and sub]
    columns = [paths[place][1] or "" for place in places]
    return columns, [[row[place] for place in places] for row in rows if any(row[place] for place in places)]
