"""What was deleted on a server that shows no history: what the channel holds and the server lists no more.

    every `every` seconds, of the types without a history:
    Type?…&_elements=id       page by page            -> there
    what the channel holds    - there                 -> Type?_id=1,2,3,… asks for those again
    what it only met (another resource referred to it), in each round of the reconciler: asked for by ids as well
    GET Type/id               404 or 410, or the last entry of its history is the deletion
                                                      -> a note, which is read again when it is routed

Guarantees: nothing is taken for deleted because it was not listed, only because a direct read or its history says that
it is not there; a listing that fails, or ends before its last page, changes nothing; neither does a server that has
none of what the channel holds (FEW or more): it was emptied, or is another. Refuses nothing.

Memory: some 70 bytes a resource that the server lists, while it lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qsl

import structlog
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from engine.fhir.notification import note
from engine.fhirserver.base import is_id
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError
from engine.fhirserver.reading import ended
from engine.fhirserver.rounds import Refused, Rounds, growing

_log = structlog.get_logger()
COUNT = 1000  # ids of a page
AGAIN = 50  # ids that are asked for at once
FEW = 10  # resources
FIRST, LONGEST = 60.0, 3600.0  # seconds until a comparison that failed is done again
IDLE = 3600.0  # seconds


class Held(Protocol):
    """The resources that a channel was told of and not of their deletion, by a key that does not tell them."""

    def key(self, reference: str) -> bytes:
        """The key of `Patient/1`."""

    def after(self, key: bytes) -> list[bytes]:
        """The next keys behind this one, in order; the first for an empty one, none behind the last."""

    def met(self) -> list[bytes]:
        """Keys of what other resources referred to, and that was not looked for since."""

    def looked_for(self, keys: Collection[bytes]) -> Deferred[Any]:
        """These were; fires when that is kept."""

    def name(self, key: bytes) -> tuple[str, str]:
        """Reference and version; empty where nothing tells them any more."""


class Emptied(Exception):
    """The server has nothing of what the channel holds."""


class Absent:
    """Of one channel, from `start` to `stop`. `hand` stores a message. `every`: seconds."""

    def __init__(
        self, client: FhirClient, searches: Sequence[str], *, every: float, channel: str, reactor: Any,
        hand: Callable[[bytes, str], Deferred[bool]],
    ) -> None:  # fmt: skip
        self._client = client
        self._searches = searches
        self._every = every
        self._channel = channel
        self._reactor = reactor
        self._hand = hand
        self._held: Held
        self._rounds = Rounds(reactor, self._round, self._ended)
        self._due = 0.0  # seconds of the reactor
        self._whole = False  # the server does not know _elements
        self.kinds: set[str] = set()  # types without a history
        self.found = self.rounds = 0
        self.why = ""

    def start(self, held: Held) -> None:
        """Compare when it is time, and for the first time when there is a type without a history."""
        self._held = held
        self._rounds.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._rounds.stop()

    def add(self, kind: str) -> None:
        """The server shows no history of this type."""
        self.kinds.add(kind)
        self._due = 0.0
        self._rounds.soon(0)

    async def look_for(self, kinds: Collection[str], told: Collection[str]) -> None:
        """Whether what was only met since the last time is there still, of these types. `told`: deletions that are told
        already. Raises FhirError, Refused."""
        while keys := self._held.met():
            named = [found for key in keys if (found := self._held.name(key))[0] not in told]
            for kind in sorted(kinds):
                some = [
                    (id_, version)
                    for name, version in named
                    for of, _, id_ in [name.partition("/")]
                    if of == kind
                ]
                for id_, version in await self._not_there(kind, some):
                    await self._confirm(kind, id_, version)
            await self._held.looked_for(keys)

    def status(self) -> dict[str, Any]:
        """For the status page."""
        return {"types": sorted(self.kinds), "rounds": self.rounds, "found": self.found}

    # One comparison ---------------------------------------------------------------------------------------

    async def _round(self) -> None:
        now = self._reactor.seconds()
        if self.kinds and now >= self._due:
            self._due = now + self._every
            await self._compare()
            self.rounds += 1

    def _ended(self, error: BaseException | None, failures: int) -> float:
        if error is None:
            self.why = ""
            return max(self._due - self._reactor.seconds(), 0.0) if self.kinds else IDLE
        self._due = 0.0
        why = f"deletions cannot be looked for ({type(error).__name__})"
        if isinstance(error, Refused):
            why = "the engine takes no messages now"
        if isinstance(error, Emptied):
            why = str(error)
        if isinstance(error, FhirError):
            why = f"deletions cannot be looked for: {error.code}: {error.what}; {error.todo}"
        if why != self.why:
            _log.warning("fhir.compare", channel=self._channel, why=why)
        self.why = why
        return max(growing(FIRST, failures, LONGEST), getattr(error, "retry_after", 0.0))

    async def _compare(self) -> None:
        there: dict[str, set[int]] = {kind: set() for kind in sorted(self.kinds)}
        for search in self._searches:
            kind, _, query = search.partition("?")
            if kind in there:
                there[kind] |= await self._listed(kind, parse_qsl(query, keep_blank_values=True), COUNT)
        missing, known = await self._sorted(there)
        emptied = []
        for kind, some in missing.items():
            gone = await self._not_there(kind, some)
            if len(gone) == len(some) + known[kind] >= FEW:
                emptied.append(f"{len(gone)} {kind}")
                continue
            for id_, version in gone:
                await self._confirm(kind, id_, version)
        if emptied:
            raise Emptied(
                f"the FHIR server has none of the {' and '.join(emptied)} that the channel was told of: it was emptied,"
                " or is another; check `base`"
            )

    async def _sorted(
        self, there: dict[str, set[int]]
    ) -> tuple[dict[str, list[tuple[str, str]]], Counter[str]]:
        """What the channel holds: ids and versions of what is not there, by type, and how many are."""
        missing: dict[str, list[tuple[str, str]]] = {kind: [] for kind in there}
        known: Counter[str] = Counter()
        key = b""
        while keys := self._held.after(key):
            key = keys[-1]
            for one in keys:
                kind = next((kind for kind, found in there.items() if _short(one) in found), "")
                known[kind] += 1
                if not kind:
                    reference, version = self._held.name(one)
                    kind, _, id_ = reference.partition("/")
                    if kind in missing and is_id(id_):
                        missing[kind].append((id_, version))
            await deferLater(self._reactor, 0)
        return missing, known

    async def _listed(self, kind: str, params: list[tuple[str, str]], count: int) -> set[int]:
        """What the server lists, by key. All pages, or a FhirError."""
        found: set[int] = set()
        try:
            slim = [] if self._whole else [("_elements", "id")]
            async for page in self._client.search(kind, [*params, *slim, ("_count", str(count))], fresh=True):
                ids = (one.get("id") for one in page.matches if one.get("resourceType") == kind)
                found.update(_short(self._held.key(f"{kind}/{id_}")) for id_ in ids if isinstance(id_, str))
        except FhirError as error:
            if error.status != 400 or self._whole:
                raise
            self._whole = True
            return await self._listed(kind, params, count)
        return found

    async def _not_there(self, kind: str, missing: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that the server does not find by their ids either: what matches a search no more is still there."""
        gone = []
        for at in range(0, len(missing), AGAIN):
            some = missing[at : at + AGAIN]
            there = await self._listed(kind, [("_id", ",".join(id_ for id_, _ in some))], AGAIN)
            gone += [one for one in some if _short(self._held.key(f"{kind}/{one[0]}")) not in there]
        return gone

    async def _confirm(self, kind: str, id_: str, version: str) -> None:
        if not self._rounds.running:
            raise Refused
        try:
            await self._client.read(kind, id_)
            if not await ended(self._client, kind, id_):
                return
        except FhirError as error:
            if error.general:
                raise
            if not error.absent:
                return
        reference = f"{kind}/{id_}"
        after = f"{reference}/deleted/after-{version or 'the-last'}"
        if not await self._hand(note(reference, "deleted"), after):
            raise Refused
        self.found += 1


def _short(key: bytes) -> int:
    return int.from_bytes(key[:8], "big")
