"""What every test here stands on: a stand-in that misbehaves, senders that never give up, and the four promises.

`verify` asserts them, always all four: every message that got an AA is in the store byte for byte; everything is
delivered; Odoo holds exactly the expected records, each once; for each patient the effects in Odoo came in the
order of the ACKs. `ISTHMUS_CHAOS_SECONDS` makes every disturbance last that long.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from engine_process import ROOT, Client, Closed, EngineProcess, adt, free_ports, until, verdict

HERE = Path(__file__).parent
SECONDS = float(os.environ.get("ISTHMUS_CHAOS_SECONDS", "0"))
OPERATIONS = """
          - upsert: res.partner
            key: "patient/{{ msg['PID-3.1'] }}"
            values: {name: "Patient {{ msg['PID-3.1'] }}", ref: "{{ msg['PID-3.1'] }}", phone: "{{ msg['MSH-10'] }}"}
          - upsert: res.partner
            key: "message/{{ msg['MSH-10'] }}"
            values: {name: "{{ msg['MSH-10'] }}", ref: message}
"""
CHANNEL = """
  {name}:
    listener:
      mllp: {{port: {port}}}
    destinations:
      clinic:
        odoo:
          connection: {connection}
          operations: {operations}
        retry: {{initial: 0.1, max: {longest}}}
"""
CONNECTION = """
  {name}:
    odoo: {{url: "http://127.0.0.1:{port}", database: clinic, api_key: "{key}", timeout: {timeout}}}
"""


def seconds(short: float) -> float:
    """How long a disturbance lasts."""
    return SECONDS or short


def configured(
    port: int, odoo: int, *, timeout: float = 2, longest: float = 0.4, key: str = "sandbox"
) -> str:
    """One channel to one Odoo."""
    return (
        f"connections:{CONNECTION.format(name='clinic', port=odoo, key=key, timeout=timeout)}"
        f"channels:{CHANNEL.format(name='in', port=port, connection='clinic', operations=OPERATIONS, longest=longest)}"
    )


class Odoo:
    """The stand-in's process."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_ports()[0]
        self.child: subprocess.Popen | None = None
        self.mode: dict = {}

    def start(self) -> Odoo:
        with (self.folder / "odoo.log").open("ab") as log:
            self.child = subprocess.Popen(
                [sys.executable, str(HERE / "odoo_server.py"), str(self.port), str(self.folder)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=ROOT,
            )
        (self.folder / "applied.json").unlink(missing_ok=True)
        self.be(**self.mode)
        return self

    def be(self, **mode) -> None:
        """Behave so, from now on. Returns when it does."""
        self.mode = mode
        temporary = self.folder / "mode.new"
        temporary.write_text(json.dumps(mode))
        temporary.replace(self.folder / "mode.json")
        applied = self.folder / "applied.json"
        until(lambda: self._alive() and applied.exists() and json.loads(applied.read_text()) == mode)

    def _alive(self) -> bool:
        assert self.child is not None and self.child.poll() is None, (self.folder / "odoo.log").read_text()[
            -3000:
        ]
        return True

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def rows(self, sql: str, *values):
        """Look into its database."""
        db = sqlite3.connect(self.folder / "odoo.db", timeout=10)
        try:
            return db.execute(sql, values).fetchall()
        finally:
            db.close()

    def effects(self) -> dict[str, list[str]]:
        """By patient: the messages in the order in which they took effect."""
        found: dict[str, list[str]] = {}
        for ref, phone in self.rows("SELECT ref, phone FROM effect ORDER BY n"):
            found.setdefault(ref, []).append(phone)
        return found


class Load:
    """Senders that repeat a message until it got its AA. A patient's messages go over one connection, in order."""

    def __init__(
        self, port: int, *, patients: int = 12, connections: int = 4, pace: float = 0.0, prefix: str = "",
        each: int = 0, seed: int = 1, more: str = "", family: str = "Doe", rate: float = 0.0,
    ) -> None:  # fmt: skip
        self.port, self.pace, self.prefix, self.each = port, pace, prefix, each
        self.more, self.family = more, family
        self.interval = connections / rate if rate else 0.0  # seconds between two messages of a connection
        self.patients = [f"{prefix}{n}" for n in range(1, patients + 1)]
        self.connections = connections
        self.seed = seed
        self.acked: dict[str, list[str]] = {patient: [] for patient in self.patients}
        self.raw: dict[str, bytes] = {}
        self.times: list[float] = []  # of each AA
        self.waits: list[float] = []  # seconds of each sending
        self.answers: Counter[str] = Counter()  # everything that was answered, "AR store.full" ...
        self.lost = 0  # connections that ended without an answer
        self.strange: list[bytes] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self) -> Load:
        self._stop.clear()
        self._threads = [
            threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(self.connections)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self, patience: float = 60.0) -> Load:
        """Every sender ends with its next AA."""
        self._stop.set()
        return self.join(patience)

    def join(self, patience: float = 60.0) -> Load:
        until_ = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.1, until_ - time.monotonic()))
            assert not thread.is_alive(), f"a message gets no AA: {self.answers}, lost {self.lost}"
        assert not self.strange, self.strange[:3]
        return self

    def run(self, for_seconds: float) -> Load:
        """Send for some time."""
        self.start()
        time.sleep(for_seconds)
        return self.stop()

    @property
    def count(self) -> int:
        return sum(map(len, self.acked.values()))

    @property
    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def _run(self, number: int) -> None:
        mine = self.patients[number :: self.connections]
        rng = random.Random(self.seed * 1000 + number)
        left = dict.fromkeys(mine, self.each) if self.each else None
        client: Client | None = None
        due = time.monotonic() + self.interval * rng.random()
        while mine and not self._stop.is_set():
            patient = rng.choice(mine)
            if left is not None:
                left[patient] -= 1
                if not left[patient]:
                    mine = [one for one in mine if one != patient]
            control_id = f"{patient}.{len(self.acked[patient]) + 1}"
            raw = adt(control_id, patient, name=f"{self.family}^{rng.randrange(10**9)}", more=self.more)
            self.raw[control_id] = raw
            began = time.monotonic()
            client = self._until_acked(client, raw)
            now = time.monotonic()
            with self._lock:
                self.acked[patient].append(control_id)
                self.times.append(now)
                self.waits.append(now - began)
            if self.pace:
                time.sleep(self.pace)
            if self.interval:
                due = max(due + self.interval, now - 1)  # who fell behind catches up for a second, at most
                time.sleep(max(0.0, due - time.monotonic()))
        if client is not None:
            client.close()

    def _until_acked(self, client: Client | None, raw: bytes) -> Client | None:
        while True:
            try:
                client = client or Client(self.port)
                answer = client.send(raw)
            except (OSError, Closed):
                if client is not None:
                    client.close()
                client = None
                self.lost += 1
                time.sleep(0.05)
                continue
            code, _, _, condition, ours = verdict(answer)
            with self._lock:
                self.answers[f"{code} {ours}".strip()] += 1
            if code == "AA":
                return client
            if (code, condition) != ("AR", "207"):
                self.strange.append(answer)
            time.sleep(0.05)


def drained(engine: EngineProcess, patience: float = 60.0) -> None:
    """Wait until nothing is open."""

    def done() -> bool:
        engine.check()
        return not engine.open()

    until(done, patience, 0.1)


def stored(engine: EngineProcess, *loads: Load) -> None:
    """Promise 1: what was acknowledged is in the store, once, byte for byte."""
    found: dict[str, list[bytes | None]] = {}
    for row in engine.stored():
        assert row.state != "ERROR", row
        found.setdefault(row.control_id, []).append(row.raw)
    for load in loads:
        for ids in load.acked.values():
            for control_id in ids:
                assert found.get(control_id) == [load.raw[control_id]], control_id


def verify(engine: EngineProcess, odoo: Odoo, *loads: Load, patience: float = 60.0) -> None:
    """The four promises, of everything that these loads sent."""
    drained(engine, patience)
    stored(engine, *loads)
    assert {state for (state,) in engine.rows("SELECT DISTINCT state FROM delivery")} <= {"SENT"}
    acked = {patient: ids for load in loads for patient, ids in load.acked.items() if ids}
    everything = sorted(control_id for ids in acked.values() for control_id in ids)
    made = odoo.rows("SELECT ref, name FROM res_partner WHERE ref IS NOT NULL ORDER BY name")
    assert sorted(ref for ref, _ in made if ref != "message") == sorted(acked)
    assert sorted(name for ref, name in made if ref == "message") == everything
    assert odoo.effects() == acked
    assert not engine.faults, engine.faults[:3]


def freeze(engine: EngineProcess, for_seconds: float) -> None:
    """SIGSTOP, a while, SIGCONT."""
    assert engine.child is not None
    engine.child.send_signal(signal.SIGSTOP)
    try:
        time.sleep(for_seconds)
    finally:
        engine.child.send_signal(signal.SIGCONT)
