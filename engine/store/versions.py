"""The configurations that ran: version, when, who, a note, what changed, and the texts of the files.

Guarantees: a row is written when a configuration is taken up and stays; the files are compressed and encrypted as
bodies are; they are kept once for a version, however often it is taken up again.
Refuses nothing. Secrets are references in the files, so their values are never here; values of environment
variables are not kept either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import orjson

from engine.clock import Micros
from engine.store.tx import Tx

_FILES = msgspec.msgpack.Decoder(dict[str, bytes])
_COLUMNS = "id, version, at, actor, note, changes"


class Entry(msgspec.Struct):
    """One time that a configuration was taken up. `changes`: (channel, what of it changed)."""

    id: int
    version: str
    at: Micros
    actor: str
    note: str
    changes: list[tuple[str, list[str]]]


def add(
    tx: Tx,
    version: str,
    actor: str,
    files: Mapping[str, bytes],
    changes: Sequence[tuple[str, list[str]]] = (),
    note: str = "",
) -> int:
    """A configuration is taken up. Gives its number in the history."""
    number = tx.execute(
        "INSERT INTO config (version, at, actor, note, changes) VALUES (?, ?, ?, ?, ?)",
        (version, tx.now(), actor, note, orjson.dumps(list(changes)).decode()),
    ).lastrowid
    assert number is not None
    if not _stored(tx, version):
        blob = tx.codec.seal(files_row(number), msgspec.msgpack.encode(dict(files)))
        tx.execute("UPDATE config SET files = ? WHERE id = ?", (blob, number))
    tx.event("config", actor=actor, detail=version)
    return number


def started(tx: Tx, version: str, actor: str, files: Mapping[str, bytes]) -> None:
    """An engine starts with this configuration: a new entry, unless it is what ran last."""
    last = latest(tx)
    if last is None or last.version != version:
        add(tx, version, actor, files, note="at a start")


def annotate(tx: Tx, note: str) -> None:
    """Give what runs a note."""
    tx.execute("UPDATE config SET note = ? WHERE id = (SELECT max(id) FROM config)", (note,))


def history(tx: Tx, limit: int = 50) -> list[Entry]:
    """The newest entries, newest first."""
    return [
        _entry(row) for row in tx.rows(f"SELECT {_COLUMNS} FROM config ORDER BY id DESC LIMIT ?", (limit,))
    ]


def latest(tx: Tx) -> Entry | None:
    """What was taken up last."""
    return next(iter(history(tx, 1)), None)


def find(tx: Tx, name: str) -> list[Entry]:
    """The entries of a version, newest first: `name` is a version, its beginning, or a number of the history."""
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM config WHERE id = CASE WHEN ?1 GLOB '[0-9]*' THEN CAST(?1 AS INTEGER) END"
        " AND ?1 = CAST(id AS TEXT) OR substr(version, 1, length(?1)) = ?1 ORDER BY id DESC",
        (name,),
    )
    return [_entry(row) for row in rows]


def files(tx: Tx, version: str) -> dict[str, bytes] | None:
    """The files of a version by name; None when it never ran."""
    row = _stored(tx, version)
    if row is None:
        return None
    number, blob = row
    return _FILES.decode(tx.codec.open(files_row(number), blob)[0])


def files_row(number: int) -> int:
    """What the blob of an entry is bound to: an id that neither a body nor a dictionary has (kind 14)."""
    return number << 12 | 14


def _stored(tx: Tx, version: str) -> tuple[int, bytes] | None:
    row: tuple[int, bytes] | None = tx.execute(
        "SELECT id, files FROM config WHERE version = ? AND files IS NOT NULL LIMIT 1", (version,)
    ).fetchone()
    return row


def _entry(row: tuple[int, str, Micros, str, str, str]) -> Entry:
    number, version, at, actor, note, changes = row
    return Entry(number, version, at, actor, note, [(name, what) for name, what in orjson.loads(changes)])
