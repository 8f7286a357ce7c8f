"""Requests to one FHIR server.

    await client.read("Patient", "1")                      -> Found, or FhirError (absent: 404 and 410)
    async for page in client.search("Patient", {"_lastUpdated": "ge2026-11-25"}): ...
    await client.create(patient, if_none_exist="identifier=urn:mrn|1")
    await client.update(patient, search="identifier=urn:mrn|1")   ·   update(patient, if_match="3")
    await client.transaction(bundle)   ·   await client.operation("Subscription/1/$events", {...})

Guarantees: nothing but what lies below `base` is ever asked, whatever a reference or a `next` link says; a request
fails with a FhirError and nothing else; one that cannot do harm twice (GET, search, PUT, DELETE, If-None-Exist) is
tried again on RETRY and UNKNOWN, with growing pauses and never earlier than the server asks for; every other is sent
once; a 401 renews a token once; never more than `connections` at a time. Before anything else the server is asked for
its version: one that has another than the connection says is asked for nothing (`fhir.version`); one that does not
answer that is no contradiction, and is asked again a minute later; a contradiction stands until it says otherwise.
Refuses: to wait more than `LONGEST`
seconds for one request (the caller is told when to come again), more than `PAGES` pages of one search.

What is searched for stands in the URL, which the server and what lies before it may log: `post=True` searches by
POST. Source: FHIR R4 4.0.1 and R5, RESTful API.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore
from twisted.internet.task import deferLater

from engine.errors import FormatError
from engine.fhir import release
from engine.fhirserver.auth import Login
from engine.fhirserver.base import Base, foreign, resource
from engine.fhirserver.errors import FhirError, of_answer, of_lost
from engine.formats import tree
from engine.formats.base import name
from engine.states import Result
from engine.webclient import Answer, Lost, WebClient

JSON = "application/fhir+json"
LONGEST = 60.0  # seconds that one pause may take
FIRST_PAUSE = 0.5  # seconds
PAGES = 100_000
AGREE = 60.0  # seconds until a server is asked again for its version
Params = Mapping[str, Any] | Sequence[tuple[str, Any]]


class Found(NamedTuple):
    """A resource as the server has it, or nothing where it answers without a body."""

    data: dict[str, Any]
    raw: bytes
    status: int
    version: str = ""  # ETag, else meta.versionId
    location: str = ""  # `Patient/1/_history/2`, when it lies below the base


class Page(NamedTuple):
    """One page of a Bundle."""

    entries: list[dict[str, Any]]
    data: dict[str, Any]
    more: bool

    @property
    def matches(self) -> list[dict[str, Any]]:
        """The resources that were searched for: no includes, no OperationOutcome."""
        found = []
        for entry in self.entries:
            search = entry.get("search")
            mode = search.get("mode", "match") if isinstance(search, dict) else "match"
            one = entry.get("resource")
            if mode == "match" and isinstance(one, dict) and one.get("resourceType") != "OperationOutcome":
                found.append(one)
        return found


class FhirClient:
    """One server, as one client. `tries` is how often a harmless request is sent, at most."""

    def __init__(
        self,
        base: Base,
        web: WebClient,
        login: Login,
        reactor: Any,
        *,
        headers: Mapping[str, str] | None = None,
        connections: int = 4,
        tries: int = 4,
        random: Callable[[], float] = lambda: 0.5,
        version: str = "",
    ) -> None:
        self.base = base
        self._web = web
        self._login = login
        self._reactor = reactor
        self._headers = {"Accept": JSON, "User-Agent": "isthmus", **(headers or {})}
        self._slots = DeferredSemaphore(connections)
        self._tries = tries
        self._random = random
        self.requests = 0
        self._version = version
        self._agreed = not version  # the server has the version that we speak, as far as it tells
        self._agreeing = DeferredLock()
        self._asked = False  # and whether it told is known
        self._told = ""  # the other version that it has
        self._again = float("-inf")  # seconds of the reactor: when it is asked for it

    def __repr__(self) -> str:
        return f"<FhirClient {self.base.host}>"

    # Reading ----------------------------------------------------------------------------------------------

    async def read(self, kind: str, id_: str, version: str = "") -> Found:
        """The current version, or that one (vread)."""
        path = f"{kind}/{id_}/_history/{version}" if version else f"{kind}/{id_}"
        resource(path)
        found = _found(await self.send("GET", path), self.base)
        if found.data.get("resourceType") != kind or found.data.get("id") != id_:
            raise FhirError(
                "fhir.answer", Result.PERMANENT, status=found.status, body=found.raw,
                what="the FHIR server answers with another resource than was asked for",
            )  # fmt: skip
        return found

    async def search(
        self, kind: str, params: Params, *, post: bool = False, fresh: bool = False
    ) -> AsyncIterator[Page]:
        """The pages of a search, or of a history (`kind` is then `Patient/_history`); `fresh`: not from a cache."""
        encoded = urlencode(_pairs(params), safe=":,|$")
        extra = {"Cache-Control": "no-cache"} if fresh else {}
        if post:
            form = {"Content-Type": "application/x-www-form-urlencoded", **extra}
            answer = await self.send("POST", f"{kind}/_search", encoded.encode(), form, harmless=True)
        else:
            answer = await self.send("GET", f"{kind}?{encoded}" if encoded else kind, b"", extra)
        seen: set[str] = set()
        while True:
            data = self._bundle(answer)
            following = _link(data, "next")
            yield Page(_entries(data), data, bool(following))
            if not following:
                return
            path = self.base.below(following)
            if path in seen or len(seen) >= PAGES:
                raise FhirError(
                    "fhir.answer", Result.RETRY, what="the pages of the FHIR server never come to an end"
                )
            seen.add(path)
            answer = await self.send("GET", path)

    async def operation(self, path: str, params: Params = ()) -> Found:
        """`GET Subscription/1/$status`: an operation that changes nothing."""
        encoded = urlencode(_pairs(params), safe=":,|$")
        return _found(await self.send("GET", f"{path}?{encoded}" if encoded else path), self.base)

    # Writing ----------------------------------------------------------------------------------------------

    async def create(
        self, data: Mapping[str, Any], *, if_none_exist: str = "", once: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Found:  # fmt: skip
        """POST; with a condition the server makes none where one matches (200 then, 201 for a new one).

        `once`: not sent again, for servers that may not know conditions.
        """
        extra = {**(headers or {}), **({"If-None-Exist": _condition(if_none_exist)} if if_none_exist else {})}
        harmless = bool(if_none_exist) and not once
        return await self._write("POST", str(data["resourceType"]), data, extra, harmless=harmless)

    async def update(self, data: Mapping[str, Any], *, search: str = "", if_match: str = "") -> Found:
        """PUT to its id, or with `search` to the one that matches. `if_match` is the version that is expected."""
        kind = str(data["resourceType"])
        path = f"{kind}?{_condition(search)}" if search else f"{kind}/{data['id']}"
        if not search:
            resource(path)
        extra = {"If-Match": f'W/"{if_match}"'} if if_match else {}
        # sent again after an unknown outcome, If-Match would not hold any more
        return await self._write("PUT", path, data, extra, harmless=not if_match)

    async def patch(self, path: str, changes: Sequence[Mapping[str, Any]], *, if_match: str = "") -> Found:
        """JSON Patch (RFC 6902). Sent once."""
        extra = {"Content-Type": "application/json-patch+json"}
        if if_match:
            extra["If-Match"] = f'W/"{if_match}"'
        return await self._write("PATCH", path, list(changes), extra)

    async def delete(self, kind: str, id_: str) -> None:
        """Delete it; one that is gone already is no error."""
        path = f"{kind}/{id_}"
        resource(path)
        try:
            await self.send("DELETE", path, harmless=True)
        except FhirError as error:
            if not error.absent:
                raise

    async def transaction(
        self, bundle: Mapping[str, Any], *, harmless: bool = False, fresh: bool = False
    ) -> Found:
        """A transaction or batch. `harmless`: each entry says the same when it is done twice; `fresh`: searches in
        it are not answered from a cache."""
        extra = {"Cache-Control": "no-cache"} if fresh else {}
        return await self._write("POST", "", bundle, extra, harmless=harmless)

    async def _write(
        self, method: str, path: str, data: Any, extra: Mapping[str, str], harmless: bool = False
    ) -> Found:
        headers = {"Content-Type": JSON, **extra}
        answer = await self.send(method, path, orjson.dumps(data), headers, harmless=harmless)
        return _found(answer, self.base, empty=True)

    # The wire ---------------------------------------------------------------------------------------------

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *,
        harmless: bool | None = None,
    ) -> Answer:  # fmt: skip
        """One request below the base: an answer with a good status. Raises FhirError."""
        url = self.base.url(path)
        await self.agree()
        again = method in ("GET", "HEAD") if harmless is None else harmless
        failures = 0
        while True:
            try:
                return await self._slots.run(self._once, method, url, body, headers or {})
            except FhirError as error:
                failures += 1
                if not again or not error.waits or failures >= self._tries or error.retry_after > LONGEST:
                    raise
                pause = FIRST_PAUSE * 2**failures * (0.5 + self._random())
                await deferLater(self._reactor, min(max(pause, error.retry_after), LONGEST))

    @property
    def agreed(self) -> bool:
        """The server has the version that the connection says, as far as it tells."""
        return self._agreed

    @property
    def disputed(self) -> bool:
        """It was not asked yet, or it has another."""
        return bool(self._told) or not self._asked

    async def agree(self) -> None:
        """Raise FhirError when the server says that it has another FHIR version than the connection."""
        if not self._agreed:
            await self._agreeing.run(lambda: Deferred.fromCoroutine(self._agree()))

    async def _agree(self) -> None:
        now = self._reactor.seconds()
        if not self._agreed and now >= self._again:
            self._again = now + AGREE
            try:
                answer = await self._slots.run(self._once, "GET", self.base.url("metadata"), b"", {})
                told = name(tree.load(answer.body, "FHIR JSON").get("fhirVersion"))
            except (FhirError, FormatError, AttributeError):
                told = self._told  # what it said stands; else the request itself will tell
            else:
                self._agreed = release.fits(told, self._version)
            self._asked, self._told = True, "" if self._agreed else told
        if self._told:
            raise FhirError(
                "fhir.version", Result.CONFIG,
                what=f"the FHIR server has FHIR {self._told}, and the connection says {self._version}",
            )  # fmt: skip

    async def _once(self, method: str, url: str, body: bytes, extra: Mapping[str, str]) -> Answer:
        reads = method in ("GET", "HEAD") or url.endswith("/_search")
        given = await self._login.header()
        for attempt in (1, 2):
            headers = {**self._headers, **extra, **({"Authorization": given} if given else {})}
            self.requests += 1
            try:
                answer: Answer = await self._web.request(method, url, headers, body)
            except Lost as lost:
                raise of_lost(lost, reads) from None
            if answer.status == 401 and self._login.renewable and attempt == 1:
                given = await self._login.header(refused=given)
                continue
            break
        if not 200 <= answer.status < 300:
            raise of_answer(answer, reads)
        return answer

    def _bundle(self, answer: Answer) -> dict[str, Any]:
        found = _found(answer, self.base)
        if found.data.get("resourceType") != "Bundle":
            raise FhirError("fhir.base", Result.CONFIG, status=answer.status, body=answer.body)
        return found.data


def _found(answer: Answer, base: Base, empty: bool = False) -> Found:
    location = answer.headers.get("location") or answer.headers.get("content-location") or ""
    try:
        location = base.below(location) if location else ""
    except FhirError:
        location = ""  # an address that we do not follow anyway
    etag = re.sub(r'^W/|"', "", answer.headers.get("etag", "").strip())
    if empty and not answer.body.strip():
        return Found({}, b"", answer.status, etag or location.partition("/_history/")[2], location)
    try:
        data = tree.load(answer.body, "FHIR JSON")
    except FormatError:
        data = None
    if not isinstance(data, dict) or not isinstance(data.get("resourceType"), str):
        raise FhirError("fhir.base", Result.CONFIG, status=answer.status, body=answer.body)
    meta = data.get("meta")
    version = meta.get("versionId") if isinstance(meta, dict) else ""
    return Found(
        data, answer.body, answer.status, etag or (version if isinstance(version, str) else ""), location
    )


def _pairs(params: Params) -> list[tuple[str, str]]:
    items = params.items() if isinstance(params, Mapping) else params
    return [
        (key, str(value))
        for key, found in items
        for value in (found if isinstance(found, (list, tuple)) else (found,))
    ]


def _condition(text: str) -> str:
    """A search as the value of a header or part of a URL: `identifier=urn:mrn|1`."""
    if not text.isascii() or re.search(r"[\x00-\x20\x7f#?]", text):
        raise foreign("a condition that is not coded as a URL")
    return text


def _link(bundle: Mapping[str, Any], relation: str) -> str:
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == relation and isinstance(link.get("url"), str):
            return str(link["url"])
    return ""


def _entries(bundle: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = bundle.get("entry")
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
