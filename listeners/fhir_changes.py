"""What changed on a FHIR server while nobody told of it: read by searches, as messages of the channel.

    look("a ping"), and every EVERY seconds: each search with `_lastUpdated=ge…`, from where the last
    look ended; page after page

Guarantees: where a look begins is kept in the store, and moves on only when every page is stored (C1), so a crash, an
outage or a full store reads again and misses nothing; what was read is named by its version, so the same again is the
same message; one look at a time, and whatever asks meanwhile gets one more after it. Refuses nothing. Does not see
deletions: servers tell of those in no search.

Clocks may differ and servers commit late: every look begins OVERLAP before the newest change that was seen.
Source: FHIR R4, search by `_lastUpdated` and `_sort`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from engine.clock import Micros
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError
from engine.fhirserver.written import Written
from engine.formats.base import Format, worst
from engine.model import Incoming
from listeners.base import Receiver

OVERLAP = timedelta(minutes=5)
PAGE = 100  # resources
EVERY = 300.0  # seconds until the next look, when nobody asks for one
AGAIN, LONGEST = 5.0, 300.0  # seconds until a look that failed is done again
_log = structlog.get_logger()


class Changed(Incoming):
    """A resource that a look found."""

    __slots__ = ("_stored",)

    def __init__(self, raw: bytes, peer: str, at: Micros, stored: Deferred[Any]) -> None:
        super().__init__(raw, peer, at)
        self._stored = stored

    def answer(self, data: Any) -> None:
        """It is stored, or refused."""
        self._stored.callback(data)


class Full(Exception):
    """The channel takes nothing now."""


class Changes:
    """Of one channel. `searches`: `Patient?active=true`."""

    def __init__(
        self, client: FhirClient, searches: Sequence[str], *, channel: str, form: Format, reactor: Any,
        written: Written,
    ) -> None:  # fmt: skip
        self._client = client
        self._searches = list(searches)
        self._channel = channel
        self._form = form
        self._reactor = reactor
        self._written = written
        self._receiver: Receiver
        self._since: dict[str, datetime] = {}
        self._running = self._looking = self._asked = self.paused = False
        self._call: Any = None
        self._failures = 0
        self.looks = self.found = 0
        self.why = ""

    def start(self, receiver: Receiver) -> None:
        """Know where the last look ended; the first one of a channel begins now."""
        if self._running:
            return
        self._running, self._receiver = True, receiver
        known = _read(receiver.noted())
        self._since = {search: known.get(search) or self._now() for search in self._searches}
        if known.keys() != self._since.keys():
            self._note()

    def stop(self) -> None:
        """Begin no more."""
        self._running = False
        self._cancel()

    def look(self, why: str) -> None:
        """Something may have changed."""
        if self._running and not self._asked:
            _log.info("fhir.changes", channel=self._channel, why=why)
        self._asked = True
        self._begin()

    def resume(self) -> None:
        """The channel takes messages again."""
        self.paused = False
        self._begin()

    def status(self) -> dict[str, Any]:
        """For `status --json`."""
        since = {search: at.isoformat() for search, at in self._since.items()}
        return {"looks": self.looks, "found": self.found, "since": since}

    # ------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._asked and self._running and not self._looking and not self.paused:
            self._cancel()
            self._asked, self._looking = False, True
            ensureDeferred(self._look()).addBoth(self._over)

    def _over(self, result: Any) -> None:
        self._looking = False
        error = getattr(result, "value", None)
        if error is None:
            self._failures, self.why = 0, ""
            self.looks += 1
            if self._running:
                self._call = self._reactor.callLater(EVERY, self._regularly)
            self._begin()
            return
        told = f"{error.what}; {error.todo}" if isinstance(error, FhirError) else str(error)
        if not isinstance(error, (FhirError, Full)):
            told = f"changes cannot be read ({type(error).__name__})"
        if told != self.why:
            code = getattr(error, "code", type(error).__name__)
            _log.error("fhir.changes.failed", channel=self._channel, code=code, why=told)
        self.why, self._asked = told, True
        self._failures += 1
        if self._running:
            pause = min(AGAIN * 2 ** (self._failures - 1), LONGEST)
            wait = max(pause, getattr(error, "retry_after", 0.0))
            self._call = self._reactor.callLater(wait, self._begin)

    def _regularly(self) -> None:
        self._asked = True
        self._begin()

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    async def _look(self) -> None:
        for search in self._searches:
            kind, _, query = search.partition("?")
            newest = since = self._since[search]
            asked = parse_qsl(query, keep_blank_values=True)
            asked += [("_lastUpdated", f"ge{_text(since - OVERLAP)}"), ("_sort", "_lastUpdated")]
            asked += [("_count", str(PAGE))]
            async for page in self._client.search(kind, asked, fresh=True):
                await self._store(page.matches)
                newest = max([newest, *(at for one in page.matches if (at := _updated(one)) is not None)])
                if not self._running:
                    return
            if newest > since:
                self._since[search] = newest
                self._note()

    async def _store(self, found: list[dict[str, Any]]) -> None:
        """Hand resources over; comes back when all are stored."""
        waiting: list[Deferred[Any]] = []
        for one in found:
            raw = orjson.dumps(one)
            if self._written.own(self._form.peek(raw).control_id, self._channel):
                continue
            stored: Deferred[Any] = Deferred()
            waiting.append(stored)
            self._receiver.receive(
                Changed(raw, f"fhir {self._client.base.host}", self._receiver.now(), stored)
            )
        for answer in await gatherResults(waiting):
            verdict = worst(self._form, answer)
            if verdict is not None and verdict.condition == "207" and verdict.code in ("AR", "CR"):
                raise Full("the engine takes no messages now")
        self.found += len(waiting)

    def _note(self) -> None:
        told = {search: _text(at) for search, at in self._since.items()}
        self._receiver.note(orjson.dumps(told).decode(), kept=True)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._receiver.now() / 1e6, UTC)


def _read(text: str) -> dict[str, datetime]:
    try:
        told = orjson.loads(text) if text else {}
        return {search: datetime.fromisoformat(at) for search, at in told.items()}
    except (ValueError, AttributeError, TypeError):  # of another listener that the channel had
        return {}


def _updated(one: dict[str, Any]) -> datetime | None:
    meta = one.get("meta")
    try:
        found = datetime.fromisoformat(meta["lastUpdated"]) if isinstance(meta, dict) else None
    except (KeyError, TypeError, ValueError):
        return None
    return found if found is not None and found.tzinfo is not None else None


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
