"""Events of a Subscription that never came: seen by their numbers, and asked for.

    a notification with event 7 after event 4   ->   5 and 6 are missing   ->   if they are still, STRAGGLERS later:
    GET Subscription/1/$events?eventsSinceNumber=5&eventsUntilNumber=6     ->   their messages, else `missed`

Guarantees: `missed` is told unless the server gave every event that is missing and all are stored; whatever goes wrong
here ends there, and never in silence. Refuses nothing. Source: FHIR R5 and Subscriptions R5 Backport, `$events`.

| what the numbers say                                   | then                                                |
|--------------------------------------------------------|-----------------------------------------------------|
| the first of this Subscription since the engine began  | taken as they are: what was before is read anyway   |
| higher than the next; a heartbeat counts further       | those between are missing                           |
| one that is missing                                    | it came late                                        |
| one that came, of the same resource                    | told again                                          |
| lower, or one that came with another resource          | the server counts anew: `missed`                    |
| more than MOST are missing                             | `missed`                                            |
| none                                                   | nothing                                             |
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import structlog
from twisted.internet.defer import Deferred, gatherResults

from engine.fhir.notification import Notification, Status, notified
from engine.fhirserver.base import resource
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError
from engine.fhirserver.rounds import Rounds

_log = structlog.get_logger()
STRAGGLERS = 10.0  # seconds: notifications come out of order
IDLE = 3600.0  # seconds
MOST = 1000  # events that are asked for; numbers that are remembered
SUBSCRIPTIONS = 1000  # of one channel, remembered


class Numbers:
    """Of the events of one Subscription."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.missing: set[int] = set()
        self.since = 0.0  # when the first of them was missed
        self.asked_in_vain = False  # the server has no `$events`
        self._came: OrderedDict[int, str] = OrderedDict()  # number -> resource

    def hear(self, status: Status) -> str:
        """Why events may be lost that nobody can name; empty when none are, or they are `missing` now."""
        came = {int(one.number): one.focus for one in status.events if one.number.isdigit()}
        total = max(came, default=None) if status.total is None else status.total
        if total is None:
            return ""
        why = ""
        if self.total is None:
            self.total = total
        elif total > self.total + MOST:
            why = f"{total - self.total} events never came"
            self.total = total
        elif total > self.total:
            self.missing.update(range(self.total + 1, total + 1))
            self.total = total
        elif any(n not in self.missing and self._came.get(n) != focus for n, focus in came.items()) or (
            total < self.total and not came
        ):
            why = f"its events are counted anew, {total} after {self.total}"
            self.total = total
            self.missing.clear()
            self._came.clear()
        self.missing.difference_update(came)
        self._came.update(came)
        while len(self._came) > MOST:
            self._came.popitem(last=False)
        return why


class Gaps:
    """Of one channel, from `start` to `stop`. `hand` stores a message; `missed(why)` has the server searched."""

    def __init__(
        self, client: FhirClient, *, channel: str, reactor: Any, hand: Callable[[bytes, str], Deferred[bool]],
        foreign: Callable[[Notification], Notification], missed: Callable[[str], None], counter: bool,
    ) -> None:  # fmt: skip
        """`foreign` leaves out what this engine wrote; `counter`: numbers never begin again and name events."""
        self._client = client
        self._channel = channel
        self._reactor = reactor
        self._hand = hand
        self._foreign = foreign
        self._missed = missed
        self._counter = counter
        self._of: OrderedDict[str, Numbers] = OrderedDict()
        self._rounds = Rounds(reactor, self._round, self._ended)
        self.found = 0

    def start(self) -> None:
        """Look after what is missing."""
        self._rounds.start()

    def stop(self) -> None:
        """Ask no more; what is missing is read when the channel begins again."""
        self._rounds.stop()
        self._of.clear()

    def heard(self, status: Status) -> None:
        """A notification of a topic came, or the server told its status."""
        numbers = self._of.setdefault(status.subscription, Numbers())
        if len(self._of) > SUBSCRIPTIONS:
            self._of.popitem(last=False)
        before = bool(numbers.missing)
        if why := numbers.hear(status):
            self._missed(f"{status.subscription}: {why}")
        if numbers.missing:
            numbers.since = numbers.since if before else self._reactor.seconds()
            self._rounds.soon(STRAGGLERS)

    def status(self) -> dict[str, Any]:
        """For `status --json`."""
        return {"missing": sum(len(one.missing) for one in self._of.values()), "found": self.found}

    async def _round(self) -> None:
        now = self._reactor.seconds()
        for subscription, numbers in list(self._of.items()):
            if numbers.missing and now >= numbers.since + STRAGGLERS:
                wanted = sorted(numbers.missing)
                numbers.missing = set()
                try:
                    left = await self._ask(subscription, numbers, wanted)
                except FhirError as error:
                    numbers.asked_in_vain = error.unoffered
                    left = error.code
                if left:
                    self._missed(f"{len(wanted)} events of {subscription} never came: {left}")

    def _ended(self, error: BaseException | None, failures: int) -> float:
        if error is not None:
            _log.error("fhir.events.broken", channel=self._channel, error=type(error).__name__)
            self._missed("events never came")
        return STRAGGLERS if any(one.missing for one in self._of.values()) else IDLE

    async def _ask(self, subscription: str, numbers: Numbers, wanted: list[int]) -> str:
        """Store the events that are missing. Gives why some may be lost still. Raises FhirError."""
        if numbers.asked_in_vain:
            return "the server has no $events"
        resource(subscription)
        asked = {"eventsSinceNumber": wanted[0], "eventsUntilNumber": wanted[-1]}
        found = notified((await self._client.operation(f"{subscription}/$events", asked)).data, self._counter)
        if found is None or found.status is None:
            return "the answer to $events has none"
        told = {int(one.number) for one in found.status.events if one.number.isdigit()}
        messages = self._foreign(found).messages
        stored: list[bool] = await gatherResults([self._hand(*one) for one in messages])
        self.found += len(messages)
        _log.info("fhir.events", channel=self._channel, asked=len(wanted), found=len(told & set(wanted)))
        if not all(stored):
            return "the engine takes no messages now"
        return "" if told >= set(wanted) and not found.vague else "$events does not tell all"
