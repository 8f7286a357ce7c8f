"""HL7 v2 over MLLP: the listener.

Guarantees: every frame of every connection goes to the channel, in order and byte for byte; answers go out in
the order of arrival, whatever order the channel gives them in; a sender that is too fast, too slow, broken or
hostile costs bounded memory and disturbs no other. Refuses: peers outside `allow`, connections above
`max_connections`, clear text on a TLS port. The log names peers and counts, never what a message holds.

What happens on one connection stands in listeners.mllp_connection.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

import structlog
from pydantic import Field, IPvAnyNetwork
from twisted.internet import defer, error
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from engine.errors import ConfigError
from engine.hl7.mllp import MAX_SIZE
from engine.security.tls import ServerTls, server
from engine.spec.component import BuildContext, Settings, component
from listeners.base import Receiver
from listeners.mllp_connection import LISTENER, Connection

BACKLOG: Final = 512
SHOWN: Final = 20  # peers in the status
_log = structlog.get_logger()


@component("listener", "mllp", example="mllp: {port: 2575}")
class Mllp(Settings):
    """Receives HL7 v2 messages over MLLP, with or without TLS."""

    port: int = Field(ge=0, le=65535, description="TCP port; 0 takes a free one.", examples=[2575])
    interface: str = Field(
        default="",
        description="Address to listen on. Default: 127.0.0.1 in clear text, 0.0.0.0 (all) with TLS.",
        examples=["0.0.0.0"],  # noqa: S104
    )
    tls: ServerTls | None = Field(
        default=None, description="Certificate and key; with client_ca, mutual TLS."
    )
    allow: list[IPvAnyNetwork] = Field(
        default=[],
        description="Networks that clients may come from; empty: any.",
        examples=[["10.20.0.0/16", "192.0.2.7"]],
    )
    max_size: int = Field(default=MAX_SIZE, ge=1024, description="Bytes in one message, at most.")
    max_connections: int = Field(default=500, ge=1, description="Connections at once, at most.")
    max_in_flight: int = Field(
        default=64,
        ge=1,
        description="Messages of one connection that wait for an answer before reading stops.",
    )
    frame_timeout: float = Field(
        default=60,
        gt=0,
        description="Seconds of silence inside a message, or in a TLS handshake, before closing.",
    )
    idle_timeout: float = Field(
        default=0,
        ge=0,
        description="Seconds without a byte and without an answer due, before closing; 0: never.",
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
        self.tls = server(settings.tls, context.base) if settings.tls else None
        self.receiver: Receiver
        self.connections: set[Connection] = set()
        self.paused = False
        self.frames = self.bad_frames = self.refused = self.dropped = self.tls_failures = 0
        self._networks = [ipaddress.ip_network(str(network)) for network in settings.allow]
        self._port: Any = None
        self._dirty: list[Connection] = []
        self._empty: list[defer.Deferred[None]] = []

    def start(self, receiver: Receiver) -> defer.Deferred[Any]:
        """Open the port; fires with its address. Fails with a ConfigError when it cannot be opened."""
        self.receiver = receiver
        port = self.settings.port
        host = self.settings.interface or ("0.0.0.0" if self.tls else "127.0.0.1")  # noqa: S104
        endpoint: Any
        if self.tls is not None:
            endpoint = SSL4ServerEndpoint(self.reactor, port, self.tls.factory, BACKLOG, host)
        else:
            kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
            endpoint = kind(self.reactor, port, BACKLOG, host)
        listening = endpoint.listen(_Factory(self))

        def opened(port: Any) -> Any:
            self._port = port
            return port.getHost()

        def failed(failure: Failure) -> Any:
            failure.trap(error.CannotListenError, OSError)
            raise ConfigError(
                f"port {port} on {host} cannot be opened: {reason(failure.value)}",
                code="mllp.port",
                where=self.channel,
                todo="choose another port or interface, or stop the program that has it",
            )

        return listening.addCallbacks(opened, failed)

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
        port, self._port = self._port, None
        closed = defer.maybeDeferred(port.stopListening) if port is not None else defer.succeed(None)
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
            "address": address(self._port.getHost()) if self._port is not None else "",
            "tls": self.tls is not None,
            "certificate_not_after": self.tls.not_after.isoformat()
            if self.tls and self.tls.not_after
            else None,
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
        if self._networks:
            host = ipaddress.ip_address(addr.host.split("%")[0])
            host = getattr(host, "ipv4_mapped", None) or host
            if not any(host in network for network in self._networks):
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


def address(addr: Any) -> str:
    """`10.0.0.5:4711`, `[::1]:4711`."""
    host = f"[{addr.host}]" if ":" in addr.host else addr.host
    return f"{host}:{addr.port}"


def reason(problem: BaseException | None) -> str:
    """Why a port cannot be opened, in words."""
    cause = getattr(problem, "socketError", problem)
    return getattr(cause, "strerror", None) or str(cause)
