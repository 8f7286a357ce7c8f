"""How fast the store is, beside a bare sqlite3 loop in the same run: read the ratios, not the figures.

    python bench/store.py [--json] [--seconds S]

`c1` submits encrypted messages of 1 KB, N at once, and counts those whose `done` was called; `bare` inserts 1 KB
blobs and commits every N, WAL and FULL like the store. `cpu_us` is CPU time per message within a transaction.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from twisted.internet import reactor

from engine.security.keyring import Keyring
from engine.store import deliveries, maintenance, messages
from engine.store.store import open_store

BATCHES = (1, 8, 32, 128)
SEGMENT = "OBX|%d|NM|%d^RESULT %d^LN||%d|mg/dL|70-105|N|||F|||202601011200\r"


def adt(n: int) -> bytes:
    """About 1 KB, different in every number as real messages are."""
    head = (
        f"MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|20260101{n % 240000:06}||ADT^A01|{n:010}|P|2.5.1\r"
        f"PID|1||{n * 7919 % 9999991}^^^HOSP^MR||LAST{n * 31 % 99991}^FIRST{n * 17 % 7919}||"
        f"19{n % 90:02}0101|F|||{n * 3 % 9973} MAIN ST^^TOWN{n % 97}^CA^{n * 13 % 99999:05}||(555)555-{n % 10000:04}\r"
    )
    return (head + "".join(SEGMENT % (i, n * i % 9973, n % 89, n * i % 300) for i in range(1, 12))).encode()[
        :1024
    ]


PREPARED = [adt(n) for n in range(2000)]  # the sender's work is not the store's
ACK = adt(1)[:90]


def bare(folder: Path, batch: int, seconds: float) -> float:
    db = sqlite3.connect(folder / f"bare{batch}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, data BLOB)")
    body, rows, end = adt(1), 0, time.perf_counter() + seconds
    started = time.perf_counter()
    while time.perf_counter() < end:
        db.execute("BEGIN IMMEDIATE")
        for _ in range(batch):
            db.execute("INSERT INTO t (data) VALUES (?)", (body,))
        db.execute("COMMIT")
        rows += batch
    rate = rows / (time.perf_counter() - started)
    db.close()
    return rate


class Load:
    """Keeps `at_once` messages in flight for a while and collects how long each took."""

    def __init__(self, writer, at_once: int, seconds: float, first: int, then) -> None:
        self.writer, self.then = writer, then
        self.number, self.flying = first, at_once
        self.times: list[float] = []
        self.started = time.perf_counter()
        self.end = self.started + seconds
        for _ in range(at_once):
            self.one()

    def one(self) -> None:
        self.number += 1
        n, begun = self.number, time.perf_counter()
        raw = PREPARED[n % len(PREPARED)]
        new = messages.NewMessage(
            "adt", raw, n, str(n), "ADT^A01", "EHR|HOSP", "10.0.0.1", n, mrn=str(n), ack=ACK
        )

        def done(result, error) -> None:
            assert error is None, error
            now = time.perf_counter()
            self.times.append(now - begun)
            if now < self.end:
                self.one()
                return
            self.flying -= 1
            if not self.flying:
                self.then(self, len(self.times) / (now - self.started))

        self.writer.submit(lambda tx: messages.receive(tx, new), done)


def cpu(folder: Path, rounds: int = 2000) -> dict[str, float]:
    """CPU microseconds of C1, C2, C3 a message, and bytes a stored 1 KB message with its ACK."""
    store = open_store(folder / "cpu", Keyring.generate())
    tx = store._writing
    news = [
        messages.NewMessage(
            "adt", adt(n), n, str(n), "ADT^A01", "EHR|HOSP", "10.0.0.1", n, mrn=str(n), ack=adt(n)[:90]
        )
        for n in range(1, rounds + 1)
    ]
    payload = (
        b'{"op":"upsert","model":"res.partner","key":"patient/%d","values":{"name":"LAST%d","phone":"5%d"}}'
    )
    routed = [
        messages.Routed(n, "TRANSFORMED", n, [messages.NewDelivery("odoo", payload % (n, n, n))])
        for n in range(1, rounds + 1)
    ]
    sent = [
        deliveries.Delivered(
            n, "odoo", "SENT", n, record="res.partner,1", request=payload % (n, n, n), response=b"[1]"
        )
        for n in range(1, rounds + 1)
    ]
    figures = {}
    for name, act, items in (
        ("c1", messages.receive, news), ("c2", messages.route, routed), ("c3", deliveries.deliver, sent)
    ):  # fmt: skip
        used = 0.0
        for start in range(0, rounds, 100):
            tx.execute("BEGIN IMMEDIATE")
            begun = time.thread_time()
            for item in items[start : start + 100]:
                act(tx, item)
            tx.flush()
            used += time.thread_time() - begun
            tx.execute("COMMIT")
        figures[f"{name}_cpu_us"] = round(used / rounds * 1e6, 1)
    sizes = (
        "SELECT avg(length(data)) FROM (SELECT data FROM body WHERE id % 16 = 0 ORDER BY id DESC LIMIT 200)"
    )
    figures["body_bytes"] = round(tx.execute(sizes).fetchone()[0])
    begun = time.perf_counter()
    trained = maintenance.train(store.reader, "adt")
    figures["train_ms"] = round((time.perf_counter() - begun) * 1e3)
    if trained is not None:
        store.writer.call(lambda tx: maintenance.save_dictionary(tx, trained))
        store.use_dictionaries()
        begun = time.thread_time()
        for n in range(rounds + 1, rounds + 201):
            store.writer.call(
                lambda tx, n=n: messages.receive(tx, messages.NewMessage("adt", adt(n), n, ack=adt(n)[:90]))
            )
        figures["body_bytes_dictionary"] = round(tx.execute(sizes).fetchone()[0])
    figures["raw_bytes"] = len(adt(1)) + 90
    store.close()
    return figures


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--seconds", type=float, default=1.0)
    arguments.add_argument("--inline", type=int, default=None)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        figures = cpu(folder)
        options = {} if given.inline is None else {"inline": given.inline}
        store = open_store(folder / "load", Keyring.generate(), reactor=reactor, **options)
        left = list(BATCHES)
        floors: dict[int, float] = {}

        def step(number: int = 0) -> None:
            if not left:
                store.close().addCallback(lambda _: reactor.stop())
                return
            batch = left.pop(0)
            floors[batch] = bare(folder, batch, given.seconds / 2)
            Load(store.writer, batch, given.seconds, number, lambda load, rate: finished(batch, load, rate))

        def finished(batch: int, load: Load, rate: float) -> None:
            floor = (floors[batch] + bare(folder, batch, given.seconds / 2)) / 2
            times = sorted(load.times)
            figures[f"batch_{batch}"] = {
                "bare_per_s": round(floor),
                "c1_per_s": round(rate),
                "ratio": round(rate / floor, 2),
                "p50_ms": round(times[len(times) // 2] * 1e3, 2),
                "p99_ms": round(times[len(times) * 99 // 100] * 1e3, 2),
                "max_ms": round(times[-1] * 1e3, 1),
            }
            step(load.number)

        reactor.callWhenRunning(step)
        reactor.run()
    if given.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
