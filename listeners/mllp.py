"""HL7 v2 over MLLP: the listener.

Guarantees: every frame of every connection goes to the channel, in order and byte for byte; answers go out in
the order of arrival, whatever order the channel gives them in; a sender that is too fast, too slow, broken or
hostile costs bounded memory and disturbs no other. Refuses: peers outside `allow`, connections above
`max_connections`, clear text on a TLS port. The log names peers and counts, never what a message holds.

What happens on one connection stands in listeners.mllp_connection.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from pydantic import Field
from twisted.internet import defer
from twisted.internet.protocol import Factory, Protocol

from engine.hl7.mllp import MAX_SIZE
from engine.spec.component import BuildContext, component
from engine.spec.units import Duration
from listeners.base import Receiver
from listeners.mllp_connection import LISTENER, Connection
from listeners.ports import Port, PortSettings, address

SHOWN: Final = 20  # peers in the status
_log = structlog.get_logger()


@component("listener", "mllp", example="mllp: {port: 2575}")
class Mllp(PortSettings):
    """Receives HL7 v2 messages over MLLP, with or without TLS."""

    max_size: int = Field(default=MAX_SIZE, ge=1024, description="Bytes in one message, at most.")
    max_connections: int = Field(default=500, ge=1, description="Connections at once, at most.")
    max_in_flight: int = Field(
        default=64,
        ge=1,
        description="Messages of one connection that wait for an answer before reading stops.",
    )
    frame_timeout: Duration = Field(
        default=60,
        gt=0,
        description="Silence inside a message, or in a TLS handshake, before closing.",
    )
    idle_timeout: Duration = Field(
        default=0,
        ge=0,
        description="Time without a byte and without an answer due, before closing; 0: never.",
    )

    def build(self, context: BuildContext) -> MllpListener:
        """A listener on `context.reactor`; certificates are read and checked here."""
        return MllpListener(self, context)


class _Refused(Protocol):
    """A connection that must not be."""

    def connectionMade(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]


class _Factory(Factory):
    noisy = False

    def __init__(self, listener: MllpListener) -> None:
        self._listener = listener

    def buildProtocol(self, addr: Any) -> Protocol:
        """A Connection, unless the peer is not welcome."""
        return self._listener.welcome(addr) or _Refused()


class MllpListener:
    """See listeners.base.Listener."""

    def __init__(self, settings: Mllp, context: BuildContext) -> None:
        self.settings = settings
        self.channel = context.channel
        self.reactor = context.reactor
        self.port = Port(settings, context, "mllp.port")
        self.tls = self.port.tls
        self.receiver: Receiver
        self.connections: set[Connection] = set()
        self.paused = False
        self.frames = self.bad_frames = self.refused = self.dropped = self.tls_failures = 0
        self._dirty: list[Connection] = []
        self._empty: list[defer.Deferred[None]] = []

    def start(self, receiver: Receiver) -> defer.Deferred[Any]:
        """Open the port; fires with its address. Fails with a ConfigError when it cannot be opened."""
        self.receiver = receiver
        return self.port.open(_Factory(self))

    def pause(self) -> None:
        """Stop reading from every connection, and from those that come."""
        self.paused = True
        for connection in self.connections:
            connection.hold(LISTENER)

    def resume(self) -> None:
        """Read on."""
        self.paused = False
        for connection in self.connections:
            connection.release(LISTENER)

    def stop(self) -> defer.Deferred[None]:
        """Close the port, read no more, answer what is due, close. Fires when no connection is left."""
        closed = self.port.close()
        for connection in list(self.connections):
            connection.finish()
        return closed.addCallback(lambda _: self._when_empty())

    def close(self) -> defer.Deferred[None]:
        """Drop the connections that are left. Fires when they are gone."""
        for connection in list(self.connections):
            connection.abort()
        return self._when_empty()

    def status(self) -> dict[str, Any]:
        """Counts since the start, limits, and the peers that have been silent longest (seconds)."""
        now = self.reactor.seconds()
        peers = sorted(self.connections, key=lambda connection: connection.last)[:SHOWN]
        return {
            **self.port.status(),
            "paused": self.paused,
            "connections": len(self.connections),
            "max_connections": self.settings.max_connections,
            "in_flight": sum(len(connection.due) for connection in self.connections),
            "frames": self.frames,
            "bad_frames": self.bad_frames,
            "refused": self.refused,
            "dropped_answers": self.dropped,
            "tls_failures": self.tls_failures,
            "peers": [
                {"peer": peer.peer, "idle_s": round(now - peer.last, 1), "in_flight": len(peer.due)}
                for peer in peers
            ],
        }

    def welcome(self, addr: Any) -> Connection | None:
        """A protocol for a new peer, or None when it must be refused."""
        peer = address(addr)
        if not self.port.welcome(addr.host):
            self._refuse(peer, "not in allow")
            return None
        if len(self.connections) >= self.settings.max_connections:
            self._refuse(peer, "max_connections reached")
            return None
        return Connection(self, peer)

    def _refuse(self, peer: str, why: str) -> None:
        self.refused += 1
        _log.warning("mllp.refused", channel=self.channel, peer=peer, why=why, refused=self.refused)

    def tls_failed(self, peer: str, why: str) -> None:
        """Count and log a handshake that came to nothing."""
        self.tls_failures += 1
        _log.warning("mllp.tls_failed", channel=self.channel, peer=peer, why=why)

    def flush_soon(self, connection: Connection) -> None:
        """Flush it at the end of this turn: a batch of answers then costs one write a connection."""
        if not self._dirty:
            self.reactor.callLater(0, self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()

    def gone(self, connection: Connection) -> None:
        """A connection ended."""
        self.connections.discard(connection)
        if not self.connections:
            waiting, self._empty = self._empty, []
            for deferred in waiting:
                deferred.callback(None)

    def _when_empty(self) -> defer.Deferred[None]:
        deferred: defer.Deferred[None] = defer.Deferred()
        if self.connections:
            self._empty.append(deferred)
        else:
            deferred.callback(None)
        return deferred
