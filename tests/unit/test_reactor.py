"""The reactor of the engine: events reach their connections, and a connection that fails harms no other."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from engine.cli.reactor import Reactor, steady

reactor = steady()
assert type(reactor) is Reactor, type(reactor)

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

seen = []
threads = []


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
            threads.append(reactor.threadpool)
            reactor.stop()


factory = Factory.forProtocol(Server)


def listening(port):
    here = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    connectProtocol(here, Client("bad")).addCallback(lambda client: client.transport.write(b"fail"))
    named = HostnameEndpoint(reactor, b"127.0.0.1", port.getHost().port)
    connectProtocol(named, Client("good")).addCallback(
        lambda client: reactor.callLater(0.05, client.transport.write, b"one")
    )


TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory).addCallback(listening)
reactor.callLater(10, reactor.stop)
reactor.run()
assert threads == [None], "an address was looked up in a thread"
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


NAMES = """
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from engine.cli.reactor import Resolver, steady

reactor = steady()
assert steady() is reactor and isinstance(reactor.nameResolver, Resolver)
assert not isinstance(reactor.nameResolver._system, Resolver)


@implementer(IResolutionReceiver)
class Receiver:
    def __init__(self):
        self.found = []

    def resolutionBegan(self, resolution):
        self.name = resolution.name

    def addressResolved(self, address):
        self.found.append((address.host, address.port))

    def resolutionComplete(self):
        print(self.name, ("127.0.0.1", 7) in self.found)
        if self.name == "localhost":
            reactor.stop()


def ask():
    for name in ("127.0.0.1", "localhost"):
        reactor.nameResolver.resolveHostName(Receiver(), name, 7)


reactor.callWhenRunning(ask)
reactor.callLater(10, reactor.stop)
reactor.run()
"""


def test_an_address_is_its_own_answer_and_names_are_asked_of_the_system():
    done = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["127.0.0.1 True", "localhost True"], done.stderr
