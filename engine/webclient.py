"""One HTTP request to a server: what the clients of Odoo, FHIR servers and web services stand on.

Guarantees: Content-Length is always sent, one connection for one request, TLS certificates are verified, the
answer is bounded in size and time, and a body that ends early is a failure, never a short body; a failure says
which of five it was. Refuses: redirects, proxies, answers above the limit, and to send anything twice.

| `Lost.how`     | what happened                                     | was the request done |
|----------------|---------------------------------------------------|----------------------|
| `unreachable`  | name not found, refused, no route, no connection  | no                   |
| `tls`          | the certificate is not trusted                    | no                   |
| `timeout`      | no answer in time                                 | perhaps              |
| `large`        | the answer is above the limit                     | yes                  |
| `disconnected` | the connection ended before the answer did        | perhaps              |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from OpenSSL import SSL
from twisted.internet import defer, error
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import VerificationError
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

CONNECT_TIMEOUT = 10.0  # seconds
How = Literal["unreachable", "tls", "timeout", "large", "disconnected"]


class Answer(NamedTuple):
    """What a server answered; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Lost(Exception):
    """A request that got no whole answer; `kind` names the exception behind it."""

    def __init__(self, how: How, kind: str) -> None:
        super().__init__(f"{how} ({kind})")
        self.how: How = how
        self.kind = kind


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


class _Collector(Protocol):
    """Gathers a body up to a limit."""

    def __init__(self, done: Deferred[bytes], limit: int) -> None:
        self.done = done
        self.limit = limit
        self.parts: list[bytes] = []
        self.size = 0

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= self.limit:
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
        if self.size > self.limit:
            self.done.errback(Failure(Lost("large", f"more than {self.limit} bytes")))
        elif reason.check(ResponseDone):
            self.done.callback(b"".join(self.parts))
        else:
            self.done.errback(reason)


@implementer(IPolicyForHTTPS)
class Policy:
    """TLS as the settings say; `factory` is made for one host."""

    def __init__(self, factory: Any) -> None:
        self.factory = factory

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """The same for every connection."""
        return self.factory


@implementer(IAgentEndpointFactory)
class _Addresses:
    """Connects to IPv4 addresses without what Twisted does for names, which costs as much as the rest of a request."""

    def __init__(self, reactor: Any, timeout: float) -> None:
        self._reactor = reactor
        self._timeout = timeout

    def endpointForURI(self, uri: Any) -> TCP4ClientEndpoint:
        """The one address that there is."""
        return TCP4ClientEndpoint(self._reactor, uri.host.decode("ascii"), uri.port, self._timeout)


class WebClient:
    """Sends requests. `timeout` is in seconds, for one whole request; `limit` in bytes, for one answer."""

    def __init__(self, reactor: Any, timeout: float, limit: int, policy: Any = None) -> None:
        self._reactor = reactor
        self._timeout = timeout
        self._limit = limit
        extra = {"contextFactory": policy} if policy is not None else {}
        connect = min(CONNECT_TIMEOUT, timeout)
        pool = HTTPConnectionPool(reactor, persistent=False)
        self._agent = Agent(reactor, connectTimeout=connect, pool=pool, **extra)
        self._direct = Agent.usingEndpointFactory(reactor, _Addresses(reactor, connect), pool)

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Deferred[Answer]:
        """Send it once. Fails with Lost."""
        raw = Headers({name: [value] for name, value in headers.items()})
        producer: Any = _Body(body) if body or method in ("POST", "PUT", "PATCH") else None
        agent = self._direct if _plain_address(url) else self._agent
        sent: Deferred[Any] = agent.request(method.encode("ascii"), url.encode("ascii"), raw, producer)
        sent.addCallback(self._collect)
        sent.addTimeout(self._timeout, self._reactor)
        return sent.addErrback(lambda failure: Failure(lost(failure)))

    def _collect(self, response: Any) -> Deferred[Answer]:
        names = {
            name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        body: Deferred[bytes] = Deferred(lambda _: collector.drop())  # cancelled: the time is over
        collector = _Collector(body, self._limit)
        response.deliverBody(collector)
        return body.addCallback(lambda data: Answer(response.code, names, data))


def _plain_address(url: str) -> bool:
    """Whether a URL names an IPv4 address, without TLS."""
    scheme, _, rest = url.partition("://")
    return scheme == "http" and isIPAddress(rest.partition("/")[0].partition(":")[0])


def lost(failure: Failure) -> Lost:
    """Which of the five it was."""
    found = failure.value
    if isinstance(found, Lost):
        return found
    kind = type(found).__name__
    reasons: list[Any] = [found]
    if isinstance(found, ResponseFailed):  # ResponseNeverReceived is one
        reasons += [reason.value for reason in found.reasons]
    if any(isinstance(reason, (SSL.Error, VerificationError)) for reason in reasons):
        return Lost("tls", kind)
    if isinstance(found, (error.ConnectError, error.DNSLookupError)):
        return Lost("unreachable", kind)
    if any(isinstance(reason, (defer.TimeoutError, defer.CancelledError)) for reason in reasons):
        return Lost("timeout", kind)
    return Lost("disconnected", kind)
