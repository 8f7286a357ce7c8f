"""Messages as a file for who asks: streamed, followed, and kept in the audit log before the first byte leaves.

Guarantees: one portion of rows and one message in memory, however many there are; patient data only with the right to
see it, masked otherwise (console.masking); nothing of it is written to a disk here; each message that left has an
event with who took it. What arrives after the export was asked for is not in it.
Refuses (Refused): 403 without the right, 404 an export that is not theirs, 409 one that was fetched already.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from console.acting import Desk, described
from console.content import every
from console.masking import masked
from console.problems import Refused
from console.queries import LARGEST_ID, Query, known
from engine.clock import Micros
from engine.security.roles import Role
from engine.store import search
from engine.store.exporting import PORTION, End, Form, Piece, joined, keep, parts

KEPT = 200  # exports that are remembered
TYPES = {"hl7": "application/hl7-v2", "json": "application/json", "csv": "text/csv; charset=utf-8"}


class Export(msgspec.Struct):
    """One export. `done` of the `chosen` messages were written; `part` of the ids (0 to 1) were gone through. `state`:
    ready, running, done, or stopped (whoever fetched it went away)."""

    id: str
    actor: str
    form: Form
    reveal: bool
    at: Micros
    state: str = "ready"
    done: int = 0
    part: float = 0.0
    chosen: int = 0

    @property
    def over(self) -> bool:
        """Whether it will change no more."""
        return self.state in ("done", "stopped")


class Exports:
    """The exports of one console. They are forgotten when it ends: nothing of them is stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Export, Query]] = {}

    def offer(self, desk: Desk, query: Query, form: Form, reveal: bool) -> Export:
        """Prepare an export; it begins when it is fetched."""
        allowed(desk, query, reveal)
        with desk.stores.reading() as tx:
            made = Export(secrets.token_urlsafe(16), desk.identity.name, form, reveal, tx.now())
        with self._lock:
            self._known[made.id] = made, query
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
        return made

    def get(self, desk: Desk, name: str) -> tuple[Export, Query]:
        """One's own export."""
        with self._lock:
            known = self._known.get(name)
        if known is None or known[0].actor != desk.identity.name:
            raise Refused(404, "export.unknown", "there is no such export", "ask for it again")
        return known

    def running(self, actor: str) -> list[Export]:
        """Somebody's that are being fetched, the oldest first."""
        with self._lock:
            return [one for one, _ in self._known.values() if one.actor == actor and one.state == "running"]

    def fetch(self, desk: Desk, name: str) -> tuple[Export, Iterator[bytes]]:
        """The file, once."""
        export, query = self.get(desk, name)
        with self._lock:
            if export.state != "ready":
                raise Refused(409, "export.fetched", "this export was fetched already", "ask for it again")
            export.state = "running"
        return export, stream(desk, query, export.form, export.reveal, export)


def allowed(desk: Desk, query: Query, reveal: bool) -> None:
    """Refused unless they may export this."""
    if not desk.identity.somewhere(Role.OPERATOR):
        raise Refused(403, "forbidden", "this needs the role operator")
    if (reveal or query.text) and not desk.identity.reveal:
        raise Refused(403, "forbidden", "this needs the right to see patient data")
    _ = query.filters  # what cannot be read is told now, before the answer has begun
    with desk.stores.reading() as tx:
        known(tx, desk.identity, query)


def stream(
    desk: Desk, query: Query, form: Form, reveal: bool, export: Export | None = None, limit: int | None = None,
    dismissed: bool = True, lines: bool = False,
) -> Iterator[bytes]:  # fmt: skip
    """The file in pieces, or a line of JSON for each message (Piece) and one behind them (End). What is asked for is
    in the audit log when this returns."""
    allowed(desk, query, reveal)
    detail = described(query) | {"format": form, "revealed": reveal}
    desk.audited("messages.export", "", lambda tx: None, msgspec.json.encode(detail).decode())
    if reveal and form != "csv":
        desk.saw("", f"export {form}")
    told = export or Export("", desk.identity.name, form, reveal, 0)
    filters = query.filters | {
        "channels": desk.identity.channels(Role.OPERATOR), "dismissed": None if dismissed or query.ids else False
    }  # fmt: skip
    pieces = _pieces(desk, _portions(desk, query.text, filters, limit or LARGEST_ID, told), told)
    return _lines(pieces, told) if lines else joined((part for _, part in pieces), form)


def _lines(pieces: Iterator[tuple[int, bytes]], told: Export) -> Iterator[bytes]:
    for number, part in pieces:
        yield msgspec.json.encode(Piece(number, part)) + b"\n"
    yield msgspec.json.encode(End(told.chosen)) + b"\n"


def _pieces(desk: Desk, portions: Iterator[list[int]], told: Export) -> Iterator[tuple[int, bytes]]:
    text = None if told.reveal else masked
    try:
        for ids in portions:
            told.chosen += len(ids)
            with desk.stores.reading() as tx:
                for piece in parts(tx, ids, told.form, text):
                    yield piece
                    told.done += 1
            desk.stores.write(partial(keep, ids=ids, actor=desk.identity.name, form=told.form))
        told.state, told.part = "done", 1.0
    finally:
        if told.state != "done":
            told.state = "stopped"


def _portions(
    desk: Desk, text: str | None, filters: dict[str, Any], left: int, told: Export
) -> Iterator[list[int]]:
    """The first `left` ids, the oldest first, as far as there were any when this began."""
    with desk.stores.reading() as tx:
        newest = search.newest_id(tx)
    found = every(desk.stores, desk.identity, text, filters) if text else None
    after = 0
    while left > 0:
        size = min(PORTION, left)
        if found is not None:
            ids = [row.id for row in islice(found, size)]
        else:
            with desk.stores.reading() as tx:
                rows = search.find(tx, **filters, after=after, oldest=True, limit=size)
            ids = [row.id for row in rows if row.id <= newest]
        if not ids:
            return
        yield ids
        after, left = ids[-1], left - len(ids)
        told.part = after / max(newest, 1)
        if len(ids) < size:
            return
