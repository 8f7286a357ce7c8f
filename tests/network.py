"""A network of memory: clients of a memory reactor reach the sites that are named here, byte by byte."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect


class Network:
    """`sites` are factories by port; a port that is `None` or missing refuses."""

    def __init__(self, reactor: Any, sites: dict[int, Any]) -> None:
        self.reactor = reactor
        self.sites = sites
        self.pumps: list[Any] = []
        self._seen = 0

    def move(self) -> bool:
        """Connect who wants to be, and carry every byte that is under way; True when there was something."""
        moved = False
        clients = self.reactor.tcpClients
        while self._seen < len(clients):
            _, port, factory, _, _ = clients[self._seen]
            self._seen += 1
            moved = True
            site = self.sites.get(port)
            if site is None:
                factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
                continue
            client, server = factory.buildProtocol(None), site.buildProtocol(None)
            server_side, client_side = FakeTransport(server, True), FakeTransport(client, False)
            for side in (server_side, client_side):
                side.abortConnection = side.loseConnection  # type: ignore[attr-defined]
            self.pumps.append(connect(server, server_side, client, client_side))
        for pump in self.pumps:
            while pump.pump():
                moved = True
        self.pumps = [
            pump for pump in self.pumps if not (pump.clientIO.disconnected and pump.serverIO.disconnected)
        ]
        return moved

    def settle(self) -> None:
        """Until nothing happens any more without time going on."""
        for _ in range(10_000):
            due = [
                call for call in self.reactor.getDelayedCalls() if call.getTime() <= self.reactor.seconds()
            ]
            if due:
                self.reactor.advance(0)
            if not self.move() and not due:
                return
        raise AssertionError("it never comes to rest")
