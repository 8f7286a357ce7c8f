"""The reactor of the engine: events reach their connections, and a connection that fails harms no other."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from engine.cli.reactor import Reactor, steady

reactor = steady()
assert type(reactor) is Reactor, type(reactor)

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

seen = []


class Server(Protocol):
    def dataReceived(self, data):
        if data == b"fail":
            raise ValueError("a fault of the protocol")
        self.transport.write(data.upper())
        if data == b"bye":
            self.transport.loseConnection()


class Client(Protocol):
    def __init__(self, name):
        self.name = name

    def dataReceived(self, data):
        seen.append((self.name, data))
        if data == b"ONE":
            self.transport.write(b"bye")

    def connectionLost(self, reason):
        seen.append((self.name, "lost"))
        if sum(what == "lost" for _, what in seen) == 2:
            reactor.stop()


factory = Factory.forProtocol(Server)


def listening(port):
    here = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    connectProtocol(here, Client("bad")).addCallback(lambda client: client.transport.write(b"fail"))
    connectProtocol(here, Client("good")).addCallback(
        lambda client: reactor.callLater(0.05, client.transport.write, b"one")
    )


TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory).addCallback(listening)
reactor.callLater(10, reactor.stop)
reactor.run()
print(sorted(seen, key=str))
"""


def test_a_connection_whose_protocol_raises_is_dropped_and_others_go_on() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(
        sorted([("bad", "lost"), ("good", b"ONE"), ("good", b"BYE"), ("good", "lost")], key=str)
    )
