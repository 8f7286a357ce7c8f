"""A listener on Twisted's memory reactor, with clients to connect."""

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from engine.spec.component import BuildContext
from listeners.mllp import Mllp


class Transport(StringTransport):
    """Remembers how it was closed, and every single write."""

    aborted = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.writes = []

    def write(self, data):
        self.writes.append(data)
        super().write(data)

    def abortConnection(self):
        self.aborted = True


class Channel:
    def __init__(self):
        self.got = []

    def receive(self, incoming):
        self.got.append(incoming)

    @property
    def raws(self):
        return [incoming.raw for incoming in self.got]


class Desk:
    """A started listener with a reactor to turn and clients to connect."""

    def __init__(self, **settings):
        self.reactor = MemoryReactorClock()
        self.channel = Channel()
        self.listener = Mllp(port=2575, **settings).build(BuildContext(channel="adt", reactor=self.reactor))
        self.listener.start(self.channel)
        _, self.factory, *_ = self.reactor.tcpServers[0]

    def connect(self, host="127.0.0.1", kind=IPv4Address):
        peer = kind("TCP", host, 40000)
        protocol = self.factory.buildProtocol(peer)
        transport = Transport(peerAddress=peer)
        protocol.makeConnection(transport)
        return protocol, transport

    def turn(self, seconds=0.0):
        self.reactor.advance(seconds)

    def lose(self, protocol):
        protocol.connectionLost(Failure(ConnectionDone()))
