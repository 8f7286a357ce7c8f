"""A closed-loop MLLP load generator: each connection sends its next message when the last one is answered.

    python -m bench.load HOST PORT CONNECTIONS MESSAGES [--first N] [--prefix P] [--patients N]

Every answer must be an AA that names the control id which was sent. The last line on standard output is JSON:
rate in messages per second, latencies in milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import select
import socket
import time

from bench.messages import adt


class Load:
    """One run."""

    def __init__(self, host: str, port: int, first: int, count: int, prefix: str, patients: int) -> None:
        self.address = host, port
        self.next = first
        self.end = first + count
        self.prefix = prefix.encode()
        self.patients = patients
        self.latencies: list[float] = []
        self.wrong: list[bytes] = []
        self.lost = 0
        self.waiting: dict[int, tuple[socket.socket, bytes, float]] = {}
        self.epoll = select.epoll()
        self.partial: dict[int, bytes] = {}

    def run(self, connections: int) -> float:
        """Send everything; gives the seconds it took."""
        sockets = [socket.create_connection(self.address) for _ in range(connections)]
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.epoll.register(sock, select.EPOLLIN)
        started = time.perf_counter()
        for sock in sockets:
            self.send(sock)
        while self.waiting:
            ready = self.epoll.poll(30)
            if not ready:
                break
            for fd, _ in ready:
                self.answered(fd)
        self.lost += len(self.waiting)
        took = time.perf_counter() - started
        for sock in sockets:
            sock.close()
        return took

    def send(self, sock: socket.socket) -> None:
        """The next message, if there is one."""
        number = self.next
        if number >= self.end:
            return
        self.next = number + 1
        control_id = b"%b%d" % (self.prefix, number)
        frame = b"\x0b%b\x1c\r" % adt(number, control_id, self.patients)
        self.waiting[sock.fileno()] = sock, control_id, time.perf_counter()
        sock.sendall(frame)

    def answered(self, fd: int) -> None:
        """Read one answer, and go on."""
        sock, control_id, since = self.waiting[fd]
        data = sock.recv(65536)
        if not data:
            self.epoll.unregister(fd)
            del self.waiting[fd]
            self.lost += 1
            return
        data = self.partial.pop(fd, b"") + data
        if not data.endswith(b"\x1c\r"):
            self.partial[fd] = data
            return
        self.latencies.append(time.perf_counter() - since)
        if b"\rMSA|AA|%b\r" % control_id not in data:
            self.wrong.append(data)
        del self.waiting[fd]
        self.send(sock)


def quantile(ordered: list[float], share: float) -> float:
    """Of sorted values; 0 when there are none."""
    return ordered[int((len(ordered) - 1) * share)] if ordered else 0.0


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else "")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("connections", type=int)
    parser.add_argument("messages", type=int)
    parser.add_argument("--first", type=int, default=0, help="number of the first message")
    parser.add_argument("--prefix", default=f"B{time.time_ns() // 1_000_000:x}-", help="of the control ids")
    parser.add_argument("--patients", type=int, default=1_000_000)
    given = parser.parse_args()
    gc.disable()
    load = Load(given.host, given.port, given.first, given.messages, given.prefix, given.patients)
    seconds = load.run(given.connections)
    ordered = sorted(load.latencies)
    result = {
        "connections": given.connections,
        "acked": len(ordered),
        "aa": len(ordered) - len(load.wrong),
        "lost": load.lost,
        "seconds": round(seconds, 3),
        "rate": round(len(ordered) / seconds, 1),
        "p50": round(quantile(ordered, 0.5) * 1e3, 3),
        "p99": round(quantile(ordered, 0.99) * 1e3, 3),
        "max": round(quantile(ordered, 1) * 1e3, 3),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
