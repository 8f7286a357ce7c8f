"""Idempotency keys: a POST to the API with `Idempotency-Key: …` is done once, however often it is sent.

Guarantees: the same request with the same key gets the first one's answer (`Idempotency-Replayed: true`) for a day,
also after the console was started again; an answer that says "not now" (5xx, 401, 403, 429) is not kept. Answers of
more than a megabyte are not kept either, and what only reads is done anew: no kept answer shows patient data.
Refuses: 422 a key that named another request, 409 while the first one is being worked on.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response

from console.problems import problem
from console.stores import Stores
from engine.errors import UserError
from engine.security.roles import Identity
from engine.store import answered

LONGEST_KEY = 200
LARGEST = 1 << 20  # bytes of an answer that is kept
PASSING = frozenset({401, 403, 429})
READING = (
    "/search", "/reveal", "/record", "/trace", "/compare", "/preview", "/export", "/patients", "/patient", "/again",

    "/weigh", "/lint", "/try", "/plan", "/diff",
)  # fmt: skip
"""Ends of paths whose POST changes nothing: it is answered anew each time, so that rights and the audit log hold."""
NOT_KEPT = ("set-cookie", "content-length")


class Kept(msgspec.Struct):
    """An answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Repeated:
    """ASGI middleware behind the gate."""

    def __init__(self, app: Any, stores: Stores) -> None:
        self.app = app
        self.stores = stores

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer again, or do it and keep the answer."""
        key = self._key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        if not key or len(key) > LONGEST_KEY:
            refusal = problem(422, "idempotency.key", f"an Idempotency-Key has 1 to {LONGEST_KEY} characters")
            await refusal(scope, receive, send)
            return
        body = await _body(receive)
        if body is None:
            return
        who = _who(scope["state"]["identity"])
        asked = b"\0".join([scope["path"].encode(), scope.get("query_string", b""), body])
        try:
            content = await run_in_threadpool(
                self.stores.write, partial(answered.begin, who=who, key=key, request=asked)
            )
        except UserError as error:
            status = 409 if error.code == "idempotency.busy" else 422
            await problem(status, error.code, error.what, todo=error.todo)(scope, receive, send)
            return
        if content is not None:
            kept = msgspec.msgpack.decode(content, type=Kept)
            headers = {**dict(kept.headers), "Idempotency-Replayed": "true"}
            await Response(kept.body, kept.status, headers)(scope, receive, send)
            return
        await self._first(scope, _again(body, receive), send, who, key)

    async def _first(self, scope: Any, receive: Any, send: Any, who: str, key: str) -> None:
        kept = Kept(500, [], b"")

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                kept.status = message["status"]
                pairs = (
                    (name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]
                )
                kept.headers = [(name, value) for name, value in pairs if name.lower() not in NOT_KEPT]
            elif len(kept.body) <= LARGEST:
                kept.body += message.get("body", b"")
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            worth = kept.status < 500 and kept.status not in PASSING and len(kept.body) <= LARGEST
            answer = msgspec.msgpack.encode(kept) if worth else None
            await run_in_threadpool(self.stores.write, partial(answered.end, who=who, key=key, answer=answer))

    def _key(self, scope: Any) -> str | None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith("/api/"):
            return None
        if scope["path"].endswith(READING):
            return None
        return Headers(scope=scope).get("idempotency-key")


def _who(identity: Identity) -> str:
    return f"{identity.name}\0{identity.token}"


async def _body(receive: Any) -> bytes | None:
    """The whole body; None: whoever sent it went away before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Any) -> Any:
    read = False

    async def receiving() -> Any:
        nonlocal read
        if read:
            return await receive()
        read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
