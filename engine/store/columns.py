"""Searchable columns: values of places that a channel declares, kept beside its messages to search by.

Guarantees: a column is a keyed hash (blind index), so that only an exact value finds it and none can be read out of
the file, unless its channel says `plain`; written in C2, in the transaction that routes the message; they go with the
row of the message. A value is cut at LONGEST characters, and found by the same.
Refuses (StoreError): a column that no channel declares, a beginning (`ICU*`) of a column that is not plain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import orjson

from engine.errors import StoreError
from engine.store.tx import Tx, clean

LONGEST = 200
_SETTING = "columns"
_INSERT = "INSERT OR REPLACE INTO message_column (message_id, name, value) VALUES (?, ?, ?)"


class Found(NamedTuple):
    """The value of a column in one message."""

    name: str
    value: str
    plain: bool


class Column(msgspec.Struct):
    """A declared column."""

    name: str
    path: str
    plain: bool


def stored(tx: Tx, name: str, value: str, plain: bool) -> str | int:
    """A value as it is kept: text, or its keyed hash, another one in each column."""
    text = clean(value[:LONGEST]) or ""
    return text if plain else tx.blind(f"column:{name}:{text}")


def write(tx: Tx, message_id: int, found: Sequence[Found]) -> None:
    """Within C2: the columns of a message."""
    rows = [(message_id, one.name, stored(tx, *one)) for one in found if one.value]
    if rows:
        tx.executemany(_INSERT, rows)


def keep(tx: Tx, channels: Mapping[str, Sequence[Column]]) -> None:
    """Keep what the running configuration declares, for who searches."""
    tx.execute(
        "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)",
        (
            _SETTING,
            msgspec.json.encode({name: list(some) for name, some in channels.items() if some}).decode(),
        ),
    )


def declared(tx: Tx, channels: Sequence[str] | None = None) -> dict[str, list[Column]]:
    """The columns of each channel (of `channels`) as the engine last ran them; those without any are left out."""
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (_SETTING,))
    found = msgspec.json.decode(rows[0][0], type=dict[str, list[Column]]) if rows else {}
    return {name: some for name, some in found.items() if channels is None or name in channels}


def term(tx: Tx, name: str, wanted: str) -> tuple[str, list[Any]]:
    """A condition on `message_column AS c` for one column. `ICU*` finds what begins so, in plain columns."""
    known = [one for some in declared(tx).values() for one in some if one.name == name]
    if not known:
        names = sorted({one.name for some in declared(tx).values() for one in some})
        raise StoreError(
            f"no channel declares the column {name!r}", code="column.unknown",
            todo=f"Known: {', '.join(names) or 'none'}; see `search` of a channel",
        )  # fmt: skip
    if wanted.endswith("*"):
        if not any(one.plain for one in known):
            raise StoreError(
                f"column {name!r} is not plain: it is found by its exact value alone", code="column.blind",
                todo="leave the * out, or declare it with `plain: true`",
            )  # fmt: skip
        start = (clean(wanted[:-1]) or "")[:LONGEST]
        return "c.name = ? AND c.value >= ? AND c.value < ?", [name, start, f"{start}\U0010ffff"]
    values = {stored(tx, name, wanted, plain) for plain in {one.plain for one in known} | {False}}
    return "c.name = ? AND c.value IN (SELECT value FROM json_each(?))", [
        name,
        orjson.dumps(list(values)).decode(),
    ]


def plain_of(tx: Tx, ids: Sequence[int]) -> dict[int, dict[str, str]]:
    """The plain columns of these messages."""
    found: dict[int, dict[str, str]] = {}
    for message_id, name, value in tx.rows(
        "SELECT message_id, name, value FROM message_column WHERE typeof(value) = 'text'"
        " AND message_id IN (SELECT value FROM json_each(?))",
        (orjson.dumps(list(ids)).decode(),),
    ):
        found.setdefault(message_id, {})[name] = value
    return found
