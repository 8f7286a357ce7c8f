"""The gate before every page and endpoint: who asks, from where, and whether the request may be read at all.

Guarantees: nobody's body is read before they are known (public paths: sign-in, set-up, static files, health);
bodies are bounded, of who is not known to what a sign-in needs; a request that changes something must come from our
own pages (Origin or Sec-Fetch-Site, and the session's CSRF token) or carry an API token; strict security headers on
every answer, errors included.
Refuses: 400 a request whose end could be read in two ways (RFC 9112, 6.3), 401 without a session or token (pages: to
sign-in), 403 from another site, 413 a large body.
"""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from console.problems import problem
from console.stores import Stores
from engine.errors import IsthmusError
from engine.security.roles import Identity
from engine.store import tokens, users
from engine.store.tx import Tx

COOKIE = "isthmus_session"
LARGEST_BODY = 4 << 20  # bytes
LARGEST_UNKNOWN = 64 << 10  # bytes, of who is not known (yet)
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
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware; puts `identity`, `session` and `address` into the request's state."""

    def __init__(self, app: Any, stores: Stores, failed: Callable[[Request, Exception], Response]) -> None:
        self.app = app
        self.stores = stores
        self.failed = failed

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        secure, begun = scope.get("scheme") == "https", False

        async def sending(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
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
        most = LARGEST_BODY if scope["state"]["identity"] is not None else LARGEST_UNKNOWN
        try:
            await self.app(scope, _bounded(receive, most), sending)
        except Exception as error:  # also what happened between here and the application has our headers
            answer = (
                too_large(most) if isinstance(error, HTTPException) else self.failed(Request(scope), error)
            )
            if not begun:  # else the connection ends without an end of the body
                await answer(scope, receive, sending)

    async def _admit(self, scope: Any, headers: Headers) -> Response | None:
        path, method = scope["path"], scope["method"]
        state = scope.setdefault("state", {})
        state.update(identity=None, session=None, cookie="", address=(scope.get("client") or ("", 0))[0])
        try:
            await run_in_threadpool(self._identify, headers, state)
        except IsthmusError as error:
            if path.startswith("/static/") or path in ("/health", "/ready"):
                return None
            return problem(503, error.code, str(error), headers={"Retry-After": "5"})
        if (
            "content-length" in headers and "transfer-encoding" in headers
        ):  # a proxy may have read it otherwise
            close = {"Connection": "close"}
            return problem(400, "framing", "a request has one length, or comes in chunks", headers=close)
        length = headers.get("content-length", "0")
        most = (
            LARGEST_BODY if state["identity"] is not None or not path.startswith(PUBLIC) else LARGEST_UNKNOWN
        )
        if not length.isdecimal() or int(length) > most:
            return too_large(most)
        if state["identity"] is None and not path.startswith(PUBLIC):
            return _unknown(_wanted(scope, headers), path, headers)
        by_token = state["session"] is None and state["identity"] is not None
        if method not in SAFE and not by_token and not _same_site(headers, scope):
            return problem(403, "other-site", "this request came from another site")
        return None

    def _identify(self, headers: Headers, state: dict[str, Any]) -> None:
        with self.stores.reading() as tx:
            found = known(tx, headers)
        if found is None:
            return
        identity, session, write = found
        cookie = cookie_of(headers) if session is not None else ""
        state |= {"identity": identity, "session": session, "cookie": cookie}
        if write and session is not None:
            self.stores.write(lambda tx: users.seen(tx, cookie))
        elif write:
            self.stores.write(lambda tx: tokens.used(tx, identity.token))


def known(tx: Tx, headers: Headers) -> tuple[Identity, users.Session | None, bool] | None:
    """Who asks, with the session if it is not a token, and whether its use should be written; None: nobody known."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        by_token = tokens.identity_of(tx, secret.strip())
        return None if by_token is None else (by_token[0], None, by_token[1])
    cookie = cookie_of(headers)
    by_cookie = users.session(tx, cookie) if cookie else None
    if by_cookie is None:
        return None
    return users.rights(tx, by_cookie[0].user.identity), *by_cookie


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


def _wanted(scope: Any, headers: Headers) -> str:
    """Where to go on after the sign-in: the page that was asked for, or the one that something was sent from."""
    if scope["method"] in SAFE and not headers.get("hx-request"):
        query = scope.get("query_string", b"").decode("latin-1")
        return f"{scope['path']}?{query}" if query else str(scope["path"])
    return came_from(headers) or "/"


def came_from(headers: Headers) -> str:
    """The page of ours that something was asked from; empty when that is not told."""
    page = urlsplit(headers.get("referer", ""))
    return page._replace(scheme="", netloc="").geturl() if page.netloc == headers.get("host") else ""


def _unknown(target: str, path: str, headers: Headers) -> Response:
    if path.startswith("/api/"):
        return problem(
            401, "unauthenticated", "sign in, or send an API token", headers={"WWW-Authenticate": "Bearer"}
        )
    wanted = quote(target, safe="/")
    if headers.get("hx-request"):
        return Response(status_code=401, headers={"HX-Redirect": f"/login?next={wanted}"})
    return RedirectResponse(f"/login?next={wanted}", 303)


def too_large(most: int) -> Response:
    """The answer to a body of more bytes than may be."""
    return problem(413, "too-large", f"a request has at most {most} bytes")


def _bounded(receive: Any, most: int) -> Any:
    left = most

    async def receiving() -> Any:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"a request has at most {most} bytes")
        return message

    return receiving
