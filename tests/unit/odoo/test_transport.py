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
    _, _, factory, _, _ = reactor.tcpClients[-1]
    protocol = factory.buildProtocol(None)
    wire = StringTransport()
    protocol.makeConnection(wire)
    return protocol, wire


def test_a_request_has_its_length():
    reactor, got = start()
    protocol, wire = connect(reactor)
    sent = wire.value()
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /json/2/m/f HTTP/1.1")
    assert b"content-length: 7" in head.lower()
    assert b"chunked" not in head.lower()
    assert b"x-odoo-database: o19" in head.lower()
    assert body == b'{"a":1}'
    protocol.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Type: text/json\r\nContent-Length: 4\r\n\r\nnu")
    assert not got
    protocol.dataReceived(b"ll")
    status, headers, answer = got[0]
    assert (status, headers["content-type"], answer) == (200, "text/json", b"null")


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"


def kept(more=b""):
    """A transport after its first answer, which has the header `more`."""
    reactor = MemoryReactorClock()
    transport = HttpTransport("http://127.0.0.1:8069", reactor)
    got = []
    transport.request("POST", "/json/2/m/f", {}, b"1").addBoth(got.append)
    protocol, wire = connect(reactor)
    protocol.dataReceived(ANSWER + more + b"\r\nnull")
    assert got[0][2] == b"null"
    wire.clear()
    return reactor, transport, protocol, wire


def again(transport, body=b"22"):
    got = []
    transport.request("POST", "/json/2/m/f", {}, body).addBoth(got.append)
    return got


def test_a_connection_that_the_server_keeps_carries_the_next_request():
    reactor, transport, protocol, wire = kept()
    got = again(transport)
    assert len(reactor.tcpClients) == 1
    assert wire.value().endswith(b"\r\n\r\n22")
    protocol.dataReceived(ANSWER + b"\r\ntrue")
    assert got[0][2] == b"true"


def test_a_connection_that_the_server_closes_is_not_used_again():
    reactor, transport, _, wire = kept(b"Connection: close\r\n")
    assert wire.disconnecting
    again(transport)
    assert len(reactor.tcpClients) == 2
    assert not wire.value()


def test_a_kept_connection_that_was_closed_meanwhile_is_not_used():
    reactor, transport, protocol, wire = kept()
    protocol.connectionLost(Failure(error.ConnectionDone()))
    got = again(transport)
    assert len(reactor.tcpClients) == 2
    assert not wire.value()
    protocol, _ = connect(reactor)
    protocol.dataReceived(ANSWER + b"\r\ntrue")
    assert got[0][2] == b"true"


def test_an_idle_connection_is_closed():
    reactor, transport, _, wire = kept()
    reactor.advance(1.1)
    assert wire.disconnecting
    again(transport)
    assert len(reactor.tcpClients) == 2
    assert not wire.value()


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("reason", [error.ConnectionDone(), error.ConnectionLost()])
def test_a_kept_connection_that_closes_under_a_request_leaves_its_outcome_unknown(method, reason):
    reactor, transport, protocol, _ = kept()
    got = []
    transport.request(method, "/json/2/m/f", {}, b"22" if method == "POST" else b"").addBoth(got.append)
    protocol.connectionLost(Failure(reason))
    assert (got[0].value.result, got[0].value.code) == (Result.UNKNOWN, "odoo.disconnected")
    assert len(reactor.tcpClients) == 1  # not sent again by itself


def test_a_late_answer_is_never_taken_for_the_next_request():
    reactor, transport, protocol, wire = kept()
    got = again(transport)
    reactor.advance(101)
    assert got[0].value.code == "odoo.timeout"
    assert wire.disconnecting or wire.disconnected
    third = again(transport, b"333")
    assert len(reactor.tcpClients) == 2
    protocol.dataReceived(ANSWER + b"\r\ntrue")
    assert not third


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
