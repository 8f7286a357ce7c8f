"""Answers straight to the socket: on a real TCP transport that the test turns by hand."""

import socket

import pytest
from mllp_desk import Desk
from twisted.internet import tcp
from twisted.internet.address import IPv4Address

from engine.hl7.mllp import frame


@pytest.fixture
def pair():
    """A desk whose connection has a real transport, and the client's socket."""
    desk = Desk()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    protocol = desk.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    transport = tcp.Connection(ours, protocol, desk.reactor)
    transport.connected = 1
    transport.startReading()
    protocol.makeConnection(transport)
    with client:
        client.settimeout(5)
        yield desk, protocol, transport, client
    ours.close()


def answer(desk, protocol, data):
    protocol.dataReceived(frame(b"question"))
    desk.channel.got[-1].answer(data)
    desk.turn()


def drain(client):
    client.setblocking(False)
    data = b""
    try:
        while chunk := client.recv(1_000_000):
            data += chunk
    except BlockingIOError:
        return data
    return data


def test_an_answer_needs_no_turn_of_the_reactor(pair):
    desk, protocol, transport, client = pair
    answer(desk, protocol, b"a")
    assert client.recv(100) == frame(b"a")
    assert transport not in desk.reactor.getWriters()


def test_what_the_socket_did_not_take_is_never_overtaken(pair):
    desk, protocol, transport, client = pair
    large = bytes(range(32, 122)) * 200_000
    answer(desk, protocol, large)
    assert transport in desk.reactor.getWriters()
    received = drain(client)
    assert 0 < len(received) < len(large)
    answer(desk, protocol, b"small")  # the socket would take it now
    while transport in desk.reactor.getWriters():
        transport.doWrite()
        received += drain(client)
    assert received == frame(large) + frame(b"small")
    answer(desk, protocol, b"direct again")
    assert transport not in desk.reactor.getWriters()
    client.setblocking(True)
    assert client.recv(100) == frame(b"direct again")


def test_a_full_peer_stops_the_reading_until_it_takes_its_answers(pair):
    desk, protocol, transport, client = pair
    assert transport in desk.reactor.getReaders()
    answer(desk, protocol, b"x" * 20_000_000)
    assert transport not in desk.reactor.getReaders()
    while transport in desk.reactor.getWriters():
        drain(client)
        transport.doWrite()
    assert transport in desk.reactor.getReaders()


def test_an_error_of_the_socket_is_left_to_the_transport(pair):
    desk, protocol, transport, client = pair
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.close()  # a reset
    answer(desk, protocol, b"a")
    assert transport in desk.reactor.getWriters()
    assert isinstance(transport.doWrite(), Exception)  # the reactor then loses the connection
