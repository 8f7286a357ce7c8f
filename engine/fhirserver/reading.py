"""Reads what notes name: a `Lookup` whose keys are references and whose values are resources, byte for byte.

Guarantees: what a batch names is read at once, each reference once; what was read stays while others have to wait;
only what lies below `base` is asked. A server that is down or refuses our login makes messages wait (LookupDown),
never disappear.

| answer                                              | value                                        |
|-----------------------------------------------------|----------------------------------------------|
| the resource                                        | its bytes                                    |
| 404, 410                                            | None: it is not there                        |
| no answer, 408, 429, 502, 503, 504, issue transient | LookupDown: asked again until it answers     |
| any other 5xx                                       | asked `PATIENCE` times, then the error       |
| 401, token refused, not a FHIR server, TLS          | LookupDown, held: people must mend it        |
| 403 and everything else                             | the error: this message is ERROR             |
| of a history (the last version of what was deleted) | None for every refusal: it may keep none     |
| of a history that ends with a deletion              | True of `GONE`, else None: a server may read |
|                                                     | from a cache what is gone (Medplum)          |
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from engine.fhirserver.base import Base, resource
from engine.fhirserver.client import FhirClient
from engine.fhirserver.connection import FhirConnection
from engine.fhirserver.errors import FhirError
from engine.spec.lookups import Key, Lookup, LookupDown
from engine.states import Result

PATIENCE = 6  # rounds of requests for a resource on which the server itself fails
LAST = "last"  # of a key: the last version of what was deleted
GONE = "gone"  # of a key: whether its history ends with a deletion, though it can be read
_GATEWAY = frozenset({0, 408, 429, 502, 503, 504})


class ResourceLookup(Lookup):
    """What the notes of one channel name, on one server. Nothing is kept longer than for a batch."""

    def __init__(self, label: str, connection: FhirConnection, reactor: Any) -> None:
        super().__init__(label, _never, ttl=0, size=0)
        self._connection = connection
        self._reactor = reactor
        self._failures: dict[Key, int] = {}

    @property
    def client(self) -> FhirClient:
        """The connection's."""
        return self._connection.client(self._reactor)

    def own(self, reference: str) -> str:
        """`Patient/1` of a reference to a resource of this server; empty for any other."""
        try:
            kind, id_, _ = resource(Base(self._connection.base).below(reference))
        except FhirError:
            return ""
        return f"{kind}/{id_}"

    def begin(self, now: float) -> None:
        """A batch begins."""
        super().begin(now)
        self._failures.clear()

    async def get(self, keys: Iterable[Key], now: float) -> None:
        """Read these at once. Raises LookupDown."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._held]
        self.fetches += 1
        found = await gatherResults([ensureDeferred(self._one(key)) for key in wanted])
        down: LookupDown | None = None
        for key, value in zip(wanted, found, strict=True):
            if isinstance(value, LookupDown):
                down = value if down is None or value.held else down
            else:
                self._held[key] = value
        if down is not None:
            raise down

    async def _one(self, key: Key) -> Any:
        try:
            kind, id_, _ = resource(key[0])
            if LAST in key:
                return await self._last(kind, id_)
            if GONE in key:
                return await ended(self.client, kind, id_) or None
            return (await self.client.read(kind, id_)).raw
        except FhirError as error:
            if error.absent:
                return None
            return self._judge(key, error)

    async def _last(self, kind: str, id_: str) -> Any:
        """The newest version in the history of what was deleted; None where the server shows none."""
        found = [entry.get("resource") for entry in await _history(self.client, kind, id_, 5)]
        of_it = (one for one in found if isinstance(one, dict) and one.get("id") == id_)
        return next((one for one in of_it if one.get("resourceType") == kind), None)

    def _judge(self, key: Key, error: FhirError) -> FhirError | LookupDown:
        held = error.result == Result.CONFIG and error.status != 403
        if not held and error.status not in _GATEWAY and error.code == "fhir.failed":
            self._failures[key] = self._failures.get(key, 0) + 1
            if self._failures[key] >= PATIENCE:
                return error
        elif not held and not error.waits:
            return error
        return _down(error, held)


class Agreement(Lookup):
    """Whether the server has the version of its connection: until it is known, and while it has another, messages of
    the channel wait. One that could not be asked is asked meanwhile, and nobody waits for that."""

    def __init__(self, label: str, connection: FhirConnection, reactor: Any) -> None:
        super().__init__(label, _never, ttl=0, size=0)
        self._connection = connection
        self._reactor = reactor

    def settled(self) -> None:
        """Raises Wanted where messages of this batch may have to wait."""
        if self._reactor is not None and not self._connection.client(self._reactor).agreed:
            self.ask(())

    async def get(self, keys: Iterable[Key], now: float) -> None:
        """Ask the server. Raises LookupDown while it has another version."""
        client = self._connection.client(self._reactor)
        asking = Deferred.fromCoroutine(client.agree())
        if client.disputed:
            try:
                await asking
            except FhirError as error:
                raise _down(error, held=True) from None
        else:
            asking.addErrback(lambda _: None)  # the next batch is told
        self._held[()] = True


def _down(error: FhirError, held: bool) -> LookupDown:
    down = LookupDown(error.what, code=error.code, todo=error.todo)
    down.held = held
    return down


async def ended(client: FhirClient, kind: str, id_: str) -> bool:
    """Whether the history of a resource ends with its deletion. Raises FhirError."""
    for newest in (await _history(client, kind, id_, 1))[:1]:
        told = [newest.get(part) for part in ("request", "response")]
        request, response = (one if isinstance(one, dict) else {} for one in told)
        gone = request.get("method") == "DELETE" or str(response.get("status", "")).startswith("410")
        return gone and not newest.get("resource")
    return False


async def _history(client: FhirClient, kind: str, id_: str, count: int) -> list[dict[str, Any]]:
    """The newest entries of the history of a resource; none where the server shows none."""
    try:
        history = await client.operation(f"{kind}/{id_}/_history", {"_count": count})
    except FhirError as error:
        if error.result == Result.PERMANENT or error.status == 403:
            return []
        raise
    entries = history.data.get("entry")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


async def _never(keys: list[Key]) -> dict[Key, Any]:
    raise AssertionError("`get` reads")
