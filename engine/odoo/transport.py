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

from OpenSSL import SSL
from twisted.internet import defer, error
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import VerificationError
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from engine.odoo.errors import OdooError
from engine.states import Result

Answer = tuple[int, Mapping[str, str], bytes]
LIMIT = 256 * 1024 * 1024
CONNECT_TIMEOUT = 10.0


class Transport(Protocol):
    """Carries one request and gives (status, headers in lower case, body), or an OdooError."""

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Deferred[Answer]:
        """Send it once; never sends again by itself."""


@implementer(IBodyProducer)
class _Body:
    """Bytes of known length: Twisted then sends Content-Length instead of chunks."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self.data)
        return defer.succeed(None)

    def pauseProducing(self) -> None:
        """All is written at once."""

    def resumeProducing(self) -> None:
        """All is written at once."""

    def stopProducing(self) -> None:
        """All is written at once."""


class _Collector(WireProtocol):
    """Gathers a response body up to LIMIT; a body that ends early is an error, not a short body."""

    def __init__(self, done: Deferred[bytes]) -> None:
        self.done = done
        self.parts: list[bytes] = []
        self.size = 0

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= LIMIT:
            self.parts.append(data)
        else:
            self.parts = []
            self.drop()

    def drop(self) -> None:
        """Close the connection: nobody wants the rest."""
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if reason.check(ResponseDone) and self.size <= LIMIT:
            self.done.callback(b"".join(self.parts))
        else:
            self.done.errback(reason if self.size <= LIMIT else Failure(ValueError("answer too large")))


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
        self._reactor = reactor
        self._timeout = timeout
        extra = {"contextFactory": context_factory} if context_factory is not None else {}
        self._agent = Agent(
            reactor,
            connectTimeout=min(CONNECT_TIMEOUT, timeout),
            pool=HTTPConnectionPool(reactor, persistent=False),
            **extra,
        )

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Deferred[Answer]:
        """Send it once."""
        raw = Headers({name: [value] for name, value in headers.items()})
        producer: Any = _Body(body) if body else None
        sent: Deferred[Any] = self._agent.request(
            method.encode("ascii"), (self._base + path).encode("ascii"), raw, producer
        )
        sent.addCallback(self._collect)
        sent.addTimeout(self._timeout, self._reactor)
        return sent.addErrback(lambda failure: Failure(lost(failure)))

    @staticmethod
    def _collect(response: Any) -> Deferred[Answer]:
        names = {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        body: Deferred[bytes] = Deferred(lambda _: collector.drop())  # cancelled: the time is over
        collector = _Collector(body)
        response.deliverBody(collector)
        return body.addCallback(lambda data: (response.code, names, data))


def lost(failure: Failure) -> OdooError:
    """The OdooError for a request that got no answer."""
    found = failure.value
    if isinstance(found, OdooError):
        return found
    reasons: list[Any] = [found]
    if isinstance(found, ResponseFailed):  # ResponseNeverReceived is one
        reasons += [reason.value for reason in found.reasons]
    if any(isinstance(reason, (SSL.Error, VerificationError)) for reason in reasons):
        return OdooError(
            "the TLS certificate of the Odoo server is not trusted",
            result=Result.CONFIG,
            code="odoo.tls",
            todo="check the host name in the URL and the certificate authority",
        )
    if isinstance(found, (error.ConnectError, error.DNSLookupError)):
        return OdooError(
            f"Odoo cannot be reached ({type(found).__name__})",
            result=Result.RETRY,
            code="odoo.unreachable",
            todo="check that Odoo runs and that the URL is right",
        )
    if any(isinstance(reason, (defer.TimeoutError, defer.CancelledError)) for reason in reasons):
        return OdooError(
            "Odoo gave no answer in time; what was asked may still be done",
            result=Result.UNKNOWN,
            code="odoo.timeout",
            todo="it is sent again unchanged; more workers or smaller batches make it rarer",
        )
    return OdooError(
        f"the connection to Odoo was lost before it answered ({type(found).__name__})",
        result=Result.UNKNOWN,
        code="odoo.disconnected",
        todo="it is sent again unchanged; the log of Odoo tells why a worker ended",
    )


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
