"""What fills the lanes: the router while memory allows, else the store; both in order of receipt.

Memory is a cache. While `behind`, new deliveries are not taken from the router (the store has them already) but
read from the store behind `_last`, a chunk at a time; so a restart with a hundred thousand open deliveries, a
destination that was down for a day and a quiet minute all run the same code. Deliveries in ERROR that make
others wait (`on_error`) are read like the open ones and parked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from channels.deliver import Sender
from channels.lanes import Entry, Lanes, units
from engine.states import DeliveryState
from engine.store.standing import Standing

log = structlog.get_logger()

WINDOW = 20_000  # open deliveries in memory
CHUNK = 1_000  # read at a time
CACHED = 4_000  # payloads kept beside them
CACHED_BYTES = 16_384  # a longer payload is read when it is sent

Read = Callable[[int, int], list[Standing]]
"""`read(from message id, limit)`: open deliveries of this order scope, by message id."""


class Backlog:
    """The open deliveries of one order scope: one lane set, one or several senders."""

    def __init__(self, lanes: Lanes, read: Read, clock: Any) -> None:
        self.lanes = lanes
        self.read = read
        self.clock = clock
        self.senders: dict[tuple[str, str], tuple[Sender, int]] = {}  # (channel, destination): sender, lanes
        self._behind = True
        self._last = 0
        self._scheduled: Any = None

    def join(self, sender: Sender, lanes: int) -> None:
        """Let a sender take its deliveries from here."""
        self.senders[sender.channel, sender.name] = sender, lanes
        sender.done = self.fill

    def offer(
        self, channel: str, destination: str, message_id: int, keys: tuple[int, ...], payload: bytes
    ) -> None:
        """A delivery that C2 has just stored."""
        if self._behind:
            self.fill()
            return
        entry = self._add(self.senders[channel, destination], message_id, keys)
        if len(self.lanes) <= CACHED and len(payload) <= CACHED_BYTES:
            entry.payload = payload
        self._last = max(self._last, message_id)
        if len(self.lanes) >= WINDOW:
            self._behind = True

    def fill(self) -> None:
        """Read on from the store, when there is room; nothing while it is held, for what is there may change."""
        if (
            not self._behind
            or self._scheduled is not None
            or any(one.held for one, _ in self.senders.values())
        ):
            return
        if len(self.lanes) < WINDOW or self._stuck():
            self._scheduled = self.clock.callLater(0, self._fill)

    def read_again(self) -> None:
        """The store may hold deliveries that nobody told of: read all, in order; what is known keeps its place."""
        self._behind, self._last = True, 0
        self.fill()

    def _stuck(self) -> bool:
        """Everything in memory waits for somebody: look for deliveries that do not."""
        return not any(sender.busy for sender, _ in self.senders.values())

    def _fill(self) -> None:
        self._scheduled = None
        try:
            found = self.read(self._last, CHUNK)
        except Exception as error:
            log.error("backlog.unreadable", code=getattr(error, "code", type(error).__name__))
            self._scheduled = self.clock.callLater(1, self._fill)
            return
        before = len(self.lanes)
        for item in found:
            owner = self.senders.get((item.channel, item.destination))
            if owner is None:
                continue
            sender, _ = owner
            failed = item.state == DeliveryState.ERROR
            if failed and sender.options.on_error == "skip":
                continue
            pending = item.state == DeliveryState.PENDING
            entry = self._add(
                owner, item.message_id, item.keys, item.attempts, item.next_at, parked=failed, pending=pending
            )
            if failed:
                self.lanes.park(entry)
        self._behind = len(found) == CHUNK or len(self.lanes) != before
        if found:
            self._last = max(self._last, found[-1].message_id)
        self.fill()

    def _add(
        self,
        owner: tuple[Sender, int],
        message_id: int,
        keys: tuple[int, ...],
        attempts: int = 0,
        next_at: int = 0,
        *,
        parked: bool = False,
        pending: bool = False,
    ) -> Entry:
        sender, lanes = owner
        known = self.lanes.find(message_id, sender)
        if known is not None:
            if known.parked and not parked:  # resent, and nobody was told
                known.pending = pending
                self.lanes.unpark(known)
            return known
        entry = Entry(message_id, sender, units(keys, sender.options.on_error, lanes), attempts, next_at)
        entry.parked, entry.pending = parked, pending
        self.lanes.add(entry)
        return entry

    def again(
        self, channel: str, destination: str, message_id: int, keys: tuple[int, ...], *, pending: bool = False
    ) -> None:
        """An operator resends: a parked delivery goes on from its place, one that was done goes to the end.

        `pending`: it was sent, and only its response steps run again.
        """
        owner = self.senders.get((channel, destination))
        if owner is None:
            return
        entry = self.lanes.find(message_id, owner[0])
        if entry is None:
            if self._behind and message_id > self._last:
                return  # not read yet: it keeps its place
            self._add(owner, message_id, keys, pending=pending)
        elif entry.parked:
            entry.pending = pending
            self.lanes.unpark(entry)

    def discard(self, channel: str, destination: str, message_id: int) -> None:
        """An operator discards: what waited for it goes on. One that is on its way finishes first."""
        owner = self.senders.get((channel, destination))
        entry = self.lanes.find(message_id, owner[0]) if owner else None
        if entry is not None and not entry.since:
            self.lanes.remove(entry)
            self.fill()
