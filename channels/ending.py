"""C3: how deliveries of one sender ended goes to the store, then to their lanes and to their channel.

Guarantees: an outcome that is known is stored before anything behind it goes; when the store cannot take it, it is
tried again every second, and nothing of it is sent again meanwhile; a delivery that an operator ended in between
stays ended.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from channels.lanes import Entry, Lanes
from engine.spec.options import DestinationOptions
from engine.states import DeliveryState
from engine.store.deliveries import Delivered
from engine.store.together import deliver_all
from engine.store.writer import Writer

log = structlog.get_logger()

OPEN = (DeliveryState.QUEUED, DeliveryState.PENDING)
Store = Callable[[Any, list[Delivered]], list[bool]]
"""Writes how deliveries ended, in a transaction: whether each was still open."""


class Ending:
    """What a sender and its response steps share: where deliveries end."""

    def __init__(
        self, channel: str, name: str, options: DestinationOptions, lanes: Lanes, writer: Writer, clock: Any
    ) -> None:
        self.channel = channel
        self.name = name
        self.options = options
        self.lanes = lanes
        self.writer = writer
        self.clock = clock
        self.paused = True
        self.done: Callable[[], None] = lambda: None  # told after every C3
        self.finished: Callable[[int], None] = lambda count: None  # told how many are open no more
        self.ended: Callable[[int], None] = lambda message_id: None  # told of each that is open no more

    def ready(self, entry: Entry) -> None:
        """From the lanes: this delivery is at the head of its queues."""
        raise NotImplementedError

    def wake(self) -> None:
        """Send what may go."""
        raise NotImplementedError

    def stored(self, count: int) -> None:
        """So many outcomes of one call are durable."""
        raise NotImplementedError

    def commit(
        self,
        entries: list[Entry],
        changes: list[Delivered],
        store: Store = deliver_all,
        stored: Callable[[int], None] | None = None,
    ) -> None:
        """Store what became of these deliveries; `stored` is told when it is durable, else `self.stored`."""
        done = partial(self._committed, entries, changes, store, stored)
        self.writer.submit(lambda tx: store(tx, changes), done)

    def _committed(
        self,
        entries: list[Entry],
        changes: list[Delivered],
        store: Store,
        stored: Callable[[int], None] | None,
        applied: list[bool] | None,
        error: Exception | None,
    ) -> None:
        if applied is None:
            # The outcome is not in the store; what is known here must not be lost: try to store it again.
            code = getattr(error, "code", "")
            log.error("deliver.not_stored", channel=self.channel, destination=self.name, code=code)
            if code != "store.fenced":
                self.clock.callLater(1, self.commit, entries, changes, store, stored)
                return
            self.paused = True  # they are the newer engine's now
        (stored or self.stored)(len(entries))
        if applied is None:
            return
        for entry, change, was_open in zip(entries, changes, applied, strict=True):
            entry.since = 0
            if not was_open:  # an operator discarded it meanwhile
                self.lanes.remove(entry)
                continue
            entry.attempts, entry.next_at = change.attempts, change.next_at
            entry.pending = change.state == DeliveryState.PENDING
            if change.state in OPEN:
                self.ready(entry)
            elif change.state == DeliveryState.ERROR and self.options.on_error != "skip":
                self.lanes.park(entry)
            else:
                self.lanes.remove(entry)
        ended = [change.state not in OPEN for change in changes]
        self.finished(sum(end and was_open for end, was_open in zip(ended, applied, strict=True)))
        for change, end, was_open in zip(changes, ended, applied, strict=True):
            if end or not was_open:
                self.ended(change.message_id)
        self.done()
        self.wake()
