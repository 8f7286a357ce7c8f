"""The HTTP transport on memory: what goes over the wire, and what each failure means."""

import pytest
from twisted.internet import defer, error
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from engine.odoo.errors import OdooError
from engine.odoo.transport import HttpTransport, lost
from engine.states import Result


def start(body=b'{"a":1}', timeout=30.0):
    reactor = MemoryReactorClock()
    transport = HttpTransport("http://127.0.0.1:8069", reactor, timeout)
    got = []
    headers = {"Content-Type": "application/json", "X-Odoo-Database": "o19"}
    transport.request("POST", "/json/2/m/f", headers, body).addBoth(got.append)
    return reactor, got


def connect(reactor):
    _, _, factory, _, _ = reactor.tcpClients[0]
    protocol = factory.buildProtocol(None)
    wire = StringTransport()
    protocol.makeConnection(wire)
    return protocol, wire


def test_a_request_has_its_length_and_wants_no_keep_alive():
    reactor, got = start()
    protocol, wire = connect(reactor)
    sent = wire.value()
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /json/2/m/f HTTP/1.1")
    assert b"content-length: 7" in head.lower()
    assert b"chunked" not in head.lower()
    assert b"connection: close" in head.lower()
    assert b"x-odoo-database: o19" in head.lower()
    assert body == b'{"a":1}'
    protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Type: text/json\r\nContent-Length: 4\r\n\r\nnu")
    assert not got
    protocol.dataReceived(b"ll")
    status, headers, answer = got[0]
    assert (status, headers["content-type"], answer) == (200, "text/json", b"null")


def test_an_answer_without_a_length_may_be_half_an_answer():
    reactor, got = start()
    protocol, _ = connect(reactor)
    protocol.dataReceived(b"HTTP/1.0 200 OK\r\n\r\n[1, 2")
    protocol.connectionLost(Failure(error.ConnectionDone()))
    assert got[0].value.result == Result.UNKNOWN


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
def test_a_lost_connection_leaves_the_outcome_unknown(first):
    reactor, got = start()
    protocol, _ = connect(reactor)
    protocol.dataReceived(first)
    protocol.connectionLost(Failure(error.ConnectionLost()))
    found = got[0].value
    assert (found.result, found.code) == (Result.UNKNOWN, "odoo.disconnected")


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"])
def test_no_answer_in_time(first):
    reactor, got = start(timeout=30.0)
    protocol, _ = connect(reactor)
    protocol.dataReceived(first)
    reactor.advance(31)
    found = got[0].value
    assert (found.result, found.code) == (Result.UNKNOWN, "odoo.timeout")
    protocol.connectionLost(Failure(error.ConnectionDone()))
    assert len(got) == 1


@pytest.mark.parametrize(
    "reason",
    [error.ConnectionRefusedError(), error.DNSLookupError(), error.NoRouteError(), error.TimeoutError()],
)
def test_not_connected_is_certainly_not_applied(reason):
    found = lost(Failure(reason))
    assert (found.result, found.code) == (Result.RETRY, "odoo.unreachable")


def test_connect_refused_on_the_wire():
    reactor, got = start()
    _, _, factory, _, _ = reactor.tcpClients[0]
    factory.clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))
    reactor.advance(1)
    assert got[0].value.result == Result.RETRY


def test_a_cancelled_request_is_unknown():
    assert lost(Failure(defer.CancelledError())).result == Result.UNKNOWN


@pytest.mark.parametrize("url", ["", "odoo.example.org", "ftp://x", "http://"])
def test_urls(url):
    with pytest.raises(OdooError) as caught:
        HttpTransport(url, MemoryReactorClock())
    assert caught.value.code == "odoo.url"
