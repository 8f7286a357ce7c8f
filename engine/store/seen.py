"""What `duplicate` filters let pass, by keyed digest: asked and noted by C2, in the transaction that ends a message.

Guarantees: exact in the order in which C2 ends messages, over crashes and restarts: what is not committed has not
passed. A replay is no duplicate of what it repeats, nor of another replay of it; the parts of one message are
compared with each other, and not with it.
Refuses nothing. Forgets what no window needs any more (`forget`).
"""

from __future__ import annotations

from typing import NamedTuple

from engine.clock import Micros
from engine.model import Meta, Once
from engine.store.messages import PART
from engine.store.tx import Tx


class Line(NamedTuple):
    """Where a message comes from: itself without its replays, what it was part of, and what came first of all."""

    base: int
    whole: int  # 0: no part
    root: int


class Seen:
    """The memory of the store for one message."""

    def __init__(self, tx: Tx, meta: Meta) -> None:
        self._tx = tx
        self._meta = meta

    def before(self, once: Once, destination: str) -> int:
        """The message that passed within the window; 0: none did."""
        tx, meta = self._tx, self._meta
        row = tx.execute(
            "SELECT message_id, at FROM seen WHERE digest = ?", (self._digest(once, destination),)
        ).fetchone()
        if row is None or row[1] < meta.received_at - once.window or row[0] == meta.id:
            return 0
        return 0 if related(tx, row[0], meta.id) else int(row[0])

    def note(self, once: Once, destination: str) -> None:
        """It passes."""
        at = self._meta.received_at
        self._tx.execute(
            "INSERT INTO seen (digest, message_id, at, until) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET message_id = excluded.message_id, at = excluded.at,"
            " until = max(until, excluded.until)",
            (self._digest(once, destination), self._meta.id, at, at + once.window),
        )

    def _digest(self, once: Once, destination: str) -> bytes:
        scope = f"{self._meta.channel}\0{destination}\0".encode("utf-8", "replace")
        return self._tx.digest(scope + once.digest)


def related(tx: Tx, one: int, other: int) -> bool:
    """Whether two messages are the same, replayed or edited; parts of one message are not."""
    if one == other:
        return True
    first, second = line_of(tx, one), line_of(tx, other)
    siblings = first.whole != 0 and first.whole == second.whole and first.base != second.base
    return first.root == second.root and not siblings


def line_of(tx: Tx, message_id: int) -> Line:
    """The line of a message, as far as its rows are kept."""
    base, whole, at, parts = message_id, 0, message_id, 0
    while True:
        row = tx.execute("SELECT parent_id, flags FROM message WHERE id = ?", (at,)).fetchone()
        if row is None or row[0] is None:
            return Line(base, whole, at)
        if row[1] & PART:
            parts += 1
            if parts == 1:
                whole = row[0]
        elif not parts:
            base = row[0]
        at = row[0]


def stale(tx: Tx, now: Micros) -> bool:
    """Whether there is anything to forget."""
    return bool(tx.rows("SELECT 1 FROM seen WHERE until < ? LIMIT 1", (now,)))


def forget(tx: Tx, now: Micros, limit: int) -> int:
    """Take out what no window needs any more, at most `limit` rows; gives how many."""
    return tx.execute(
        "DELETE FROM seen WHERE digest IN (SELECT digest FROM seen WHERE until < ? LIMIT ?)", (now, limit)
    ).rowcount
