"""The delivering side of one destination: batches of deliveries that may go now, their outcomes, C3.

Guarantees: a delivery is taken only when `lanes` says that it may go; its payload is the one that C2 stored;
whatever the destination says is stored with C3 before the next of the same key goes; an unknown outcome is
sent again unchanged; a failing destination is probed, not hammered, and its backlog waits in order.

| outcome    | C3                              | next                                                        |
|------------|---------------------------------|-------------------------------------------------------------|
| sent       | SENT, record, request, response | the next of its keys goes                                   |
| the same, with response steps: PENDING       | channels.respond ends it, also one that was refused         |
| retry      | QUEUED, attempts + 1, next_at   | waits alone, or with the whole destination (breaker)        |
| unknown    | as retry                        | sent again unchanged, in smaller batches                    |
| permanent  | ERROR                           | `on_error`: its key or lane waits, or nothing               |
| config     | QUEUED, why                     | the destination is held and probed every minute             |
| C3 fails   | nothing                         | stored when it can be; killed: sent again, the same record  |
| an outcome that no store can take: ERROR `deliver.refused`, the others of its batch end as they did         |
| the stored payload is damaged or gone: as permanent, nothing is sent                                       |
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from channels.ending import Ending
from channels.lanes import Entry, Lanes
from channels.outcomes import made_of
from channels.respond import Responder
from channels.retry import Breaker
from destinations.base import Destination
from engine.clock import Micros
from engine.errors import ConfigError
from engine.model import Delivery, Outcome
from engine.spec.options import DestinationOptions
from engine.states import Result
from engine.store.deliveries import Delivered
from engine.store.sqlite import classify
from engine.store.writer import Writer

log = structlog.get_logger()

UNREADABLE = "delivery.unreadable"
SOON = 1e-6  # seconds; below it a timer may come before its time, by the rounding of floats, again and again
READ_AGAIN = 1.0  # seconds, when the store cannot be read
BATCH_BYTES = 8 << 20  # payloads in one batch; one that is larger goes alone
CROWD = 100  # deliveries that may go and wait: more, and more than one batch, are a crowd


class Sender(Ending):
    """Delivers to one destination of one channel."""

    def __init__(
        self,
        channel: str,
        name: str,
        destination: Destination,
        options: DestinationOptions,
        lanes: Lanes,
        writer: Writer,
        clock: Any,
        now: Callable[[], Micros],
        payload: Callable[[int, str], bytes],
        rng: random.Random,
    ) -> None:
        super().__init__(channel, name, options, lanes, writer, clock)
        self.destination = destination
        self.now = now
        self.payload = payload
        self.rng = rng
        self.breaker = Breaker(options.retry, rng)
        self.responder: Responder
        self.owned: Callable[[], bool] = lambda: True  # the store is still this engine's
        self.held = False  # while channels are put together anew: see channels.wiring
        self.in_flight = 0  # calls of `deliver`
        self._calls: Counter[Destination] = Counter()  # those not answered, by who was called
        self._leaving: list[Destination] = []  # used no more, and to be stopped
        self.sending = 0  # deliveries in these calls
        self.limit = destination.batch_size  # shrinks while outcomes are unknown
        self._ready: list[Entry] = []
        self._sleeping: list[tuple[float, Entry]] = []  # due, in seconds of `clock`
        self._longest = options.retry.max * (1 + options.retry.jitter)
        self._timer: Any = None
        self._scheduled: Any = None
        self._restart: Any = None  # of a destination that its configuration does not fit

    @property
    def busy(self) -> bool:
        """Whether anything is on its way or may go."""
        return bool(self.in_flight or self._ready or self._sleeping or self.responder.waiting)

    @property
    def idle(self) -> bool:
        """Everything is in the store as it will be found there."""
        return not (self.in_flight or self.responder.storing)

    @property
    def crowded(self) -> bool:
        """It delivers as fast as it can, and what comes now waits for more than one batch."""
        working = self.breaker.state == "closed" and not self.resting
        return working and len(self._ready) > max(self.limit, CROWD)

    @property
    def resting(self) -> bool:
        """It begins nothing."""
        return self.paused or self.held

    # Which deliveries go ----------------------------------------------------------------------------------

    def ready(self, entry: Entry) -> None:
        """From the lanes: this delivery is at the head of its queues."""
        if entry.parked:
            return
        if entry.pending:
            self.responder.add(entry)
            return
        # The time in the store is wall clock, which may have been set back since: no wait is longer than any is.
        seconds = min((entry.next_at - self.now()) / 1e6, self._longest)
        if seconds > 0:
            heapq.heappush(self._sleeping, (self.clock.seconds() + seconds, entry))
            self._sleep()
        else:
            heapq.heappush(self._ready, entry)
            self.wake()

    def wake(self) -> None:
        """Send what may go in the next turn of the reactor."""
        if self._scheduled is None and not self.resting:
            self._scheduled = self.clock.callLater(0, self._pump)
        self.responder.wake()

    def pause(self) -> None:
        """Begin no more deliveries; those on their way finish."""
        self.paused = True

    def resume(self) -> None:
        """Deliver; a destination that was held is tried again now."""
        self.paused = False
        self.breaker.until = 0.0
        self.wake()

    def refused(self, error: ConfigError, start: Callable[[], Any]) -> None:
        """The destination did not start, and no delivery can mend that: it is held, and `start` is tried again."""
        self._hold_back(error.code, error.what)
        if self._restart is not None and self._restart.active():
            self._restart.cancel()
        destination = self.destination

        def again() -> None:
            if self.breaker.held and self.destination is destination:
                start()

        self._restart = self.clock.callLater(max(self.breaker.until - self.clock.seconds(), 0), again)

    def accepted(self) -> None:
        """The destination started: it is held no longer."""
        if self.breaker.held:
            self._recovered()
            self.wake()

    def hold(self, held: bool) -> None:
        """Begin nothing more, whatever people do meanwhile; or no longer so."""
        self.held = held
        self.wake()

    def take_over(self, known: Sender, destination: Destination, options: DestinationOptions) -> None:
        """Deliver through `destination` from the next batch on, in the place of `known`, or of what this one was.

        What is on its way is answered by whom it was sent to; the old destination is stopped after that.
        """
        old, retry = known.destination, known.options.retry
        if known is not self:
            self.breaker, self.limit, self.paused = known.breaker, known.limit, known.paused
        self.destination, self.options = destination, options
        if destination is not old:
            self.paused = True  # until it is started
            self.limit = destination.batch_size
            known.leave(old)
        if destination is not old or retry != options.retry:
            self.breaker = Breaker(options.retry, self.rng)
            self._longest = options.retry.max * (1 + options.retry.jitter)

    def leave(self, destination: Destination | None = None) -> None:
        """Stop a destination that is used no more, once its calls are answered."""
        self._leaving.append(destination or self.destination)
        self._let_go()

    def _let_go(self) -> None:
        for destination in [one for one in self._leaving if not self._calls[one]]:
            self._leaving.remove(destination)
            del self._calls[destination]
            destination.stop()

    def _pump(self) -> None:
        self._scheduled = None
        if self._ready and not self.resting and not self.owned():
            # This process stood still while another took over: what it would send now may be older than what
            # that one has sent since.
            self.paused = True
            log.error("deliver.fenced", channel=self.channel, destination=self.name)
            return
        while not self.resting and self._ready and self.in_flight < self.destination.in_flight:
            limit = self.breaker.limit(self.clock.seconds(), self.limit)
            if not limit:
                self._sleep()
                return
            batch = self._take(limit)
            if batch:
                self._send(batch)
            else:
                self.breaker.not_probed()
                self.done()  # only discarded ones were left: the backlog may have to read on
            if self.breaker.state != "closed":
                return

    def _take(self, limit: int) -> list[Entry]:
        """The oldest deliveries that may go, with their payloads."""
        batch: list[Entry] = []
        size = 0
        while self._ready and len(batch) < limit and size < BATCH_BYTES:
            entry = heapq.heappop(self._ready)
            if self.lanes.find(entry.id, self) is not entry or entry.parked:
                continue  # discarded meanwhile
            payload = entry.payload or self._read(entry)
            if payload:
                entry.payload, entry.since = payload, self.now()
                size += len(payload)
                batch.append(entry)
        return batch

    def _read(self, entry: Entry) -> bytes:
        """The stored payload. One that is damaged is an ERROR; a store that cannot be read is tried again."""
        code = UNREADABLE
        try:
            payload = self.payload(entry.id, self.name)
        except Exception as error:
            fault = classify(error)
            code, payload = fault.code if fault else type(error).__name__, b""
            if fault is not None and code in ("store.busy", "store.io"):
                heapq.heappush(self._sleeping, (self.clock.seconds() + READ_AGAIN, entry))
                self._sleep()
                return b""
        if not payload:
            log.error(
                "deliver.unreadable", channel=self.channel, destination=self.name, message=entry.id, why=code
            )
            text = (
                "what is to be sent cannot be read from the store (replay the message, or restore a backup)"
            )
            outcome = Outcome(entry.id, Result.PERMANENT, UNREADABLE, text)
            entry.since = self.now()
            self.in_flight += 1
            self.sending += 1
            self.commit([(entry, self._change(entry, outcome, entry.since, alone=True))])
        return payload

    def _sleep(self) -> None:
        """Set the timer for the next delivery, or probe, that is due."""
        due: list[float] = []
        if self._sleeping:
            due.append(max(self._sleeping[0][0] - self.clock.seconds(), 0.0))
        if self.breaker.state == "open" and self._ready:
            due.append(max(self.breaker.until - self.clock.seconds(), 0.0))
        if not due:
            return
        seconds = max(min(due), SOON)
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= self.clock.seconds() + seconds:
                return
            self._timer.cancel()
        self._timer = self.clock.callLater(seconds, self._due)

    def _due(self) -> None:
        now = self.clock.seconds()
        while self._sleeping and self._sleeping[0][0] <= now + SOON:
            heapq.heappush(self._ready, heapq.heappop(self._sleeping)[1])
        if self._sleeping:
            self._sleep()
        self.wake()

    # Sending ----------------------------------------------------------------------------------------------

    def _send(self, batch: list[Entry]) -> None:
        self.in_flight += 1
        self.sending += len(batch)
        asked = [
            Delivery(entry.id, self.name, entry.units, entry.payload or b"", entry.attempts, entry.next_at)
            for entry in batch
        ]
        destination = self.destination
        try:
            answered = destination.deliver(asked)
        except Exception as error:
            self._broken(batch, error)
            return
        self._calls[destination] += 1
        answered.addBoth(partial(self._returned, destination))
        answered.addCallbacks(
            partial(self._answered, batch), lambda failure: self._broken(batch, failure.value)
        )
        answered.addErrback(lambda failure: log.error("deliver.bug", error=failure.type.__name__))

    def _returned(self, destination: Destination, result: Any) -> Any:
        self._calls[destination] -= 1
        if self._leaving:
            self._let_go()
        return result

    def _broken(self, batch: list[Entry], error: BaseException) -> None:
        """`deliver` raised: a defect of the destination. Perhaps applied, so: unknown."""
        kind = type(error).__name__
        log.error("destination.raised", channel=self.channel, destination=self.name, error=kind)
        self._answered(
            batch,
            [
                Outcome(entry.id, Result.UNKNOWN, "destination.raised", f"the destination raised {kind}")
                for entry in batch
            ],
        )

    def _answered(self, batch: list[Entry], outcomes: list[Outcome]) -> None:
        by_id = {outcome.message_id: outcome for outcome in outcomes}
        pairs: list[tuple[Entry, Outcome]] = []
        for entry in batch:
            missing = Outcome(
                entry.id, Result.UNKNOWN, "destination.silent", "the destination gave no outcome"
            )
            pairs.append((entry, by_id.get(entry.id, missing)))
        alone = self._judge(pairs)
        at = self.now()
        self.commit([(entry, self._change(entry, outcome, at, alone=alone)) for entry, outcome in pairs])

    def _judge(self, pairs: list[tuple[Entry, Outcome]]) -> bool:
        """Tell the breaker. True when a failed delivery must wait by itself: others went through, or it was
        alone in its batch and the next probe must be another one, lest it blocks everybody."""
        probe = len(pairs) == 1
        results = {outcome.result for _, outcome in pairs}
        first = pairs[0][1]
        if Result.CONFIG in results:
            why = next(outcome for _, outcome in pairs if outcome.result == Result.CONFIG)
            self._hold_back(why.code, why.text)
            return probe
        if results & {Result.SENT, Result.PERMANENT}:
            self._recovered()
            self.limit = min(self.limit * 2, self.destination.batch_size)
            return True
        if Result.UNKNOWN in results:
            self.limit = max(1, self.limit // 2)
        if self.breaker.failure(self.clock.seconds(), f"{first.code}: {first.text}"):
            log.warning("destination.down", channel=self.channel, destination=self.name, code=first.code)
        return probe

    def _hold_back(self, code: str, text: str) -> None:
        """It is refused us, whatever we send: probed from time to time."""
        if self.breaker.failure(self.clock.seconds(), f"{code}: {text}", held=True):
            log.error("destination.held", channel=self.channel, destination=self.name, code=code, why=text)

    def _recovered(self) -> None:
        """It takes what we send."""
        if not self.breaker.success():
            return
        log.info("destination.recovered", channel=self.channel, destination=self.name)
        for _, entry in self._sleeping:
            entry.next_at = 0
            heapq.heappush(self._ready, entry)
        self._sleeping.clear()

    def stored(self, count: int, made: list[int]) -> None:
        """A call of `deliver` is over, its outcomes are durable."""
        self.in_flight -= 1
        self.sending -= count

    def _change(self, entry: Entry, outcome: Outcome, at: Micros, *, alone: bool) -> Delivered:
        steps = self.responder.wants(outcome)
        return made_of(
            self.name, entry, outcome, self.options.retry, at, self.rng, alone=alone, pending=steps
        )

    def status(self) -> dict[str, Any]:
        """For people: what it does and why it does not."""
        parked, waiting = self.lanes.held(self)
        return {
            "destination": self.name,
            "state": "held" if self.breaker.held else "paused" if self.paused else self.breaker.state,
            "why": self.breaker.reason,
            "sending": self.sending,
            "ready": len(self._ready),
            "waiting_to_retry": len(self._sleeping),
            "parked": parked,  # in ERROR, and holding others
            "held_behind": waiting,
        }
