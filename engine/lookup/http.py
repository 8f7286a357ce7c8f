"""`connections: {terms: {http: {url: "https://terms.example"}}}`: a service that `lookup` steps ask.

Guarantees: only the declared host is asked, certificates are verified, redirects are not followed; an answer is
bounded in size and time; 404 and 204 mean that there is nothing. Refuses: answers that are not JSON, above 1 MiB.
What is looked up stands in the URL: the other side may log it, so send no names.

| answer                        | then                          |
|-------------------------------|-------------------------------|
| 200 with JSON                 | the record at `pointer`       |
| 404, 204                      | nothing is there              |
| 401, 403                      | held: messages wait, told as error, asked every minute |
| 408, 429, 5xx, none           | asked again: messages wait    |
| any other                     | those messages become ERROR   |
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from twisted.internet.defer import DeferredSemaphore, gatherResults

from engine.errors import IsthmusError
from engine.formats.json import compile as pointer
from engine.formats.tree import MISSING, find
from engine.spec.lookups import Fetch, Key, LookupDown
from engine.spec.units import Duration
from engine.webclient import Lost, WebClient

LIMIT = 1 << 20
WAIT = frozenset({401, 403, 408, 429})


class HttpConnection(BaseModel):
    """A web service that answers GET with JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    lookups: ClassVar[str] = "http"

    url: str = Field(
        description="Its address; `resource` of a lookup follows.", examples=["https://terms.example"]
    )
    token: SecretStr | None = Field(default=None, description="Sent as `Authorization: Bearer …`.")
    timeout: Duration = Field(default=10, gt=0, description="Time to wait for an answer.")
    connections: int = Field(default=4, ge=1, le=64, description="Requests at the same time, at most.")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or "?" in url or "@" in url:
            raise ValueError("must be http://host or https://host, without user and parameters")
        return url.rstrip("/")

    def fetcher(self, query: Any, reactor: Any, data_dir: Path | None) -> Fetch:
        """What asks for each key of a batch."""
        names, steps = list(query.match), pointer(query.pointer) if query.pointer else ()
        web: Any = None
        slots = DeferredSemaphore(self.connections)
        headers = {"Accept": "application/json", "User-Agent": "isthmus"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token.get_secret_value()}"

        async def one(key: Key) -> Any:
            asked = urlencode(dict(zip(names, map(str, key), strict=True)))
            url = f"{self.url}{query.resource}?{asked}"
            try:
                found = await web.request("GET", url, headers)
            except Lost as error:
                raise LookupDown(f"the service gave no answer ({error.kind})") from None
            return _judge(found.status, found.body, steps)

        async def fetch(keys: list[Key]) -> dict[Key, Any]:
            nonlocal web
            if web is None:
                web = WebClient(reactor, self.timeout, LIMIT)
            asked = [slots.run(one, key) for key in keys]
            try:
                found = await gatherResults(asked, consumeErrors=True)
            except Exception as error:  # FirstError
                inner = getattr(error, "subFailure", None)
                raise inner.value if inner is not None else error from None
            return {key: value for key, value in zip(keys, found, strict=True) if value is not None}

        return fetch


def _judge(status: int, body: bytes, steps: tuple[Any, ...]) -> Any:
    if status in (404, 204):
        return None
    if status in WAIT or status >= 500:
        down = LookupDown(f"the service answers {status}")
        down.held = status in (401, 403)
        raise down
    if status != 200:
        raise IsthmusError(
            f"the service answers {status}", code="lookup.answer", todo="check `resource` and `match`"
        )
    try:
        found = find(orjson.loads(body), steps)
    except orjson.JSONDecodeError:
        raise IsthmusError("the answer is not JSON", code="lookup.answer", todo="check `resource`") from None
    return found[0] if found and found[0] is not MISSING else None
