"""Forward messages to another MLLP server; `MllpClient` is the client alone.

Guarantees: one connection, kept open and opened again when needed; a delivery is SENT only on a positive
acknowledgement that carries its own control id; what may have arrived is never called a failure. Refuses:
payloads that cannot be framed, an answer with another control id (it is passed over, so a late or second
answer is never taken for the next message's).

| what happens                                            | outcome                                      |
|---------------------------------------------------------|----------------------------------------------|
| AA, CA                                                  | SENT                                         |
| AE, CE, AR, CR                                          | PERMANENT, or RETRY when in `retry_on`       |
| AR, CR with ERR 206 (locked) or 207 (internal error)    | RETRY                                        |
| no connection, TLS refused                              | RETRY: nothing was sent                      |
| no answer in `timeout`, connection lost, bad answer     | UNKNOWN: sent again, unchanged               |
| payload holds 0x0B or 0x1C 0x0D, or is empty            | PERMANENT                                    |
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

from OpenSSL import SSL
from pydantic import Field
from twisted.internet import defer, error
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from engine.errors import DeliveryError, HL7Error
from engine.hl7 import ack
from engine.hl7.er7 import Message
from engine.hl7.mllp import GRACE, MAX_SIZE, Frame, Framer, frame, frameable
from engine.hl7.peek import peek
from engine.model import Delivery, Outcome, Scope
from engine.security.tls import ClientTls, Tls, client
from engine.spec.component import BuildContext, Settings, component
from engine.spec.units import Duration
from engine.states import Result

TRANSIENT: Final = frozenset({"206", "207"})  # HL7 table 0357: record locked, internal error


@component("destination", "mllp", example="mllp: {host: lab.example, port: 2576}")
class Mllp(Settings):
    """Sends HL7 v2 messages to an MLLP server and waits for its acknowledgement."""

    answers: ClassVar[str] = "hl7v2"

    host: str = Field(min_length=1, description="Host name or address.", examples=["lab.example"])
    port: int = Field(ge=1, le=65535, description="TCP port.", examples=[2576])
    tls: ClientTls | None = Field(default=None, description="TLS; `{}` for the CAs of the system.")
    timeout: Duration = Field(default=30, gt=0, description="Time to wait for an acknowledgement.")
    connect_timeout: Duration = Field(default=10, gt=0, description="Time to wait for a connection.")
    in_flight: int = Field(
        default=1, ge=1, le=1000, description="Messages sent before the first is acknowledged; 1 keeps order."
    )
    retry_on: list[Literal["AE", "AR", "CE", "CR"]] = Field(
        default=[],
        description="Negative acknowledgements after which the message is sent again.",
        examples=[["AE"]],
    )

    def build(self, context: BuildContext) -> MllpDestination:
        """A destination on `context.reactor`; certificates are read and checked here."""
        return MllpDestination(self, context)


def endpoint(reactor: Any, host: str, port: int, tls: Tls | None = None, timeout: float = 10) -> Any:
    """Where to connect to: a Twisted client endpoint; `timeout` in seconds."""
    plain: Any = HostnameEndpoint(reactor, host, port, timeout=timeout)
    return wrapClientTLS(tls.factory, plain) if tls is not None else plain


class _Request:
    """One message and who waits for its answer."""

    __slots__ = ("answer", "raw", "timer")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.answer: defer.Deferred[bytes] = defer.Deferred()
        self.timer: Any = None


@implementer(IHandshakeListener)
class _Wire(Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, owner: MllpClient) -> None:
        self.ready = not owner.secure  # may be written to
        self._owner = owner
        self._framer = Framer(owner.max_size)
        self.deadline: Any = None  # the one timer: TLS handshake, or grace after an unfinished answer

    def connectionMade(self) -> None:
        """Notice a dead peer, send small messages at once."""
        if hasattr(self.transport, "setTcpKeepAlive"):
            self.transport.setTcpKeepAlive(1)
            self.transport.setTcpNoDelay(True)

    def handshakeCompleted(self) -> None:
        """TLS is up, the server is who it must be."""
        self.ready = True
        self._quiet()
        self._owner.usable(self)

    def dataReceived(self, data: bytes) -> None:
        """Answers; one that ends without CR is taken after the grace."""
        self._quiet()
        self._owner.received(self, self._framer.feed(data))
        if self._framer.unsettled:
            self.deadline = self._owner.reactor.callLater(GRACE, self._expire)

    def _expire(self) -> None:
        self.deadline = None
        self._owner.received(self, self._framer.expire())

    def _quiet(self) -> None:
        if self.deadline is not None and self.deadline.active():
            self.deadline.cancel()
        self.deadline = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Whoever still waits is told."""
        self._quiet()
        self._owner.received(self, [found for found in self._framer.close() if found.error is None])
        self._owner.lost(self, _reason(reason.value))


class MllpClient:
    """Sends messages over one connection that is opened when first needed, and again after it was lost.

    Answers belong to messages in the order they were sent; several may be on the way. `accepts(raw, answer)`
    may refuse an answer as not meant for `raw`; it is then passed over and counted in `strays`. `timeout` is
    in seconds, from writing a message until its answer. `secure`: the endpoint speaks TLS, and nothing is
    written before the handshake is done.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        *,
        secure: bool = False,
        timeout: float = 30,
        max_size: int = MAX_SIZE,
        accepts: Callable[[bytes, bytes], bool] | None = None,
    ) -> None:
        self.reactor = reactor
        self.max_size = max_size
        self.secure = secure
        self.strays = 0
        self._endpoint = endpoint
        self._timeout = timeout
        self._accepts = accepts or (lambda raw, answer: True)
        self._wire: _Wire | None = None
        self._connecting: defer.Deferred[Any] | None = None
        self._waiting: deque[_Request] = deque()  # certainly not sent
        self._sent: deque[_Request] = deque()  # perhaps arrived
        self._closed: defer.Deferred[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the connection is open now."""
        return self._wire is not None

    def send(self, raw: bytes) -> defer.Deferred[bytes]:
        """Send one message; gives its answer. Fails with DeliveryError: RETRY, UNKNOWN or PERMANENT."""
        if not frameable(raw):
            return defer.fail(
                DeliveryError(
                    "the message is empty or holds MLLP framing bytes",
                    result=Result.PERMANENT,
                    code="mllp.unframeable",
                    todo="take 0x0B and 0x1C 0x0D out of it with a transformer",
                )
            )
        request = _Request(raw)
        self._closed = None
        self._waiting.append(request)
        if self._wire is not None:
            self.usable(self._wire)
        elif self._connecting is None:
            self._connect()
        return request.answer

    def _connect(self) -> None:
        self._connecting = attempt = self._endpoint.connect(Factory.forProtocol(lambda: _Wire(self)))
        attempt.addCallbacks(self._made, self._failed)

    def _made(self, wire: _Wire) -> None:
        self._connecting = None
        self._wire = wire
        self.usable(wire)
        if not wire.ready:
            wire.deadline = self.reactor.callLater(
                self._timeout, self._drop, "mllp.tls", "TLS handshake timed out"
            )

    def usable(self, wire: _Wire) -> None:
        """Write what waits, when the connection is ready for it."""
        if wire is self._wire and wire.ready:
            self._write()

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        self._fail(self._waiting, Result.RETRY, "mllp.connect", f"no connection: {_reason(failure.value)}")

    def _write(self) -> None:
        assert self._wire is not None
        waiting, self._waiting = self._waiting, deque()
        for request in waiting:
            request.timer = self.reactor.callLater(self._timeout, self._late)
            self._sent.append(request)
        self._wire.transport.write(b"".join(frame(request.raw) for request in waiting))

    def received(self, wire: _Wire, frames: list[Frame]) -> None:
        """Answers came."""
        for found in frames:
            if wire is not self._wire:
                return
            if found.error is not None:
                self._drop("mllp.bad_answer", f"the answer could not be read: {found.error.code}")
            elif self._sent and self._accepts(self._sent[0].raw, found.raw):
                request = self._sent.popleft()
                request.timer.cancel()
                request.answer.callback(found.raw)
            else:
                self.strays += 1

    def lost(self, wire: _Wire, why: str) -> None:
        """The connection ended."""
        if wire is self._wire:
            self._wire = None
            self._fail(self._sent, Result.UNKNOWN, "mllp.lost", f"connection lost before the answer: {why}")
            self._fail(self._waiting, Result.RETRY, "mllp.connect", f"no connection: {why}")
        if self._closed is not None and not self._closed.called:
            self._closed.callback(None)

    def _late(self) -> None:
        # Later answers could not be told apart from this one: the connection goes.
        self._sent[0].timer = None
        self._drop("mllp.no_answer", f"no answer in {self._timeout:g} s")

    def _drop(self, code: str, what: str) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.transport.abortConnection()
        self._fail(self._sent, Result.UNKNOWN, code, what)
        self._fail(self._waiting, Result.RETRY, code, what)

    def _fail(self, requests: deque[_Request], result: Result, code: str, what: str) -> None:
        failed = list(requests)
        requests.clear()
        for request in failed:
            if request.timer is not None:
                request.timer.cancel()
            request.answer.errback(DeliveryError(what, result=result, code=code))

    def close(self) -> defer.Deferred[None]:
        """Close the connection. Messages without an answer fail: RETRY when not sent, else UNKNOWN."""
        if self._connecting is not None:
            self._connecting.cancel()
        wire = self._wire
        if wire is None:
            return defer.succeed(None)
        closed: defer.Deferred[None] = defer.Deferred()
        self._closed = closed
        self._wire = None
        self._fail(self._sent, Result.UNKNOWN, "mllp.lost", "closed before the answer")
        self._fail(self._waiting, Result.RETRY, "mllp.connect", "closed before it was sent")
        wire.transport.abortConnection()
        return closed


class MllpDestination:
    """See destinations.base.Destination. A batch is pipelined over the one connection."""

    in_flight = 1

    def __init__(self, settings: Mllp, context: BuildContext) -> None:
        self.settings = settings
        self.batch_size = settings.in_flight
        self.tls = client(settings.tls, settings.host, context.base) if settings.tls else None
        self._reactor = context.reactor
        self._client: MllpClient | None = None

    def render(self, scope: Scope) -> bytes | None:
        """What a transformer rendered as text (UTF-8), else the message as it now is."""
        return scope.text.encode() if scope.text is not None else bytes(scope.msg)

    def start(self) -> defer.Deferred[None]:
        """Nothing is opened before the first message: the server may come up later than we do."""
        settings = self.settings
        where = endpoint(self._reactor, settings.host, settings.port, self.tls, settings.connect_timeout)
        self._client = MllpClient(
            self._reactor, where, secure=self.tls is not None, timeout=settings.timeout, accepts=answers
        )
        return defer.succeed(None)

    def stop(self) -> defer.Deferred[None]:
        """Close the connection."""
        return self._client.close() if self._client is not None else defer.succeed(None)

    def deliver(self, batch: list[Delivery]) -> defer.Deferred[list[Outcome]]:
        """Send them, in order; an Outcome for each."""
        return defer.gatherResults([self._deliver(delivery) for delivery in batch])

    def judge(self, answer: bytes) -> Outcome:
        """What an acknowledgement would mean."""
        return judge(0, answer, self.settings.retry_on)

    def _deliver(self, delivery: Delivery) -> defer.Deferred[Outcome]:
        assert self._client is not None, "start comes first"
        return self._client.send(delivery.payload).addCallbacks(
            lambda answer: judge(delivery.message_id, answer, self.settings.retry_on),
            lambda failure: _failed(delivery.message_id, failure),
        )


def answers(raw: bytes, answer: bytes) -> bool:
    """Whether `answer` is for `raw`: MSA-2 is its MSH-10. A negative or unreadable one may have no MSA-2."""
    try:
        reply = ack.read(answer)
        return reply.control_id == peek(raw).control_id.strip() or (
            not reply.control_id and reply.code[1] != "A"
        )
    except HL7Error:
        return True  # `judge` says what is wrong with it


def judge(message_id: int, answer: bytes, retry_on: list[Any]) -> Outcome:
    """The outcome that an acknowledgement means. Its free text may name patients: it stays in `response`."""
    try:
        code = ack.read(answer).code
        message = Message(answer)
        conditions = set(message.all("ERR-3.1")) | set(message.all("ERR-1.4.1"))
        place = str(message["ERR-2"])
    except HL7Error as problem:
        return Outcome(message_id, Result.UNKNOWN, "mllp.not_an_ack", problem.what, response=answer)
    if code[1] == "A":
        return Outcome(message_id, Result.SENT, response=answer)
    transient = code in retry_on or (code[1] == "R" and conditions & TRANSIENT)
    known = sorted(conditions & ack.TABLE_0357.keys())
    text = f"the receiver answered {code}" + "".join(f", {one} {ack.TABLE_0357[one]}" for one in known)
    return Outcome(
        message_id,
        Result.RETRY if transient else Result.PERMANENT,
        f"mllp.ack_{code.lower()}",
        text,
        place if re.fullmatch(r"[A-Z][A-Z0-9]{2}[\^\d]*", place) else "",
        response=answer,
    )


def _failed(message_id: int, failure: Failure) -> Outcome:
    failure.trap(DeliveryError)
    problem: Any = failure.value
    return Outcome(message_id, problem.result, problem.code, str(problem))


def _reason(problem: BaseException | None) -> str:
    """Why there is no connection, without what the other side may have written."""
    if isinstance(problem, SSL.Error) and problem.args and problem.args[0]:
        return str(problem.args[0][0][2])  # the reason out of OpenSSL's own table
    if isinstance(problem, error.DNSLookupError):
        return "nobody knows this host name"
    if isinstance(problem, error.ConnectError):
        return error.ConnectError.__str__(problem)
    return type(problem).__name__
