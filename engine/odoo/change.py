"""What a plan says of a record: one change a field, and what becomes of the record in a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


class Change(msgspec.Struct):
    """One field of one record. `old` is None where a record would be made; `note` says the rest."""

    op: str
    model: str
    key: str
    record: int | None = None
    field: str = ""
    old: Any = None
    new: Any = None
    note: str = ""


def kinds(changes: Iterable[Change]) -> list[tuple[str, list[Change]]]:
    """Changes by record, in order: what becomes of it in a word, and its changes.

    created, changed, untouched, archived, merged, called, or the note of the plan.
    """
    records: list[list[Change]] = []
    for change in changes:
        last = records[-1][-1] if records else None
        if last and (last.op, last.model, last.key) == (change.op, change.model, change.key) and change.field:
            records[-1].append(change)
        else:
            records.append([change])
    return [(_kind(record), record) for record in records]


def _kind(record: list[Change]) -> str:
    first = record[0]
    if first.op == "merge":
        return "merged" if first.note == "would merge" else first.note
    if not first.field:
        return "untouched" if first.note == "unchanged" else first.note
    if first.op == "archive" or any(one.field == "active" and one.new in ("0", "False") for one in record):
        return "archived"
    new = first.record is None and all(one.old is None for one in record)
    return "created" if new else "changed"
