"""What a plan says of a record: one change a field, and what becomes of the record in a word."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec


class Change(msgspec.Struct):
    """One field of one record (Odoo), or one element of one resource (FHIR). `note` says the rest.

    `record` is its number (Odoo) or id (FHIR); `old` is None where a record would be made.
    """

    op: str
    model: str
    key: str
    record: int | str | None = None
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


def named(model: str, record: int | str | None) -> str:
    """A record as people name it: `res.partner,7`, `Patient/7`; one that would be made by its model."""
    if not record:
        return model
    return f"{model}/{record}" if isinstance(record, str) else f"{model},{record}"


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
