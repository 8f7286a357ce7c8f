"""What the listeners on HTTP share: ports, TLS, who may send, limits, and answers after C1.

Guarantees: who has no right or sends too fast is refused before the body is read; a body that is too large, too slow
or broken costs bounded memory; answers that are due go out before the port is closed. Refuses: peers outside `allow`,
more requests than `max_rate` (429: not taken, send it again), other methods and paths, clear text on a TLS port. The
log names peers and counts, never paths or headers.
"""

from __future__ import annotations

import hmac
from io import BytesIO
from typing import Any, ClassVar

import structlog
from pydantic import Field, SecretStr, field_validator
from twisted.internet import defer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http

from engine.clock import Micros
from engine.errors import ConfigError
from engine.formats.base import name, worst
from engine.hl7.format import Hl7v2
from engine.model import Incoming
from engine.security.tls import client_name
from engine.spec.component import BuildContext
from engine.spec.units import Duration
from listeners.base import Receiver
from listeners.ports import Port, PortSettings, address
from listeners.rate import Rate

RETRY_AFTER = b"5"  # seconds
_STATUS = {"AA": 200, "CA": 200, "AE": 422, "CE": 422, "AR": 400, "CR": 400}
_log = structlog.get_logger()


class HttpSettings(PortSettings):
    """The settings of every listener on HTTP."""

    path: str
    token: SecretStr | None = Field(
        default=None,
        description="Clients must send it: `Authorization: Bearer …`.",
        examples=["!secret feed"],
    )
    max_size: int = Field(default=16 << 20, ge=1024, description="Bytes in one message, at most.")
    max_connections: int = Field(default=500, ge=1, description="Connections at once, at most.")
    max_rate: float | None = Field(
        default=None,
        ge=0.01,
        description="Requests a second from one address, at most; more are answered 429 with Retry-After.",
        examples=[50],
    )
    idle_timeout: Duration = Field(default=60, gt=0, description="Silence before a connection is closed.")

    @field_validator("token")
    @classmethod
    def _not_short(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and 0 < len(value.get_secret_value()) < 16:
            raise ValueError("is shorter than 16 characters: anybody could guess it")
        return value

    def check_token(self) -> None:
        """Raises ConfigError for a token that would let everybody in."""
        if self.token is not None and not self.token.get_secret_value():
            raise ConfigError(
                "the token is empty", code="http.token", todo="give it a value, or leave it out"
            )


class Arrival(Incoming):
    """One posted message."""

    __slots__ = ("_request", "reference")

    def __init__(self, raw: bytes, request: Request, received_at: Micros) -> None:
        super().__init__(raw, request.peer, received_at)
        self._request = request
        self.reference = name((request.getHeader("Idempotency-Key") or "").strip('"'))

    def answer(self, data: Any) -> None:
        """Send the acknowledgement with the status that says the same."""
        self._request.answered(data)


class Request(http.Request):
    """One request: refused by its headers alone where that is possible."""

    refusal = 0
    wait = 0  # seconds until a sender that was too fast may come again
    received = 0
    gone = False
    echo = b""  # what a good answer holds, instead of the acknowledgement
    notification: Any = None  # what the listener made of it
    listener: HttpServer
    peer = ""

    def gotLength(self, length: int | None) -> None:
        """The headers are here."""
        self.listener = self.channel.factory.listener
        self.peer = self.listener.peer_of(self.channel)
        self.refusal = self.listener.refusal(self, length)
        self.content = BytesIO()  # not the temporary file that Twisted takes for larger bodies

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a piece of the body, unless the request is refused."""
        self.received += len(data)
        if self.received > self.listener.settings.max_size:
            self.refusal = self.refusal or 413
        if not self.refusal:
            super().handleContentChunk(data)
        elif self.received > 2 * self.listener.settings.max_size:
            self.listener.refuse(self.peer, self.refusal)
            self.channel.forceAbortClient()

    def process(self) -> None:
        """The request is here."""
        listener = self.listener
        path = self.path.partition(b"?")[0].decode("latin-1")
        if not self.refusal and not listener.serves(path):
            self.refusal = 404
        asks = not self.refusal and listener.asks_leave(self)
        if not self.refusal and not asks and self.method not in listener.methods:
            self.refusal = 405
            self.setHeader("Allow", b", ".join(listener.methods))
        if not self.refusal and not asks and listener.paused:
            self.refusal = 503
        self.notifyFinish().addErrback(self._lost)
        if asks:
            self._give_leave()
            return
        assert self.content is not None
        body = self.content.read()
        self.refusal = self.refusal or listener.distrusted(self, body)
        if self.refusal:
            listener.refuse(self.peer, self.refusal)
            self.reply(self.refusal, b"")
            return
        listener.messages += 1
        listener.waiting.add(self)
        listener.receiver.receive(listener.arrival(self, body))

    def _give_leave(self) -> None:
        """Answer a service that asks whether it may send here."""
        listener = self.listener
        self.setHeader("Allow", b", ".join((*listener.methods, b"OPTIONS")))
        self.setHeader("WebHook-Allowed-Origin", self.getHeader("WebHook-Request-Origin") or "")
        self.setHeader("WebHook-Allowed-Rate", listener.allowed_rate)
        self.reply(200, b"")

    def _lost(self, _: Failure) -> None:
        self.gone = True
        self.listener.done(self)

    def answered(self, data: Any) -> None:
        """The channel's answer."""
        listener = self.listener
        verdict = worst(listener.format, data)
        body = b"" if data is None else data if isinstance(data, bytes) else b"".join(data)
        if (
            verdict is None
        ):  # nothing is known when the channel stops; else an acknowledgement that nobody wants
            self.reply(503 if listener.closing else 202, b"")
            return
        status = _STATUS[verdict.code]
        if status == 400:
            status = {"207": 503, "205": 409}.get(verdict.condition, 400)
        if status == 200:
            status, body = listener.good(self, body)
        self.reply(status, body)

    def reply(self, status: int, body: bytes) -> None:
        """Answer, when somebody is still there."""
        listener = self.listener
        if self.gone:
            listener.dropped += 1
            return
        self.setResponseCode(status)
        self.setHeader("Server", "isthmus")
        self.setHeader("Content-Type", listener.format.content_type if body else "text/plain")
        self.setHeader("Content-Length", str(len(body)))
        if status == 503:
            self.setHeader("Retry-After", RETRY_AFTER)
        if status == 429:
            self.setHeader("Retry-After", str(self.wait))
        if status == 401:
            self.setHeader("WWW-Authenticate", "Bearer")
        if self.refusal or listener.closing:
            self.setHeader("Connection", "close")
        self.write(body)
        self.finish()
        listener.done(self)


class _Factory(http.HTTPFactory):
    noisy = False

    def __init__(self, listener: HttpServer) -> None:
        super().__init__(timeout=listener.settings.idle_timeout, reactor=listener.reactor)
        self.listener = listener
        self.protocol = _Channel  # type: ignore[assignment]

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, unless there are too many."""
        if len(self.listener.connections) >= self.listener.settings.max_connections:
            self.listener.refuse(address(addr), 503)
            return None
        return super().buildProtocol(addr)

    def log(self, request: http.Request) -> None:
        """No access log: paths and headers may name people."""


class _Channel(http.HTTPChannel):
    """One connection, that its listener knows of."""

    requestFactory = Request

    def connectionMade(self) -> None:
        self.factory.listener.connections.add(self)
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.listener.connections.discard(self)
        super().connectionLost(reason)


class HttpServer:
    """See listeners.base.Listener. What differs between listeners: `serves`, `distrusted`, `arrival`, `good`."""

    methods: ClassVar[tuple[bytes, ...]] = (b"POST",)

    def __init__(self, settings: HttpSettings, context: BuildContext) -> None:
        self.settings = settings
        self.channel = context.channel
        self.reactor = context.reactor
        self.format = context.format or Hl7v2()
        self.port = Port(settings, context, "http.port")
        self.receiver: Receiver
        self.paused = self.closing = False
        self.connections: set[_Channel] = set()
        self.waiting: set[Request] = set()
        self.messages = self.refused = self.dropped = 0
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        self._rate = Rate(settings.max_rate)
        self._empty: list[defer.Deferred[None]] = []

    def start(self, receiver: Receiver) -> defer.Deferred[Any]:
        """Open the port; fires with its address. Fails with a ConfigError when it cannot be opened."""
        self.receiver = receiver
        self.closing = False
        return self.port.open(_Factory(self))

    def serves(self, path: str) -> bool:
        """Whether messages may be sent to this path."""
        return path == self.settings.path

    def distrusted(self, request: Request, body: bytes) -> int:
        """The status that a request is refused with because of its body, or 0."""
        return 0

    def arrival(self, request: Request, body: bytes) -> Arrival:
        """The message of a request."""
        return Arrival(body, request, self.receiver.now())

    def good(self, request: Request, body: bytes) -> tuple[int, bytes]:
        """Status and body of a good answer; `body` is the acknowledgement."""
        return 200, body

    def asks_leave(self, request: Request) -> bool:
        """Whether a service asks if it may send here (CloudEvents 1.0, HTTP webhook §4): it brings no message, and none
        of the secrets that its messages will have to bring."""
        method = (
            getattr(request.channel, "_command", None) or request.method
        )  # the first until the body is read
        return method == b"OPTIONS" and bool(request.requestHeaders.getRawHeaders(b"webhook-request-origin"))

    @property
    def allowed_rate(self) -> str:
        """Requests a minute that a service may send; `*`: as many as it likes."""
        return str(max(1, int(self.settings.max_rate * 60))) if self.settings.max_rate else "*"

    def refusal(self, request: Request, length: int | None) -> int:
        """The status that a request is refused with by its headers alone, or 0."""
        host = request.channel.getPeer().host
        if not self.port.welcome(host):
            return 403
        request.wait = self._rate.wait(host, self.reactor.seconds())
        if request.wait:
            return 429
        if self._token is not None and not self.asks_leave(request):
            given = (request.requestHeaders.getRawHeaders(b"authorization") or [b""])[0]
            scheme, _, token = given.partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
                return 401
        return 413 if length is not None and length > self.settings.max_size else 0

    def peer_of(self, channel: Any) -> str:
        """`10.0.0.5:4711`, with mutual TLS also the name of the client's certificate."""
        return f"{address(channel.getPeer())}{client_name(channel.transport)}"

    def refuse(self, peer: str, status: int) -> None:
        """Count and log a request that is not taken."""
        self.refused += 1
        _log.warning("http.refused", channel=self.channel, peer=peer, status=status, refused=self.refused)

    def done(self, request: Request) -> None:
        """A request is answered, or its client is gone."""
        self.waiting.discard(request)
        if not self.waiting:
            empty, self._empty = self._empty, []
            for deferred in empty:
                deferred.callback(None)

    def pause(self) -> None:
        """Messages are answered with 503 until `resume`."""
        self.paused = True

    def resume(self) -> None:
        """Take messages again."""
        self.paused = False

    def stop(self) -> defer.Deferred[None]:
        """Close the port; answers that are due still go out."""
        self.closing = True
        return (
            self.port.close().addCallback(lambda _: self._when_answered()).addCallback(lambda _: self._drop())
        )

    def close(self) -> defer.Deferred[None]:
        """Drop the connections that are left."""
        self._drop()
        return defer.succeed(None)

    def _when_answered(self) -> defer.Deferred[None]:
        deferred: defer.Deferred[None] = defer.Deferred()
        if self.waiting:
            self._empty.append(deferred)
        else:
            deferred.callback(None)
        return deferred

    def _drop(self) -> None:
        for connection in list(self.connections):
            connection.loseConnection()

    def status(self) -> dict[str, Any]:
        """Counts since the start, and limits."""
        return {
            **self.port.status(),
            "paused": self.paused,
            "connections": len(self.connections),
            "max_connections": self.settings.max_connections,
            "in_flight": len(self.waiting),
            "messages": self.messages,
            "refused": self.refused,
            "dropped_answers": self.dropped,
        }
