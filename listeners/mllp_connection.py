"""One MLLP client of a listener: reading, the order of answers, writing, time-outs.

Reading stops, per connection, for any of four reasons, and goes on when none is left: the channel asked for
it (LISTENER), `max_in_flight` messages wait for their answers (FLIGHT), the peer does not read its answers
(ANSWERS), frames of the last read are not handed over yet (FRAMES): a turn of the reactor takes TURN of them, so that
nobody waits for a peer whose 64 KB are thousands of frames. What is in hand still goes to the channel: at most one
read of the socket.

| what happens                                   | then                                                    |
|------------------------------------------------|---------------------------------------------------------|
| a bad frame (see engine.hl7.mllp)              | handed over with its error, so it is stored and answered |
| an unfinished frame, silent for frame_timeout  | handed over as `mllp.truncated`, answered, then closed  |
| the peer ends its side only (half-close)       | what is due is answered, then closed                    |
| the connection is lost with answers due        | they are dropped and counted; the messages stay stored  |
| the channel raises while it takes a message    | the connection is aborted: the sender sends again       |
| a TLS handshake fails or is not done in time   | counted, logged with the peer's address                 |
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

import structlog
from twisted.internet import error, tcp
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from engine import clock
from engine.hl7.mllp import GRACE, Frame, Framer
from engine.model import Incoming
from engine.security.tls import client_name

if TYPE_CHECKING:
    from listeners.mllp import MllpListener

LISTENER, FLIGHT, ANSWERS, FRAMES = 1, 2, 4, 8  # why a connection does not read
TURN = 256  # frames that are handed over in one turn of the reactor
_WAITING: Final = object()
_log = structlog.get_logger()


class Arrival(Incoming):
    """One message and the place of its answer in the order of its connection."""

    __slots__ = ("_connection", "reply")

    def __init__(self, found: Frame, connection: Connection) -> None:
        self.raw = found.raw
        self.peer = connection.peer
        self.received_at = clock.now()
        self.error = found.error
        self._connection = connection
        self.reply: Any = _WAITING

    def answer(self, data: bytes | list[bytes] | None) -> None:
        """Send `data` once everything that came before is answered. Raises RuntimeError the second time."""
        if self.reply is not _WAITING:
            raise RuntimeError("a message was answered twice")
        self.reply = data
        self._connection.answered(self)

    def push(self, data: bytes | None) -> None:
        """One more message to the same peer."""
        if data is not None:
            self._connection.push(data)


@implementer(IHalfCloseableProtocol, IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """One client: its framer, its messages in order of arrival, and one timer for all that may time out."""

    def __init__(self, listener: MllpListener, peer: str) -> None:
        self.peer = peer
        self.due: deque[Arrival] = deque()
        self.transport: Any
        self.dirty = False  # will be flushed in this turn of the reactor
        self.last = listener.reactor.seconds()  # when the last byte came
        self._listener = listener
        self._framer = Framer(listener.settings.max_size)
        self._left: deque[Frame] = deque()  # taken apart, not handed over
        self._ready = listener.tls is None  # the handshake is done
        self._hold = 0
        self._lost = False
        self._closing = False  # no more is read; closes when nothing is due
        self._direct: tcp.Connection | None = None
        self._timer: Any = None

    def connectionMade(self) -> None:
        """Set the socket up."""
        transport = self.transport
        self._listener.connections.add(self)
        if isinstance(transport, tcp.Connection) and not transport.TLS:
            self._direct = transport
        if hasattr(transport, "setTcpKeepAlive"):
            transport.setTcpKeepAlive(1)
            transport.setTcpNoDelay(True)
        transport.registerProducer(self, True)
        if self._listener.paused:
            self.hold(LISTENER)
        self._watch()

    def handshakeCompleted(self) -> None:
        """TLS is up: with mutual TLS, messages come from `address name of the certificate`."""
        self._ready = True
        self.peer += client_name(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Take what came apart and hand it over."""
        if self._closing:
            return
        self.last = self._listener.reactor.seconds()
        self._take(self._framer.feed(data))
        if self._framer.unsettled or (self._timer is None and self._framer.open):
            self._watch()

    def _take(self, frames: list[Frame]) -> None:
        waiting = bool(self._left)
        self._left += frames
        if not waiting:
            self._hand_over()

    def _hand_over(self) -> None:
        """The next frames go to the channel, those after them in the next turn."""
        listener, due, left = self._listener, self.due, self._left
        try:
            for _ in range(min(TURN, len(left))):
                found = left.popleft()
                listener.frames += 1
                listener.bad_frames += found.error is not None
                arrival = Arrival(found, self)
                due.append(arrival)
                listener.receiver.receive(arrival)
        except BaseException:
            # What was not handed over was not acknowledged: the sender sends it again.
            left.clear()
            self._closing = True
            self.abort()
            raise
        if len(due) >= listener.settings.max_in_flight:
            self.hold(FLIGHT)
        if left:
            self.hold(FRAMES)
            listener.reactor.callLater(0, self._hand_over)
        elif self._hold & FRAMES:
            self.release(FRAMES)

    def answered(self, arrival: Arrival) -> None:
        """The channel answered one of this connection's messages."""
        if self._lost:
            self._listener.dropped += arrival.reply is not None
        elif arrival is self.due[0] and not self.dirty:
            self.dirty = True
            self._listener.flush_soon(self)

    def flush(self) -> None:
        """Write, at once, all answers that have nothing unanswered before them."""
        self.dirty = False
        due = self.due
        parts: list[bytes] = []
        while due and due[0].reply is not _WAITING:
            reply = due.popleft().reply
            if type(reply) is bytes:
                parts.append(b"\x0b%b\x1c\r" % reply)
            elif reply is not None:
                parts += [b"\x0b%b\x1c\r" % one for one in reply]
        if parts:
            self._write(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._hold & FLIGHT and len(due) <= self._listener.settings.max_in_flight // 2:
            self.release(FLIGHT)
        if not due and not self._left:
            if self._closing:
                self.finish()
            elif self._listener.settings.idle_timeout:
                self._watch()

    def push(self, data: bytes) -> None:
        """One more frame, after the answers that are ready."""
        if self._lost or self._closing:
            self._listener.dropped += 1
            return
        if self.dirty:
            self.flush()
        self._write(b"\x0b%b\x1c\r" % data)

    def _write(self, data: bytes) -> None:
        """Straight to the socket when nothing waits before it, saving a round through epoll per answer.

        What the socket does not take, and every error, is left to the transport, which deals with both.
        """
        direct = self._direct
        if direct is not None and direct.connected and not direct.disconnecting and not _queued(direct):
            try:
                sent = direct.socket.send(data)
            except OSError:  # nothing was taken; the transport finds out why
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self.transport.write(data)

    def hold(self, reason: int) -> None:
        """Read no more, for this reason too."""
        if not self._hold and not self._lost:
            self.transport.pauseProducing()
        self._hold |= reason

    def release(self, reason: int) -> None:
        """This reason is gone; read on when it was the last. Time without reading does not count."""
        held, self._hold = self._hold, self._hold & ~reason
        if held and not self._hold and not self._lost and not self._closing:
            self.last = self._listener.reactor.seconds()
            self.transport.resumeProducing()
            self._watch()

    def pauseProducing(self) -> None:
        """The peer does not take its answers."""
        self.hold(ANSWERS)

    def resumeProducing(self) -> None:
        """It took them."""
        self.release(ANSWERS)

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost tells the rest."""

    def _watch(self) -> None:
        """Keep the one timer set to the earliest deadline."""
        wait = self._wait()
        if wait is None:
            return
        at = self.last + wait
        if self._timer is not None:
            if self._timer.getTime() <= at:
                return
            self._timer.cancel()
        reactor = self._listener.reactor
        self._timer = reactor.callLater(max(0, at - reactor.seconds()), self._tick)

    def _wait(self) -> float | None:
        """Seconds after the last byte that something must be done, or None. Without reading: None."""
        settings = self._listener.settings
        if self._closing or self._lost or self._hold:
            return None
        if self._framer.unsettled:
            return GRACE
        if self._framer.open or not self._ready:
            return settings.frame_timeout
        return settings.idle_timeout if settings.idle_timeout and not self.due else None

    def _tick(self) -> None:
        self._timer = None
        wait = self._wait()
        if wait is None:
            return
        if self._listener.reactor.seconds() < self.last + wait:
            self._watch()
        elif self._framer.unsettled:
            self._take(self._framer.expire())
            self._watch()
        elif not self._ready:
            self._listener.tls_failed(self.peer, "handshake not done in time")
            self.abort()
        else:
            if self._framer.open:
                _log.warning("mllp.frame_timeout", channel=self._listener.channel, peer=self.peer)
            self._take(self._framer.close())
            self.finish()

    def finish(self) -> None:
        """Read no more; close once all that is due is answered."""
        self._closing = True
        if self.due or self._left:
            self.hold(LISTENER)
        elif not self._lost:
            transport = self.transport
            transport.unregisterProducer()
            transport.resumeProducing()  # a TLS connection closes only when it reads the peer's last word
            transport.loseConnection()
            self._cancel()
            self._timer = self._listener.reactor.callLater(self._listener.settings.frame_timeout, self.abort)

    def _cancel(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def abort(self) -> None:
        """Close now; answers that are due are dropped, and what was not handed over is sent again."""
        self._left.clear()
        if not self._lost:
            self.transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The peer will send nothing more but may read: it gets the answers that are due."""
        if not self._closing:
            self._take(self._framer.close())
            self.finish()

    def writeConnectionLost(self) -> None:
        """Never asked for on its own."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Count what cannot be answered any more; an unfinished frame is handed over all the same."""
        self._cancel()
        if not self._ready and not reason.check(error.ConnectionAborted):
            self._listener.tls_failed(self.peer, type(reason.value).__name__)
        if not self._closing:
            self._take(self._framer.close())
        self._lost = True
        self._listener.dropped += sum(arrival.reply not in (_WAITING, None) for arrival in self.due)
        self.due.clear()
        self._listener.gone(self)


def _queued(transport: tcp.Connection) -> bool:
    """Whether bytes wait in the transport: nothing may overtake them."""
    return bool(transport._tempDataLen) or transport.offset != len(transport.dataBuffer)
