"""The sandbox over HTTP on Twisted's memory reactor, with and without faults."""

import json

import pytest
from twisted.internet.testing import MemoryReactorClock, StringTransport

from engine.odoo.sandbox import Sandbox
from engine.odoo.sandbox.server import Fault, serve

BODY = json.dumps({"vals_list": [{"name": "A"}]}).encode()
CREATE = (
    b"POST /json/2/res.partner/create HTTP/1.1\r\nHost: x\r\nAuthorization: bearer sandbox\r\n"
    b"Content-Type: application/json\r\nContent-Length: " + str(len(BODY)).encode() + b"\r\n\r\n" + BODY
)


class Wire(StringTransport):
    aborted = False

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()


@pytest.fixture
def world():
    sandbox, reactor = Sandbox(), MemoryReactorClock()

    def ask(fault=None):
        listening = []
        serve(sandbox, "127.0.0.1", 8069, reactor, faults=lambda number, path: fault).addCallback(
            listening.append
        )
        assert listening
        host, site = reactor.tcpServers[-1][0], reactor.tcpServers[-1][1]
        assert host == 8069
        protocol, wire = site.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived(CREATE)
        return wire

    def count():
        return sandbox.db.rows("SELECT count(*) FROM res_partner WHERE name = 'A'")[0][0]

    yield ask, count, reactor
    sandbox.close()


def test_answers(world):
    ask, count, _ = world
    wire = ask()
    assert wire.value().startswith(b"HTTP/1.1 200 OK\r\n") and wire.value().endswith(b"\r\n\r\n[5]")
    assert b"Connection: close" in wire.value() and wire.disconnecting and count() == 1


def test_lost_before_it_ran(world):
    ask, count, _ = world
    wire = ask(Fault(lost=True))
    assert wire.aborted and wire.value() == b"" and count() == 0


def test_dropped_after_it_ran(world):
    ask, count, _ = world
    wire = ask(Fault(drop=True))
    assert wire.aborted and wire.value() == b"" and count() == 1


def test_half_a_body(world):
    ask, count, _ = world
    wire = ask(Fault(half=True))
    assert b"Content-Length: 3\r\n" in wire.value() and wire.value().endswith(b"\r\n\r\n[") and count() == 1


def test_status_of_a_proxy(world):
    ask, count, _ = world
    wire = ask(Fault(status=502))
    assert wire.value().startswith(b"HTTP/1.1 502") and b"text/html" in wire.value() and count() == 0


def test_delay(world):
    ask, count, reactor = world
    wire = ask(Fault(delay=2.0))
    assert count() == 1 and wire.value() == b""
    reactor.advance(2.0)
    assert wire.value().endswith(b"[5]")
