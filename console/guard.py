"""The gate before every page and endpoint: who asks, from where, and whether the request may be read at all.

Guarantees: nobody's body is read before they are known (public paths: sign-in, set-up, static files, health);
bodies are bounded; a request that changes something must come from our own pages (Origin or Sec-Fetch-Site, and the
session's CSRF token) or carry an API token; strict security headers on every answer, errors included.
Refuses: 401 without a session or token (pages: to sign-in), 403 from another site, 413 a large body.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response

from console.problems import problem
from console.stores import Stores
from engine.errors import IsthmusError
from engine.store import users

COOKIE = "isthmus_session"
LARGEST_BODY = 4 << 20  # bytes
PUBLIC = ("/login", "/setup", "/static/", "/health", "/ready", "/favicon.ico", "/oidc/")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware; puts `identity`, `session` and `address` into the request's state."""

    def __init__(self, app: Any, stores: Stores) -> None:
        self.app = app
        self.stores = stores

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        secure = scope.get("scheme") == "https"

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    found.setdefault(name, value)
                if secure:
                    found.setdefault("Strict-Transport-Security", "max-age=31536000")
                if not scope["path"].startswith("/static/"):
                    found.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = await self._admit(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, sending)
            return
        await self.app(scope, _bounded(receive), sending)

    async def _admit(self, scope: Any, headers: Headers) -> Response | None:
        path, method = scope["path"], scope["method"]
        state = scope.setdefault("state", {})
        state.update(identity=None, session=None, cookie="", address=(scope.get("client") or ("", 0))[0])
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return problem(413, "too-large", f"a request has at most {LARGEST_BODY} bytes")
        try:
            await run_in_threadpool(self._identify, headers, state)
        except IsthmusError as error:
            if path.startswith("/static/") or path in ("/health", "/ready"):
                return None
            return problem(503, error.code, str(error), headers={"Retry-After": "5"})
        by_token = state["session"] is None and state["identity"] is not None
        if method not in SAFE and not by_token and not _same_site(headers, scope):
            return problem(403, "other-site", "this request came from another site")
        if state["identity"] is None and not path.startswith(PUBLIC):
            return _unknown(path, scope.get("query_string", b"").decode("latin-1"), headers)
        return None

    def _identify(self, headers: Headers, state: dict[str, Any]) -> None:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and secret:
            with self.stores.reading() as tx:
                by_token = users.by_token(tx, secret.strip())
            if by_token is not None:
                state["identity"], write = by_token
                if write:
                    number = state["identity"].token
                    self.stores.write(lambda tx: users.token_used(tx, number))
            return
        cookie = cookie_of(headers)
        if not cookie:
            return
        with self.stores.reading() as tx:
            by_cookie = users.session(tx, cookie)
            identity = users.rights(tx, by_cookie[0].user.identity) if by_cookie is not None else None
        if by_cookie is not None:
            state["session"], write = by_cookie
            state["identity"], state["cookie"] = identity, cookie
            if write:
                self.stores.write(lambda tx: users.seen(tx, cookie))


def cookie_of(headers: Headers) -> str:
    """The session cookie of a request."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""


def _same_site(headers: Headers, scope: Any) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin") or headers.get("referer")
    return bool(origin) and urlsplit(origin).netloc == headers.get("host", "")


def _unknown(path: str, query: str, headers: Headers) -> Response:
    if path.startswith("/api/"):
        return problem(
            401, "unauthenticated", "sign in, or send an API token", headers={"WWW-Authenticate": "Bearer"}
        )
    wanted = quote(path + (f"?{query}" if query else ""), safe="/")
    if headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": f"/login?next={wanted}"})
    return RedirectResponse(f"/login?next={wanted}", 303)


def _bounded(receive: Any) -> Any:
    left = LARGEST_BODY

    async def receiving() -> Any:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                return {"type": "http.disconnect"}
        return message

    return receiving
