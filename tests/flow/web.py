"""Requests to the listeners on HTTP of a desk, and their answers."""

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransportWithDisconnection


def post(desk, body, headers=(), path="/in", method="POST", host="127.0.0.1"):
    """Status, headers and body of the answer to one request."""
    transport = open_connection(desk, host)
    transport.protocol.dataReceived(request(body, headers, path, method))
    desk.settle()
    return answer(transport)


def open_connection(desk, host="127.0.0.1"):
    factory = desk.reactor.tcpServers[-1][1]
    protocol = factory.buildProtocol(IPv4Address("TCP", host, 4711))
    transport = StringTransportWithDisconnection(peerAddress=IPv4Address("TCP", host, 4711))
    transport.protocol = protocol
    protocol.makeConnection(transport)
    return transport


def request(body, headers=(), path="/in", method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answer(transport):
    head, _, body = transport.value().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), found, body
