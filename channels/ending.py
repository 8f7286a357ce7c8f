"""C3: how deliveries of one sender ended goes to the store, then to their lanes and to their channel.

Guarantees: an outcome that is known is stored before anything behind it goes; when the store cannot take it, it is
tried again every second, and nothing of it is sent again meanwhile; an outcome that no store can take (a defect of
its destination) is an ERROR, and the others of its batch end as they did; a delivery that an operator ended in
between stays ended.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from channels.lanes import Entry, Lanes
from channels.outcomes import REFUSED, refused
from engine.spec.options import DestinationOptions
from engine.states import DeliveryState
from engine.store.deliveries import Delivered
from engine.store.together import deliver_all, sparing
from engine.store.tx import Tx
from engine.store.writer import Writer

log = structlog.get_logger()

OPEN = (DeliveryState.QUEUED, DeliveryState.PENDING)
Done = list[tuple[Entry, Delivered]]
Store = Callable[[Tx, list[Delivered]], list[list[int] | None]]
"""Writes how deliveries ended: the messages that each has made; None for one that was not open any more."""
Stored = Callable[[int, list[int]], None]


def _delivered(tx: Tx, changes: list[Delivered]) -> list[list[int] | None]:
    return [[] if was_open else None for was_open in deliver_all(tx, changes)]


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

    def stored(self, count: int, made: list[int]) -> None:
        """So many outcomes of one call are durable, and the messages that came of them."""
        raise NotImplementedError

    def commit(
        self, done: Done, store: Store = _delivered, stored: Stored | None = None, place: str = "deliver"
    ) -> None:
        """Store what became of these deliveries; `stored` is told when it is durable, else `self.stored`.

        One whose outcome cannot be stored is an ERROR at `place`.
        """
        work = sparing([change for _, change in done], store, partial(refused, place=place))
        self.writer.submit(work, partial(self._committed, done, store, stored or self.stored, place))

    def _committed(
        self,
        done: Done,
        store: Store,
        stored: Stored,
        place: str,
        applied: list[tuple[Delivered, list[int] | None]] | None,
        error: Exception | None,
    ) -> None:
        if applied is None:
            # The outcome is not in the store; what is known here must not be lost: try to store it again.
            code = getattr(error, "code", type(error).__name__)
            log.error("deliver.not_stored", channel=self.channel, destination=self.name, code=code)
            if code != "store.fenced":
                self.clock.callLater(1, self.commit, done, store, stored, place)
                return
            self.paused = True  # they are the newer engine's now
            stored(len(done), [])
            return
        stored(len(done), [message_id for _, made in applied for message_id in made or ()])
        finished = 0
        for (entry, _), (change, made) in zip(done, applied, strict=True):
            entry.since = 0
            if made is None:  # an operator discarded it meanwhile
                self.lanes.remove(entry)
                continue
            entry.attempts, entry.next_at = change.attempts, change.next_at
            entry.pending = change.state == DeliveryState.PENDING
            finished += change.state not in OPEN
            if change.error_code == REFUSED:
                log.error(REFUSED, channel=self.channel, destination=self.name, message=entry.id)
            if change.state in OPEN:
                self.ready(entry)
            elif change.state == DeliveryState.ERROR and self.options.on_error != "skip":
                self.lanes.park(entry)
            else:
                self.lanes.remove(entry)
        self.finished(finished)
        for change, made in applied:
            if made is None or change.state not in OPEN:
                self.ended(change.message_id)
        self.done()
        self.wake()
