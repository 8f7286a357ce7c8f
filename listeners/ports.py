"""Opening a TCP port: the settings, TLS and networks that every listener on the wire has.

Guarantees: with TLS nothing is taken in clear text; peers outside `allow` are known as such whatever way their
address is written. Refuses a port that cannot be had (ConfigError), with the reason of the system.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from pydantic import Field, IPvAnyNetwork
from twisted.internet import defer, error
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.python.failure import Failure

from engine.errors import ConfigError
from engine.security.tls import ServerTls, server
from engine.spec.component import BuildContext, Settings

BACKLOG: Final = 512  # connections that the system takes before we do


class PortSettings(Settings):
    """The settings of every listener that opens a port."""

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


class Port:
    """The port of one listener; certificates are read and checked when it is made. `code`: of a port that
    cannot be opened."""

    def __init__(self, settings: PortSettings, context: BuildContext, code: str) -> None:
        self.tls = server(settings.tls, context.base) if settings.tls else None
        self._number = settings.port
        self._host = settings.interface or ("0.0.0.0" if self.tls else "127.0.0.1")  # noqa: S104
        self._networks = [ipaddress.ip_network(str(network)) for network in settings.allow]
        self._context = context
        self._code = code
        self._open: Any = None

    def open(self, factory: Any) -> defer.Deferred[Any]:
        """Listen; fires with the address. Fails with a ConfigError when the port cannot be had."""
        reactor, host = self._context.reactor, self._host
        endpoint: Any
        if self.tls is not None:
            endpoint = SSL4ServerEndpoint(reactor, self._number, self.tls.factory, BACKLOG, host)
        else:
            kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
            endpoint = kind(reactor, self._number, BACKLOG, host)

        def opened(port: Any) -> Any:
            self._open = port
            return port.getHost()

        def failed(failure: Failure) -> Any:
            failure.trap(error.CannotListenError, OSError)
            cause = getattr(failure.value, "socketError", failure.value)
            why = getattr(cause, "strerror", None) or str(cause)
            raise ConfigError(
                f"port {self._number} on {host} cannot be opened: {why}",
                code=self._code,
                where=self._context.channel,
                todo="choose another port or interface, or stop the program that has it",
            )

        return endpoint.listen(factory).addCallbacks(opened, failed)

    def close(self) -> defer.Deferred[Any]:
        """Take no more connections."""
        port, self._open = self._open, None
        return defer.maybeDeferred(port.stopListening) if port is not None else defer.succeed(None)

    @property
    def opened(self) -> bool:
        """Connections are taken."""
        return self._open is not None

    def status(self) -> dict[str, Any]:
        """Address (`127.0.0.1:2575`, empty while it is not open), TLS, and how long the certificate is good."""
        until = self.tls.not_after if self.tls else None
        return {
            "address": address(self._open.getHost()) if self._open is not None else "",
            "tls": self.tls is not None,
            "certificate_not_after": until.isoformat() if until else None,
        }

    def welcome(self, host: str) -> bool:
        """Whether a peer at this address is in `allow`."""
        if not self._networks:
            return True
        found = ipaddress.ip_address(host.partition("%")[0])
        found = getattr(found, "ipv4_mapped", None) or found
        return any(found in network for network in self._networks)


def address(addr: Any) -> str:
    """`10.0.0.5:4711`, `[::1]:4711`."""
    host = f"[{addr.host}]" if ":" in addr.host else addr.host
    return f"{host}:{addr.port}"
