"""Finds what a FHIR server changed and did not tell, or told in vain: reads on from a watermark.

    at the start, every so often, and when somebody asks (`look`), for each search:
    Type?…&_lastUpdated=ge(watermark - overlap)   what is there     -> those that the channel has not heard of
    Type/_history?_since=(watermark - overlap)    what was deleted  -> notes, which are read again when they are routed
    without a history of a type                   engine.fhirserver.absent
    what another resource referred to is looked for once, for it may have been gone before    engine.fhirserver.absent

Guarantees: a watermark is the server's own time (`meta.lastUpdated` of what it gave), so no clock of ours decides;
it moves, and is kept, only after everything of all pages was stored; a search of several pages is done again until it
finds nothing new, for pages shift while the server goes on; a server whose clock was set back is read from there.
What this engine wrote itself is left out (`engine.fhirserver.written`). One round at a time; a server that is down is
asked again at growing pauses; a search that it refuses does not keep the others from being read. Refuses nothing.

| what happens                                 | then                                                             |
|----------------------------------------------|------------------------------------------------------------------|
| the first round                              | `begin`: `now` takes the server's time, `all` reads everything   |
| killed before the watermark is kept          | read again; what was stored is known (control id, snapshot)      |
| the store takes nothing (AR 207)             | the round ends, the watermark stays, asked again                 |
| no history of a type (4xx, 501)              | its deletions are found by comparing ids: told in `status`       |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qsl

import orjson
import structlog
from twisted.internet.defer import Deferred, gatherResults

from engine.fhir.moment import NEVER, moment, said, updated
from engine.fhir.notification import note, relative
from engine.fhirserver.absent import Absent, Held
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError
from engine.fhirserver.rounds import Refused, Rounds, growing
from engine.fhirserver.written import Written
from engine.formats.base import name
from engine.states import Result

_log = structlog.get_logger()
COUNT = 100  # resources of a page
FIRST, LONGEST = 1.0, 60.0  # seconds until a server that is down is asked again
ROUNDS = 20  # of one search of several pages
STEP = timedelta(seconds=2)  # a clock that goes back further was set back
Hand = Callable[[bytes, str], "Deferred[bool]"]
"""Stores one message (control id where the bytes name none); tells whether it is."""
Params = list[tuple[str, str]]


class Known(Protocol):
    """The channel's side."""

    def noted(self) -> str:
        """What was noted last."""

    def note(self, text: str, *, kept: bool) -> None:
        """Note it."""

    def held(self) -> Held:
        """The resources that the channel was told of."""

    def heard(self, reference: str, version: str) -> str:
        """What the channel heard of a resource: `same` version, `deleted`, `other`, or nothing at all."""


class Reconciler:
    """Of one channel, from `start` to `stop`. `searches`: `Patient?active=true`."""

    def __init__(
        self, client: FhirClient, searches: Sequence[str], *, every: float, overlap: float, begin: str,
        deletions: float, channel: str, reactor: Any, hand: Hand, written: Written,
    ) -> None:  # fmt: skip
        self._client = client
        self._searches = [one.rstrip("?") for one in searches]
        self._every, self._overlap, self._first = every, timedelta(seconds=overlap), begin
        self._channel = channel
        self._reactor = reactor
        self._hand = hand
        self._written = written
        self._known: Known
        self._marks: dict[str, datetime] = {}
        self._absent = Absent(
            client, self._searches, every=deletions, channel=channel, reactor=reactor, hand=hand
        )
        self._rounds = Rounds(reactor, self._round, self._ended)
        self._gone: set[str] = set()  # what this round tells to be deleted
        self._looked = -1.0  # seconds of the reactor: when the last round that ended well began
        self.rounds = self.found = 0
        self._why = ""

    # What others use --------------------------------------------------------------------------------------

    def start(self, known: Known) -> None:
        """Read on from where the channel stands, now."""
        if not self._rounds.running:
            self._known, self._marks = known, _marks(known.noted())
            self._rounds.start()
            self._absent.start(known.held())

    def stop(self) -> None:
        """Begin nothing more."""
        self._rounds.stop()
        self._absent.stop()

    def look(self, why: str) -> None:
        """Something may have changed. A server that is down is asked at its pauses all the same."""
        if not self._rounds.failures and self._rounds.soon(0):
            _log.info("fhir.changes", channel=self._channel, why=why)

    @property
    def why(self) -> str:
        """What somebody should know; empty while all is well."""
        return self._why or self._absent.why

    def status(self) -> dict[str, Any]:
        """For the status page."""
        return {
            "rounds": self.rounds,
            "found": self.found,
            "watermarks": {search: said(at) for search, at in self._marks.items()},
            "compared": self._absent.status(),
        }

    # One round --------------------------------------------------------------------------------------------

    async def _round(self) -> None:
        began, refused = self._reactor.seconds(), None
        self._gone.clear()
        for search in self._searches:
            try:
                await self._read(search)
            except FhirError as error:
                if error.general:
                    raise
                refused = error
        await self._absent.look_for({search.partition("?")[0] for search in self._searches}, self._gone)
        if refused is not None:
            raise refused
        self._looked = began

    def _ended(self, error: BaseException | None, failures: int) -> float:
        if error is None:
            self._why = ""
            self.rounds += 1
            return self._every
        why = f"the changes of the FHIR server cannot be read ({type(error).__name__})"
        if isinstance(error, Refused):
            why = "the engine takes no messages now"
        if isinstance(error, FhirError):
            why = f"{error.code}: {error.what}; {error.todo}"
        if why != self._why:
            _log.warning("fhir.reconcile", channel=self._channel, why=why)
        self._why = why
        held = isinstance(error, FhirError) and error.result == Result.CONFIG
        wait = LONGEST if held else growing(FIRST, failures, LONGEST)
        return max(wait, getattr(error, "retry_after", 0.0))

    async def _read(self, search: str) -> None:
        kind, _, query = search.partition("?")
        params: Params = parse_qsl(query, keep_blank_values=True)
        mark = self._marks.get(search)
        if mark is None and self._first == "now":
            self._keep(search, await self._now(kind, params))
            return
        for _ in range(ROUNDS):
            newest, its, pages, found = await self._search(kind, params, mark or NEVER)
            if mark and its and its < mark - STEP and (back := its - self._since_last()) < mark:
                mark = back  # its clock was set back
                continue
            if pages < 2 or not found:
                break
        if mark and mark > NEVER:
            await self._deletions(kind, mark)
        self._keep(search, max(newest, mark or NEVER))

    def _since_last(self) -> timedelta:
        passed = self._reactor.seconds() - self._looked if self._looked >= 0 else self._every
        return timedelta(seconds=passed)

    async def _now(self, kind: str, params: Params) -> datetime:
        """The server's time: of its answer, else of its last change, and then nothing before that is read."""
        asked = [*params, ("_sort", "-_lastUpdated"), ("_count", "1")]
        async for page in self._client.search(kind, asked, fresh=True):
            last = max(filter(None, map(updated, page.matches)), default=NEVER)
            return updated(page.data) or (last + self._overlap if last > NEVER else NEVER)
        return NEVER

    async def _search(
        self, kind: str, params: Params, mark: datetime
    ) -> tuple[datetime, datetime | None, int, int]:
        """The newest time that was found, the server's own, the pages, and how many were new."""
        asked = [*params, ("_sort", "_lastUpdated"), ("_count", str(COUNT))]
        if mark > NEVER:
            asked.insert(len(params), ("_lastUpdated", f"ge{self._since(mark)}"))
        newest, its, pages, new = mark, None, 0, 0
        async for page in self._client.search(kind, asked, fresh=True):
            its = its or updated(page.data)
            pages += 1
            waiting = []
            for one in page.matches:
                if one.get("resourceType") != kind or not isinstance(one.get("id"), str):
                    continue
                newest = max(newest, updated(one) or NEVER)
                if not self._is_known(f"{kind}/{one['id']}", one.get("meta")):
                    waiting.append((orjson.dumps(one), ""))
            await self._store(waiting)
            new += len(waiting)
        return newest, its, pages, new

    def _is_known(self, reference: str, meta: Any) -> bool:
        version = meta.get("versionId", "") if isinstance(meta, dict) else ""
        return bool(version) and (
            self._known.heard(reference, str(version)) == "same"
            or self._written.own(f"{reference}/_history/{version}", self._channel)
        )

    async def _deletions(self, kind: str, mark: datetime) -> None:
        """What was deleted since, as far as the channel ever heard of it; of each resource the last entry counts."""
        if kind in self._absent.kinds:
            return
        seen: set[str] = set()
        asked = {"_since": self._since(mark), "_count": COUNT}
        try:
            async for page in self._client.search(f"{kind}/_history", asked, fresh=True):
                waiting = []
                for entry in page.entries:
                    request = _dict(entry.get("request"))
                    reference = relative(str(request.get("url", ""))) or _own(entry.get("resource"))
                    if reference in seen or not reference.startswith(f"{kind}/"):
                        continue
                    seen.add(reference)
                    if request.get("method") == "DELETE" and self._known.heard(reference, "") == "other":
                        self._gone.add(reference)
                        at = name(_dict(entry.get("response")).get("lastModified"))
                        waiting.append((note(reference, "deleted"), at and f"{reference}/deleted/{at}"))
                await self._store(waiting)
        except FhirError as error:
            if error.general and not error.unoffered:  # the type itself was searched a moment ago
                raise
            self._absent.add(kind)
            _log.warning("fhir.no_history", channel=self._channel, type=kind)

    async def _store(self, messages: list[tuple[bytes, str]]) -> None:
        """Hand these over; comes back when all are stored."""
        if not self._rounds.running:
            raise Refused
        stored: list[bool] = await gatherResults([self._hand(*one) for one in messages])
        if not all(stored):
            raise Refused
        self.found += len(messages)

    def _since(self, mark: datetime) -> str:
        return said(max(mark, NEVER + self._overlap) - self._overlap)

    def _keep(self, search: str, mark: datetime) -> None:
        if self._marks.get(search) != mark:
            self._marks[search] = mark
            told = {"marks": {search: at.isoformat() for search, at in self._marks.items()}}
            self._known.note(orjson.dumps(told).decode(), kept=True)


def _marks(noted: str) -> dict[str, datetime]:
    """What was kept, also by the versions before this one: `{"Patient?": "2026-…"}`. Of another listener: nothing."""
    if not noted.startswith("{"):
        return {}
    told = orjson.loads(noted)
    return {search.rstrip("?"): moment(at) or NEVER for search, at in told.get("marks", told).items()}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _own(resource: Any) -> str:
    return f"{resource.get('resourceType')}/{resource.get('id')}" if isinstance(resource, dict) else ""
