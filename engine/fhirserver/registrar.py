"""The Subscriptions of one channel on its FHIR server: made, looked after, mended, and never two of one.

    find       ours on the server: by our tag, by the address that they send to, by the ids that we know
    create     what is wanted and not there; If-None-Exist by our tag, where the server knows conditions
    mend       what is there and differs, was turned off, went wrong, or comes to its end: PUT, so it keeps its id
    remove     what is ours and not wanted: doubles

Guarantees: nothing is remembered over restarts, the server is asked, so a crash after a create makes no second one; a
create is never sent twice without looking in between; who looks after a server does it alone in this engine. Secrets
(address, headers, signature) are in no log, error, URL or status. Refuses: a server that cannot search its
Subscriptions, for nobody could know whether ours is there.

| what is found                                   | then                                                        |
|-------------------------------------------------|-------------------------------------------------------------|
| none                                            | created as `requested`                                      |
| several of one                                  | the active, oldest stays; the others are deleted            |
| another address, criteria, payload, headers     | PUT; what the server keeps otherwise nevertheless is told once |
| `requested`, of criteria, for ACTIVATION        | PUT as `active`: this server leaves it to us (Medplum)      |
| `requested`, of a topic, for HANDSHAKE          | PUT again: the server asks again whether it reaches us      |
| `error`, `off`                                  | PUT as `requested`, at growing pauses                       |
| `end` is nearer than half its life              | PUT with a new one                                          |
| active again, or for the first time             | what was missed is read (`missed`)                          |
| no notification of a topic for two heartbeats   | `$status`; events that we have not seen are read            |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import structlog
from twisted.internet.defer import DeferredLock

from engine.fhir.notification import Status, answered
from engine.fhir.subscription import CHANNEL, SLOT, Wanted, endpoint, tagged
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError
from engine.fhirserver.rounds import Rounds, growing
from engine.fhirserver.slot import ACTIVATION, AGAIN, CHECK, HANDSHAKE, LIFE, LONGEST, SOON, Slot
from engine.states import Result

_log = structlog.get_logger()


class Registrar:
    """Looks after the Subscriptions of one channel from `start` to `stop`. `missed(why)` is told when events may be."""

    def __init__(
        self, client: FhirClient, alone: DeferredLock, wanted: Iterable[Wanted], version: str, *,
        channel: str, reactor: Any, missed: Callable[[str], None], told: Callable[[Status], None],
        secret_address: bool = False,
    ) -> None:  # fmt: skip
        """`alone` is shared by all that register on this server; `told` hears the answer to `$status`;
        `secret_address`: never in a URL of ours."""
        self._client = client
        self._wanted = list(wanted)
        self._version = version
        self._channel = channel
        self._reactor = reactor
        self._missed = missed
        self._told = told
        self._post = secret_address
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._identity = ""
        self.slots: list[Slot] = []
        self.why = ""
        self._rounds = Rounds(reactor, self._check, self._checked, alone)

    def start(self, identity: str, now: Callable[[], datetime]) -> None:
        """Begin; `identity` is the channel's and no other's, the same after every restart."""
        if self._rounds.running:
            return
        self._now, self._identity = now, identity
        if not self.slots:
            self.slots = [Slot(wanted, self._version, identity) for wanted in self._wanted]
        self._rounds.start()

    def stop(self) -> None:
        """Write no more; what is there stays."""
        self._rounds.stop()

    def heard(self, status: Status) -> None:
        """A notification of a topic came."""
        slot = next((one for one in self.slots if f"Subscription/{one.id}" == status.subscription), None)
        if slot is not None:
            slot.heard = self._reactor.seconds()
            slot.total = slot.total if status.total is None else status.total
        if status.type == "handshake" or (slot is not None and status.status in ("error", "off")):
            self._soon()

    def status(self) -> list[dict[str, Any]]:
        """Of each Subscription."""
        return [slot.status() for slot in self.slots]

    def trouble(self) -> str:
        """What somebody should know; empty while all is well."""
        now = self._reactor.seconds()
        return self.why or next(filter(None, (slot.trouble(now) for slot in self.slots)), "")

    # When -------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        """The server is about to change something: look in a moment."""
        self._rounds.soon(SOON)

    async def _check(self) -> None:
        if self._rounds.running:
            await self._look()
            if failed := next((slot.failed for slot in self.slots if slot.failed is not None), None):
                raise failed

    def _checked(self, error: BaseException | None, failures: int) -> float:
        """How it ended, and how long to wait now. What should not happen does not end it."""
        if error is not None and not isinstance(error, FhirError):
            self.why = f"the Subscriptions cannot be looked after ({type(error).__name__})"
            _log.error("fhir.subscription.broken", channel=self._channel, error=type(error).__name__)
            return CHECK
        told = ""
        if error is not None and all(error is not slot.failed for slot in self.slots):
            told = f"{error.what}; {error.todo}"
            if told != self.why:
                _log.error("fhir.subscription.trouble", channel=self._channel, code=error.code, why=told)
        self.why = told
        if error is None:
            now = self._reactor.seconds()
            return min((slot.next(now) for slot in self.slots), default=CHECK)
        pause = AGAIN if error.result == Result.CONFIG else growing(4.0, failures, CHECK)
        return max(pause, error.retry_after)

    # One look ---------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        there = await self._find()
        left = list(there.values())
        for slot in self.slots:
            same = [one for one in left if slot.is_of(one)]
            slot.there = min(same, key=lambda one: _rank(one, slot), default={})
            if slot.there:
                left.remove(slot.there)
        for slot in self.slots:
            if not slot.there and (spare := [one for one in left if not self._about_another(one)]):
                slot.there = min(spare, key=lambda one: _rank(one, slot))
                left.remove(slot.there)
        for slot in self.slots:
            slot.failed = None
            try:
                await self._mend(slot)
                slot.why = ""
            except FhirError as error:
                self._failed(slot, error)
        for one in left:
            if self._rounds.running:
                await self._client.delete("Subscription", str(one["id"]))
                _log.warning(
                    "fhir.subscription.removed", channel=self._channel, id=one["id"], why="not wanted"
                )

    def _about_another(self, one: dict[str, Any]) -> bool:
        """A double of what is there; anything else of ours may become what is wanted."""
        return any(slot.is_of(one) for slot in self.slots)

    async def _find(self) -> dict[str, dict[str, Any]]:
        """All that is ours, by id."""
        found: dict[str, dict[str, Any]] = {}
        refused: FhirError | None = None
        searched = False
        places = dict.fromkeys(slot.wanted.endpoint for slot in self.slots)
        for asked in ({"_tag": f"{CHANNEL}|{self._identity}"}, *({"url": place} for place in places)):
            try:
                pages = self._client.search("Subscription", asked, post=self._post, fresh=True)
                async for page in pages:
                    found |= {str(one.get("id")): one for one in page.matches if self._is_ours(one, places)}
                searched = True
            except FhirError as error:
                if error.waits or error.result == Result.CONFIG:
                    raise
                refused = error
        if not searched and refused is not None:
            raise FhirError(
                "fhir.search", Result.CONFIG, status=refused.status, issue=refused.issue,
                what="the FHIR server cannot search its Subscriptions, so nobody knows whether ours is there",
            )  # fmt: skip
        for slot in self.slots:
            if slot.id and slot.id not in found:  # what a search does not find yet
                try:
                    one = (await self._client.read("Subscription", slot.id)).data
                except FhirError as error:
                    if not error.absent:
                        raise
                else:
                    found |= {slot.id: one} if self._is_ours(one, places) else {}
        return found

    def _is_ours(self, one: dict[str, Any], places: Iterable[str]) -> bool:
        own = tagged(one, CHANNEL) == self._identity or endpoint(one) in places
        return own and one.get("resourceType") == "Subscription"

    async def _mend(self, slot: Slot) -> None:
        """What is to be done about one of them, at most one write."""
        if not self._rounds.running:
            return
        now = self._reactor.seconds()
        slot.asked = slot.asked or now
        if slot.live and slot.wanted.heartbeat and now >= slot.overdue():
            await self._ask(slot)
        wrong, state = slot.wrong(), slot.state
        if wrong and wrong <= slot.tried:
            slot.kept |= wrong
            _log.warning("fhir.subscription.otherwise", channel=self._channel, id=slot.id, kept=sorted(wrong))
            wrong = frozenset()
        slot.tried = wrong
        usual = "active" if slot.by_us else "requested"
        if not slot.there:
            await self._create(slot)
        elif wrong:
            await self._write(slot, usual, f"other {', '.join(sorted(wrong))}")
        elif state == "requested":
            if not slot.wanted.topic and now - slot.asked >= ACTIVATION:
                slot.by_us = True
                await self._write(slot, "active", "the server leaves it to us")
            elif now - slot.asked >= HANDSHAKE:
                await self._write(slot, "requested", "no handshake came")
        elif state != "active":
            if now >= slot.again:
                slot.repairs += 1
                slot.again = now + growing(AGAIN, slot.repairs, LONGEST)
                await self._write(slot, usual, f"it was {state}")
        elif slot.ends(self._now()):
            await self._write(slot, "active", "it would end")
        self._seen(slot)

    def _seen(self, slot: Slot) -> None:
        """Whether it is active now, and was not before."""
        if slot.state != "active":
            slot.live = False
        elif not slot.live:
            slot.live, slot.heard = True, self._reactor.seconds()
            slot.repairs = slot.repairs if slot.again > slot.heard else 0
            _log.info("fhir.subscription.active", channel=self._channel, id=slot.id)
            self._missed(f"Subscription/{slot.id} is active")

    async def _ask(self, slot: Slot) -> None:
        """`$status`: a heartbeat is missed."""
        slot.heard = self._reactor.seconds()  # the next one is due from now
        try:
            data = (await self._client.operation(f"Subscription/{slot.id}/$status")).data
        except FhirError as error:
            if error.waits or error.result == Result.CONFIG:
                raise
            data = {}  # a server without $status: what the search said is all that there is to know
        told = answered(data)
        if told is None:
            self._missed(f"no heartbeat of Subscription/{slot.id}")
            return
        if told.status in ("error", "off"):
            slot.there["status"] = told.status
        if told.errors:
            slot.why = f"the server tells {', '.join(told.errors)}"
        if told.total is None or slot.total is None:
            self._missed(f"no heartbeat of Subscription/{slot.id}, and {told.total} events there")
        slot.total = told.total if told.total is not None else slot.total
        self._told(told)

    # Writing ----------------------------------------------------------------------------------------------

    async def _create(self, slot: Slot) -> None:
        data = self._said(slot, "active" if slot.by_us else "requested")
        secret = {"X-Hub-Secret": slot.wanted.signature} if slot.wanted.signature else {}
        slot.asked = self._reactor.seconds()
        try:
            found = await self._client.create(
                data, if_none_exist=f"_tag={SLOT}|{slot.key}", once=True, headers=secret
            )
        except FhirError as error:
            if error.result != Result.PERMANENT or error.code == "fhir.precondition":
                raise  # several match: the next look finds them
            found = await self._client.create(data, headers=secret)  # it may not know the condition
        self._written(slot, found.data, found.location)
        _log.info("fhir.subscription.created", channel=self._channel, id=slot.id)

    async def _write(self, slot: Slot, status: str, why: str) -> None:
        data = {**self._said(slot, status), "id": slot.id}
        slot.asked = self._reactor.seconds()
        found = await self._client.update(data)
        self._written(slot, found.data, f"Subscription/{slot.id}")
        _log.info("fhir.subscription.updated", channel=self._channel, id=slot.id, status=slot.state, why=why)

    def _said(self, slot: Slot, status: str) -> dict[str, Any]:
        end = (self._now() + LIFE).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {**slot.ours, "status": status, "end": end}

    def _written(self, slot: Slot, there: dict[str, Any], location: str) -> None:
        """What the server made of it; one that answers with nothing is read at the next look."""
        if there.get("resourceType") != "Subscription" or not there.get("id"):
            slot.there = {"id": location.split("/")[1], "resourceType": "Subscription"} if location else {}
            return
        slot.there = there

    def _failed(self, slot: Slot, error: FhirError) -> None:
        told = f"{error.what}; {error.todo}"
        if told != slot.why:
            _log.error("fhir.subscription.trouble", channel=self._channel, code=error.code, why=told)
        slot.failed, slot.why = error, told


def _rank(one: dict[str, Any], slot: Slot) -> tuple[bool, bool, str, str]:
    """Which of several stays: the one that works and is known, then the oldest."""
    since = str((one.get("meta") or {}).get("lastUpdated", ""))
    return one.get("status") != "active", one.get("id") != slot.id, since, str(one.get("id"))
