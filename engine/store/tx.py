"""What the functions of the store work on: one connection, its codec, the time, and counters.

A Tx is the same for the writer's transaction and for a reader; only the writer begins and commits.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from engine.clock import Micros
from engine.clock import now as wall_clock
from engine.store.bodies import PACKED, Codec, Kind, body_id, pack
from engine.store.sqlite import load_queries

Q = load_queries()
KINDS = 4096  # kinds and outcomes of stretches that are remembered as written


def clean(text: str | None) -> str | None:
    """Text that UTF-8 can hold: lone surrogates of broken input become `?`, so that no row is refused."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


class Tx:
    """A connection and what belongs to it; `execute` runs a statement."""

    def __init__(self, db: sqlite3.Connection, codec: Codec, now: Callable[[], Micros] = wall_clock) -> None:
        self.db = db
        self.codec = codec
        self.now = now
        self.execute = db.execute
        self.executemany = db.executemany
        self.blind = codec.keys.blind
        self.digest = codec.keys.digest
        self.levels: dict[str, str] = {}  # channel -> storage level, where it is not `full` (writers only)
        self.marks: set[str] = set()  # crash points that this transaction passes; filled only when armed
        self._counted: dict[tuple[str, str, str], int] = {}
        self._kinds: set[tuple[str, str, str, int]] = set()  # what `kind` and `outcome` have written

    def rows(self, sql: str, values: Any = ()) -> list[Any]:
        """All rows at once: a SELECT is never left open."""
        return self.db.execute(sql, values).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within this, a reader sees one state of the database: no commit comes between its statements."""
        self.db.execute("BEGIN")
        try:
            yield
        finally:
            self.db.execute("COMMIT")

    def count(self, channel: str, name: str, destination: str = "", by: int = 1) -> None:
        """Add to a total; written once per transaction."""
        key = (channel, destination, name)
        self._counted[key] = self._counted.get(key, 0) + by

    def kind(self, channel: str, type: str, message_id: int) -> None:
        """Note that the stretch of this new message has one of this channel and type; written once a stretch."""
        self._once("add_kind", channel, type, message_id >> 11)

    def outcome(self, state: str, name: str, stretches: Iterable[int]) -> None:
        """Note that these stretches have messages of the channel `name` that are TRANSFORMED, or deliveries to the
        destination `name` (QUEUED: made, SENT: arrived); written once a stretch."""
        for stretch in stretches:
            self._once("add_outcome", state, name, stretch)

    def _once(self, query: str, kind: str, name: str, stretch: int) -> None:
        key = (query, kind, name, stretch)
        if key not in self._kinds:
            self.db.execute(Q[query], (kind, clean(name), stretch))
            if len(self._kinds) >= KINDS:
                self._kinds.clear()
            self._kinds.add(key)

    def flush(self) -> None:
        """Write what was counted; the writer does it before COMMIT."""
        if self._counted:
            self.db.executemany(Q["add_to_counter"], [(*key, value) for key, value in self._counted.items()])
            self._counted.clear()

    def forget(self) -> None:
        """After a rollback: nothing was counted."""
        self._counted.clear()
        self._kinds.clear()
        self.marks.clear()

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within this, all or nothing: what raises leaves neither a change nor a count."""
        counted = dict(self._counted)
        self.db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            if self.db.in_transaction:  # a full disk, for one, has ended it all
                self.db.execute("ROLLBACK TO attempt")
                self.db.execute("RELEASE attempt")
            self._counted = counted
            self._kinds.clear()
            raise
        self.db.execute("RELEASE attempt")

    def put(
        self, message_id: int, kind: Kind, data: bytes, *, slot: int = 0, channel: str = "",
        second: bytes | None = None,
    ) -> None:  # fmt: skip
        """Write a body, or two packed in one; an earlier one of the same kind is replaced."""
        row = body_id(message_id, kind, slot)
        if second is None:
            blob = self.codec.seal(row, data, channel)
        else:
            blob = self.codec.seal(row, pack(data, second), channel, PACKED)
        self.db.execute("INSERT OR REPLACE INTO body (id, data) VALUES (?, ?)", (row, blob))

    def get(self, message_id: int, kind: Kind, slot: int = 0) -> tuple[bytes, bytes] | None:
        """A body and what is packed behind it; None when there is none."""
        row = body_id(message_id, kind, slot)
        found = self.db.execute("SELECT data FROM body WHERE id = ?", (row,)).fetchone()
        return None if found is None else self.codec.open(row, found[0])

    def event(
        self, kind: str, *, message_id: int | None = None, destination: str | None = None,
        actor: str = "engine", detail: str = "", at: Micros | None = None,
    ) -> None:  # fmt: skip
        """Append to the log of the exceptional. `detail` holds no patient data."""
        values = (self.now() if at is None else at, message_id, destination, kind, actor, detail)
        self.db.execute(Q["add_event"], values)
