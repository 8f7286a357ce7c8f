"""Finds what a FHIR server changed and did not tell, or told in vain: reads on from a watermark.

    every so often, and at the start, for each of `resources`:
    Type?…&_lastUpdated=ge(watermark - overlap)   what is there     -> those that the channel has not heard of
    Type/_history?_since=(watermark - overlap)    what was deleted  -> notes, which are read again when they are routed

Guarantees: a watermark is the server's own time (`meta.lastUpdated` of what it gave), so no clock of ours decides;
it moves, and is kept, only after everything of all pages was stored; a search of several pages is done again until it
finds nothing new, for pages shift while the server goes on; a server whose clock was set back is read from there.
One round at a time; a server that is down is asked again at growing pauses. Refuses nothing.

| what happens                                 | then                                                             |
|----------------------------------------------|------------------------------------------------------------------|
| the first round                              | `begin`: `now` takes the server's time, `all` reads everything   |
| killed before the watermark is kept          | read again; what was stored is known (control id, snapshot)      |
| the store takes nothing (AR 207)             | the round ends, the watermark stays, asked again                 |
| no history of a type (404, 405, 501)         | told in `status`; deletions are found no more                    |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import orjson
import structlog
from twisted.internet.defer import Deferred, ensureDeferred

from engine.fhir.notification import note, relative
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError
from engine.states import Result

_log = structlog.get_logger()
COUNT = 100  # resources of a page
FIRST, LONGEST = 1.0, 60.0  # seconds until a server that is down is asked again
ROUNDS = 20  # of one search of several pages
STEP = timedelta(seconds=2)  # a clock that goes back further was set back
Hand = Callable[[bytes], "Deferred[bool]"]


class Known(Protocol):
    """The channel's side."""

    def noted(self) -> str:
        """What was noted last."""

    def note(self, text: str, *, kept: bool) -> None:
        """Note it."""

    def heard(self, reference: str, version: str) -> str:
        """What the channel heard of a resource: `same` version, `deleted`, `other`, or nothing at all."""


class Refused(Exception):
    """The store takes nothing now."""


class Reconciler:
    """Of one channel, from `start` to `stop`. `hand` stores one message."""

    def __init__(
        self, client: FhirClient, resources: Sequence[str], *, every: float, overlap: float, begin: str,
        channel: str, reactor: Any, hand: Hand,
    ) -> None:  # fmt: skip
        self._client = client
        self._resources = list(resources)
        self._every, self._overlap, self._first = every, timedelta(seconds=overlap), begin
        self._channel = channel
        self._reactor = reactor
        self._hand = hand
        self._known: Known
        self._marks: dict[str, str] = {}
        self._without: set[str] = set()  # types without a history
        self._running = False
        self._call: Any = None
        self._failures = 0
        self._looked = -1.0  # seconds of the reactor: when the last round that ended well began
        self.rounds = self.found = 0
        self.why = ""

    # What others use --------------------------------------------------------------------------------------

    def start(self, known: Known) -> None:
        """Read on from where the channel stands, now."""
        if self._running:
            return
        self._running, self._known = True, known
        kept = known.noted()
        self._marks = orjson.loads(kept).get("marks", {}) if kept.startswith("{") else {}
        self._later(0)

    def stop(self) -> None:
        """Begin nothing more."""
        self._running = False
        self._cancel()

    def status(self) -> dict[str, Any]:
        """For the status page."""
        return {
            "rounds": self.rounds,
            "found": self.found,
            "watermarks": dict(self._marks),
            "deletions_not_found": sorted(self._without),
        }

    # When -------------------------------------------------------------------------------------------------

    def _later(self, seconds: float) -> None:
        self._cancel()
        self._call = self._reactor.callLater(seconds, self._begin)

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _begin(self) -> None:
        ensureDeferred(self._round()).addBoth(self._ended, self._reactor.seconds())

    def _ended(self, failure: Any, began: float) -> None:
        if failure is None:
            self._failures, self.why, self._looked = 0, "", began
            self.rounds += 1
            wait = self._every
        else:
            error = failure.value
            held = isinstance(error, FhirError) and error.result == Result.CONFIG
            wait = LONGEST if held else min(FIRST * 2**self._failures, LONGEST)
            self._failures += 1
            why = "the engine takes no messages now" if isinstance(error, Refused) else (
                f"{error.code}: {error.what}" if isinstance(error, FhirError) else type(error).__name__
            )  # fmt: skip
            if why != self.why:
                _log.warning("fhir.reconcile", channel=self._channel, why=why)
            self.why = why
        if self._running:
            self._later(wait)

    # One round --------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        for criterion in self._resources:
            await self._read(criterion)

    async def _read(self, criterion: str) -> None:
        kind, _, query = criterion.partition("?")
        params: list[tuple[str, Any]] = [
            (name, value) for name, _, value in (one.partition("=") for one in query.split("&") if one)
        ]
        mark = self._marks.get(criterion)
        if mark is None and self._first == "now":
            self._keep(criterion, await self._newest(kind, params))
            return
        for _ in range(ROUNDS):
            newest, said, pages, found = await self._search(kind, params, mark or "")
            at = _moment(mark or "")
            if said and at and said < at - STEP and (back := said - self._since_last()) < at:
                mark = _text(back)  # its clock was set back
                continue
            if pages < 2 or not found:
                break
        if mark:
            await self._deletions(kind, mark)
        self._keep(criterion, max(newest, mark or "", key=lambda one: _moment(one) or _NEVER))

    def _since_last(self) -> timedelta:
        passed = self._reactor.seconds() - self._looked if self._looked >= 0 else self._every
        return timedelta(seconds=passed)

    async def _newest(self, kind: str, params: list[tuple[str, Any]]) -> str:
        """The server's time, as far as it tells: of the last change, else of its answer."""
        asked = [*params, ("_sort", "-_lastUpdated"), ("_count", "1")]
        async for page in self._client.search(kind, asked, fresh=True):
            times = [_updated(one) for one in page.matches] or [_updated(page.data)]
            return max(times)
        return ""

    async def _search(
        self, kind: str, params: list[tuple[str, Any]], mark: str
    ) -> tuple[str, datetime | None, int, int]:
        """The newest time that was found, the server's own, the pages, and how many were new."""
        asked = [*params, ("_sort", "_lastUpdated"), ("_count", str(COUNT))]
        if since := self._since(mark):
            asked.insert(len(params), ("_lastUpdated", f"ge{since}"))
        newest, said, pages, new = mark, None, 0, 0
        async for page in self._client.search(kind, asked, fresh=True):
            said = said or _moment(_updated(page.data))
            pages += 1
            waiting = []
            for one in page.matches:
                if one.get("resourceType") != kind or not isinstance(one.get("id"), str):
                    continue
                at = _updated(one)
                newest = max(newest, at, key=lambda text: _moment(text) or _NEVER)
                meta = one.get("meta")
                version = meta.get("versionId", "") if isinstance(meta, dict) else ""
                if not version or self._known.heard(f"{kind}/{one['id']}", str(version)) != "same":
                    waiting.append(self._hand(orjson.dumps(one)))
            await self._stored(waiting)
            new += len(waiting)
        self.found += new
        return newest, said, pages, new

    async def _deletions(self, kind: str, mark: str) -> None:
        """What was deleted since, as far as the channel ever heard of it; of each resource the last entry counts."""
        if kind in self._without:
            return
        seen: set[str] = set()
        asked = {"_since": self._since(mark), "_count": COUNT}
        try:
            async for page in self._client.search(f"{kind}/_history", asked, fresh=True):
                waiting = []
                for entry in page.entries:
                    request = entry.get("request")
                    request = request if isinstance(request, dict) else {}
                    reference = relative(str(request.get("url", ""))) or _own(entry.get("resource"))
                    if reference in seen or not reference.startswith(f"{kind}/"):
                        continue
                    seen.add(reference)
                    if request.get("method") == "DELETE" and self._known.heard(reference, "") == "other":
                        waiting.append(self._hand(note(reference, "deleted")))
                await self._stored(waiting)
                self.found += len(waiting)
        except FhirError as error:
            if error.waits or error.result == Result.CONFIG:
                raise
            self._without.add(kind)
            _log.warning("fhir.no_history", channel=self._channel, type=kind)

    async def _stored(self, waiting: list[Deferred[bool]]) -> None:
        done: list[bool] = []
        for one in waiting:
            done.append(await one)
        if not all(done):
            raise Refused

    def _since(self, mark: str) -> str:
        at = _moment(mark)
        return _text(at - self._overlap) if at else ""

    def _keep(self, criterion: str, mark: str) -> None:
        if self._marks.get(criterion) != mark:
            self._marks[criterion] = mark
            self._known.note(orjson.dumps({"marks": self._marks}).decode(), kept=True)


_NEVER = datetime(1, 1, 1, tzinfo=UTC)


def _updated(data: Any) -> str:
    meta = data.get("meta") if isinstance(data, dict) else None
    said = meta.get("lastUpdated") if isinstance(meta, dict) else ""
    return said if isinstance(said, str) and _moment(said) else ""


def _moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _own(resource: Any) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}" if isinstance(resource, dict) else ""
