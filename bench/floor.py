"""The floor: the least that a durable ACK costs with Twisted and SQLite on this machine.

    python -m bench.floor FILE [--port P]

A bare MLLP server: the frame is cut, its bytes are inserted as one row of one table without an index, and when
the commit (WAL, synchronous=FULL, the same page as the engine's) is through, a formatted ACK goes out with a
plain `transport.write`. Grouped as well as the engine groups: INSERT on the loop thread, COMMIT in a thread,
the next commit begun before the ACKs of the last. No duplicate check, no queue, no encryption, no index, no
routing, no state: what the engine does beside it is what it costs. Prints `ready PORT`.

With `--same-rows` the insert is the engine's own: a row of `message` and one of `body` in the engine's schema, with
its indexes, the bytes as they came. What is between the two floors is what the engine keeps of a message; what is
between this one and the engine is what it does with it.
"""

from __future__ import annotations

import argparse
import gc
import sqlite3
import time
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol

SCHEMA = Path(__file__).resolve().parents[1] / "engine/store/sql/schema.sql"
reactor: Any = installed
ACK = b"\x0bMSH|^~\\&|ISTHMUS|CLINIC|BENCH|HOSP|20260315||ACK^A01^ACK|%b|P|2.5.1\rMSA|AA|%b\r\x1c\r"


class Journal:
    """Group commit: rows of all connections, one COMMIT at a time."""

    def __init__(self, path: str, same_rows: bool = False) -> None:
        self.insert = self.engine_rows if same_rows else self.one_row
        self.last = 0
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=FULL")
        if same_rows:
            self.db.executescript(SCHEMA.read_text("utf-8"))
        else:
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
            self.insert()
            self.jobs.put(True)

    def one_row(self) -> None:
        """The bytes, and nothing else."""
        rows = [(raw,) for _, raw, _ in self.committing]
        self.db.executemany("INSERT INTO message (raw) VALUES (?)", rows)

    def engine_rows(self) -> None:
        """What the engine keeps at C1; values that it would work out are made up."""
        at = time.time_ns() // 1000
        rows, bodies = [], []
        for _, raw, control_id in self.committing:
            self.last += 1
            number = hash(control_id)
            rows.append(
                (self.last, at, at, control_id.decode(), "BENCH|HOSP", control_id.ljust(16)[-16:], len(raw),
                 number, number, number)
            )  # fmt: skip
            bodies.append((self.last << 12, raw))
        self.db.executemany(
            "INSERT INTO message (id, channel, state, received_at, routed_at, control_id, type, sender, peer,"
            " digest, size, ordering_key, mrn, visit, ack) VALUES (?, 'bench', 'TRANSFORMED', ?, ?, ?,"
            " 'ADT^A01', ?, '127.0.0.1:1', ?, ?, ?, ?, ?, 'AA')",
            rows,
        )
        self.db.executemany("INSERT INTO body (id, data) VALUES (?, ?)", bodies)

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
    parser.add_argument("--same-rows", action="store_true", help="the rows that the engine writes at C1")
    given = parser.parse_args()
    journal = Journal(given.file, given.same_rows)
    port = reactor.listenTCP(given.port, _Factory(journal), 512, "127.0.0.1")
    gc.freeze()
    print("ready", port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
