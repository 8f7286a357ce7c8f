"""The code tables of a configuration with what was seen: codes that messages asked for, how often, and whether a row
answers them.

Guarantees: the channels' own steps run over stored messages, nothing is stored or sent; texts that are too long for a
code are counted and not told. Refuses nothing: messages that cannot be read are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from channels.impact import Sample
from channels.survey import LONGEST
from channels.tracer import Tracer
from channels.versions import name_of
from engine.errors import IsthmusError
from engine.spec.channel import Configuration
from engine.spec.document import Mark
from engine.spec.files import absolute
from engine.spec.tables import Table


class Row(msgspec.Struct):
    """A code with its values by column, and where it is written."""

    code: str
    values: dict[str, str]
    where: str


class TableView(msgspec.Struct):
    """A table. `file` is where new codes go; `otherwise`: what becomes of a code that it does not have."""

    name: str
    file: str
    otherwise: str
    default: str | None
    ignore_case: bool
    columns: list[str]
    rows: list[Row]


class Seen(msgspec.Struct):
    """Codes that were asked for, most frequent first; `missing` ones have no row."""

    messages: int = 0
    channels: list[str] = []
    counts: dict[str, int] = {}
    missing: dict[str, int] = {}
    long: int = 0


def tables(configuration: Configuration) -> list[TableView]:
    """All tables by name."""
    return [_view(configuration, table) for _, table in sorted(configuration.tables.items())]


def _view(configuration: Configuration, table: Table) -> TableView:
    root = configuration.files.root

    def place(mark: Mark | None) -> str:
        return f"{name_of(absolute(Path(mark.file)), root)}:{mark.line}" if mark else ""

    rows = [Row(code, dict(values), place(table.place(code))) for code, values in table.rows.items()]
    file, _ = home(configuration, table.name)
    return TableView(
        table.name, file, table.otherwise, table.default, table.ignore_case, list(table.columns), rows
    )


def home(configuration: Configuration, table: str, code: str = "") -> tuple[str, tuple[str, ...]]:
    """The file in which a table has a code, or gets a new one, and the keys that lead to it there."""
    document, root = configuration.document, configuration.files.root
    body = document.data["tables"][table]
    where: tuple[str, ...] = ("tables", table)
    inline = name_of(absolute(Path(document.mark(where).file)), root)
    keys = (*where, "values")
    if not body.get("file"):
        return inline, keys
    path = Path(document.mark((*where, "file")).file).parent / str(body["file"])
    own = name_of(absolute(path), root)
    mark = configuration.tables[table].place(code) if code else None
    if mark is not None and name_of(absolute(Path(mark.file)), root) != own:
        return inline, keys
    return own, ()


def census(configuration: Configuration, channels: Iterable[tuple[str, Iterable[Sample]]]) -> dict[str, Seen]:
    """By table, what the messages of these channels asked it for."""
    found = {name: Seen() for name in configuration.tables}
    for channel, samples in channels:
        tracer = Tracer(configuration, channel)
        asked: dict[str, Counter[str]] = {name: Counter() for name in configuration.tables}
        messages = 0
        for sample in samples:
            if sample.raw is None:
                continue
            try:
                _, notes = tracer.notes(sample.raw, sample.meta.received_at)
            except IsthmusError:
                continue
            messages += 1
            for item in notes.lookups:
                if item.table in asked:
                    asked[item.table][item.code] += 1
        for name, codes in asked.items():
            if codes:
                _count(found[name], configuration.tables[name], codes)
                found[name].channels.append(channel)
                found[name].messages += messages
    for seen in found.values():
        seen.missing = dict(sorted(seen.missing.items(), key=lambda one: (-one[1], one[0])))
    return found


def _count(seen: Seen, table: Table, codes: Counter[str]) -> None:
    written = {table.place(code): code for code in table.rows}
    for code, count in codes.items():
        place = table.place(code)
        if place is not None:
            row = written[place]
            seen.counts[row] = seen.counts.get(row, 0) + count
        elif len(code) > LONGEST:
            seen.long += count
        else:
            seen.missing[code] = seen.missing.get(code, 0) + count
