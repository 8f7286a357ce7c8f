"""The floor: the least that a durable ACK costs with Twisted and SQLite on this machine.

    python -m bench.floor FILE [--port P]

A bare MLLP server: the frame is cut, its bytes are inserted as one row of one table without an index, and when
the commit (WAL, synchronous=FULL, the same page as the engine's) is through, a formatted ACK goes out with a
plain `transport.write`. Grouped as well as the engine groups: INSERT on the loop thread, COMMIT in a thread,
the next commit begun before the ACKs of the last. No duplicate check, no queue, no encryption, no index, no
routing, no state: what the engine does beside it is what it costs. Prints `ready PORT`.
"""

from __future__ import annotations

import argparse
import gc
import sqlite3
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol

reactor: Any = installed
ACK = b"\x0bMSH|^~\\&|ISTHMUS|CLINIC|BENCH|HOSP|20260315||ACK^A01^ACK|%b|P|2.5.1\rMSA|AA|%b\r\x1c\r"


class Journal:
    """Group commit: rows of all connections, one COMMIT at a time."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        self.db.execute("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, raw BLOB NOT NULL)")
        self.queue: list[tuple[Any, bytes, bytes]] = []
        self.committing: list[tuple[Any, bytes, bytes]] = []
        self.scheduled = False
        self.jobs: SimpleQueue[bool] = SimpleQueue()
        Thread(target=self.work, daemon=True).start()

    def add(self, transport: Any, raw: bytes, control_id: bytes) -> None:
        """Store a message and answer it."""
        self.queue.append((transport, raw, control_id))
        if not self.committing and not self.scheduled:
            self.scheduled = True
            reactor.callLater(0, self.turn)

    def turn(self) -> None:
        """Insert what has come, and have it committed."""
        self.scheduled = False
        if self.queue:
            self.committing, self.queue = self.queue, []
            self.db.execute("BEGIN IMMEDIATE")
            self.db.executemany(
                "INSERT INTO message (raw) VALUES (?)", [(raw,) for _, raw, _ in self.committing]
            )
            self.jobs.put(True)

    def work(self) -> None:
        """The commit thread."""
        while self.jobs.get():
            self.db.execute("COMMIT")
            reactor.callFromThread(self.committed)

    def committed(self) -> None:
        """Begin the next commit, then answer."""
        done, self.committing = self.committing, []
        self.turn()
        for transport, _, control_id in done:
            transport.write(ACK % (control_id, control_id))


class Server(Protocol):
    """One connection."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.rest = b""

    def connectionMade(self) -> None:
        """No delay for small answers."""
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Cut frames."""
        *frames, self.rest = (self.rest + data).split(b"\x1c\r")
        for frame in frames:
            raw = frame[1:]
            self.journal.add(self.transport, raw, raw.split(b"|", 10)[9])


class _Factory(Factory):
    noisy = False

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def buildProtocol(self, addr: Any) -> Protocol:
        """A connection of the journal."""
        return Server(self.journal)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description="The floor: a bare durable MLLP server.")
    parser.add_argument("file")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    port = reactor.listenTCP(given.port, _Factory(Journal(given.file)), 512, "127.0.0.1")
    gc.freeze()
    print("ready", port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
