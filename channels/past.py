"""What came before a message in a trial: what `duplicate` filters let pass, and the states of FHIR resources.

Guarantees: messages are judged as a running channel judges them (channels.once, channels.states), one after the other;
what is tried on a `fork` is forgotten with it; nothing is stored. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from channels.once import Memory, decide
from channels.pipeline import Pipeline, Rendered
from channels.states import States, told_by
from engine.clock import Micros
from engine.model import Meta
from engine.store import messages
from engine.store.snapshots import Snapshot
from engine.store.tx import Tx

Read = Callable[[str, str], Snapshot | None]
"""What is known of a resource (`Type/id`) of a channel before the trial."""


class Past:
    """Of the messages of one trial, in their order. `read` tells the states before it, `related` who are replays."""

    def __init__(
        self, read: Read = lambda *_: None, related: Callable[[int, int], bool] = lambda *_: False
    ) -> None:
        self.states = States(read, related)
        self._memory = Memory()
        self._number = 0

    def meta(self, pipeline: Pipeline, raw: bytes, at: Micros, peer: str) -> Meta:
        """The next message, numbered from 1. Raises HL7Error when it cannot be read."""
        self._number += 1
        meta = pipeline.meta(raw, at, peer)
        meta.id = self._number
        return meta

    def run(
        self, pipeline: Pipeline, raw: bytes, meta: Meta, look: Callable[[Meta], Any] = lambda meta: meta
    ) -> Rendered:
        """What becomes of a message. `look` gives its steps something else to look at in place of what is known."""
        done = pipeline.process(raw, meta, run=self.states.alone(pipeline, look))
        return decide(done, self._memory.next(meta.id, meta.received_at))


def known_before(tx: Tx, first: int) -> Read:
    """What a channel knew of a resource when message `first` came, as far as its messages are kept."""

    def read(channel: str, reference: str) -> Snapshot | None:
        start = f"{reference}/"
        rows = tx.rows(
            "SELECT id, channel, received_at, control_id, type, sender, peer FROM message"
            " WHERE control_id >= ? AND control_id < ? AND control_id <> '' AND channel = ? AND id < ?"
            " AND state IN ('TRANSFORMED', 'FILTERED') AND coalesce(reason, '') NOT LIKE 'superseded%'"
            " AND coalesce(reason, '') NOT LIKE 'the same %' ORDER BY id DESC",
            (start, start[:-1] + "0", channel, first),
        )
        for row in rows:
            meta = Meta(*row)
            raw = messages.raw(tx, meta.id)
            told = told_by(raw, meta) if raw else None
            if told is not None and told.reference == reference:
                return told
        return None

    return read
