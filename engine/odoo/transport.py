"""One HTTP request to Odoo, or to the stand-in that lives in this process.

Guarantees: Content-Length is always sent (Odoo 19 silently ignores a chunked body), one connection for one
request (Odoo 16 and 19 close it anyway, and an idle socket blocks one of its workers for two seconds), TLS
certificates are verified, and every failure is an `OdooError` that says whether the request may have run.

Refuses: redirects, proxies, answers above 256 MiB, and to wait longer than the timeout.

| failure | result |
|---|---|
| name not found, refused, no route, connect timeout | RETRY: certainly not applied |
| connection lost before the answer, timeout while waiting | UNKNOWN: perhaps applied |
| certificate not trusted | CONFIG |
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from engine import webclient
from engine.odoo.errors import OdooError
from engine.states import Result
from engine.webclient import WebClient

Answer = tuple[int, Mapping[str, str], bytes]
LIMIT = 256 * 1024 * 1024


class Transport(Protocol):
    """Carries one request and gives (status, headers in lower case, body), or an OdooError."""

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Deferred[Answer]:
        """Send it once; never sends again by itself."""


class HttpTransport:
    """HTTP or HTTPS to a server. `timeout` is in seconds, for one whole request."""

    def __init__(self, url: str, reactor: Any, timeout: float = 100.0, context_factory: Any = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise OdooError(
                "the URL of the Odoo connection is not http:// or https://",
                result=Result.CONFIG,
                code="odoo.url",
                todo="write it as https://host or http://host:8069",
            )
        self._base = url.rstrip("/")
        self._web = WebClient(reactor, timeout, LIMIT, context_factory)

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Deferred[Answer]:
        """Send it once."""
        sent: Deferred[Any] = self._web.request(method, self._base + path, headers, body)
        return sent.addErrback(lambda failure: Failure(lost(failure)))


_LOST = {
    "tls": (
        "the TLS certificate of the Odoo server is not trusted",
        Result.CONFIG,
        "odoo.tls",
        "check the host name in the URL and the certificate authority",
    ),
    "unreachable": (
        "Odoo cannot be reached",
        Result.RETRY,
        "odoo.unreachable",
        "check that Odoo runs and that the URL is right",
    ),
    "timeout": (
        "Odoo gave no answer in time; what was asked may still be done",
        Result.UNKNOWN,
        "odoo.timeout",
        "it is sent again unchanged; more workers or smaller batches make it rarer",
    ),
}
_DISCONNECTED = (
    "the connection to Odoo was lost before it answered",
    Result.UNKNOWN,
    "odoo.disconnected",
    "it is sent again unchanged; the log of Odoo tells why a worker ended",
)


def lost(failure: Failure) -> OdooError:
    """The OdooError for a request that got no answer."""
    if isinstance(failure.value, OdooError):
        return failure.value
    found = webclient.lost(failure)
    what, result, code, todo = _LOST.get(found.how, _DISCONNECTED)
    told = what if found.how in ("tls", "timeout") else f"{what} ({found.kind})"
    return OdooError(told, result=result, code=code, todo=todo)


class SandboxTransport:
    """The embedded stand-in: the same bytes, no socket. Still answers on a later turn of the reactor."""

    def __init__(self, sandbox: Any, reactor: Any) -> None:
        self._sandbox = sandbox
        self._reactor = reactor

    @classmethod
    def open(cls, path: Path | str, reactor: Any) -> SandboxTransport:
        """Open the sandbox's database file."""
        from engine.odoo.sandbox import Sandbox

        return cls(Sandbox(path), reactor)

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Deferred[Answer]:
        """Hand it over on the next turn."""
        answer: Deferred[Answer] = Deferred()

        def run() -> None:
            if answer.called:
                return
            try:
                status, found, data = self._sandbox.handle(method, path, headers, body)
            except Exception:
                answer.errback(Failure())
            else:
                answer.callback((status, {name.lower(): value for name, value in found.items()}, data))

        self._reactor.callLater(0, run)
        return answer
