"""Who does not come to the end of a request loses the connection, and nobody else does."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import uvicorn

from console import hurry

WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def slowly(scope, receive, send):
    """Answers later than a request may take to come."""
    await asyncio.sleep(hurry.PATIENCE * 4)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def connect(monkeypatch):
    monkeypatch.setattr(hurry, "PATIENCE", 0.3)
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(slowly, http=hurry.Hurried, lifespan="off", log_config=None, timeout_keep_alive=600)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    made = []

    def one(sent: bytes) -> socket.socket:
        made.append(socket.create_connection(bound.getsockname(), timeout=30))
        made[-1].sendall(sent)
        return made[-1]

    yield one
    for each in made:
        each.close()
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
    ],
)
def test_a_request_that_does_not_end_is_closed(connect, part):
    assert connect(part).recv(1) == b""


def test_a_whole_request_is_answered_however_long_it_takes_and_the_next_one_must_end_too(connect):
    one = connect(WHOLE)
    answer = b""
    while not answer.endswith(b"ok"):
        answer += one.recv(4096)
    one.sendall(WHOLE[:9])
    assert one.recv(1) == b""
