"""Thousands of messages, an engine that is killed again and again, an Odoo that goes away: nothing lost, none twice.

Run: python tests/crash/endurance.py [--messages 5000] [--patients 500] [--seed 1] [--kills 5]
Against the sandbox (a process of its own, restarted twice), or a real Odoo named by ODOO_URL, ODOO_DB,
ODOO_LOGIN, ODOO_API_KEY; every run has a key prefix of its own there.

The traffic is a function of the seed: ADT and SIU of distinct patients, each patient's messages in a fixed
order, a tenth of them sent again later. What must be in Odoo at the end is known beforehand, value by value.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from engine_process import Client, Closed, EngineProcess, Process, free_ports, until, verdict  # noqa: E402

WORKERS = 8
DUPLICATES = 0.1
SANDBOX = {"ODOO_DB": "clinic", "ODOO_LOGIN": "sandbox", "ODOO_API_KEY": "sandbox"}


class Traffic:
    """Messages for each worker, in order, and what they make: `partners` by ref, `events` by key."""

    def __init__(self, messages: int, patients: int, seed: int, prefix: str) -> None:
        self.rng = random.Random(seed)
        self.prefix = prefix
        self.partners: dict[str, str] = {}  # ref: street
        self.events: dict[str, tuple[str, bool]] = {}  # key: start, active
        self.queues: list[list[tuple[str, bytes]]] = [[] for _ in range(WORKERS)]
        self.distinct: dict[str, bytes] = {}
        self._booked: dict[int, list[str]] = {}
        for number in range(messages):
            patient = number if number < patients else self.rng.randrange(patients)
            queue = self.queues[patient % WORKERS]
            if number >= patients and self.rng.random() < DUPLICATES:
                queue.append(self.rng.choice(queue[-100:]))
                continue
            channel, raw = self._message(patient, number)
            queue.append((channel, raw))
            self.distinct[f"{prefix}-{number}"] = raw
        self.total = messages

    def _message(self, patient: int, number: int) -> tuple[str, bytes]:
        """A message of a patient; the first one registers it."""
        mrn, draw = f"{self.prefix}{patient:04d}", self.rng.random()
        if mrn not in self.partners or draw < 0.4:
            event = "A08" if mrn in self.partners else "A04"
            return "adt", self._text(f"ADT^{event}", mrn, number, f"EVN|{event}|20261122080000\r", "")
        if draw < 0.5:
            visit = f"{self.prefix}V{number}"
            self.events[f"visit/{visit}"] = f"2026-11-22 08:{number % 60:02d}:00", True
            begins = f"2026112208{number % 60:02d}00+0000"
            pv1 = f"PV1|1|I|W1^101^1^RGH{'|' * 16}{visit}{'|' * 25}{begins}\r"
            return "adt", self._text("ADT^A01", mrn, number, "EVN|A01|20261122080000\r", pv1)
        return "siu", self._appointment(patient, mrn, number)

    def _appointment(self, patient: int, mrn: str, number: int) -> bytes:
        booked = self._booked.setdefault(patient, [])
        event = self.rng.choice(["S12", "S13", "S14", "S15"]) if booked else "S12"
        if event == "S12":
            booked.append(f"{mrn}.{len(booked)}")
        name = booked[-1] if event == "S12" else self.rng.choice(booked)
        day, hour, minute = 1 + number % 28, 8 + number % 10, number % 60
        start = f"2026-12-{day:02d} {hour:02d}:{minute:02d}:00"
        key = f"appointment/{name}"
        self.events[key] = (self.events[key][0], False) if event == "S15" else (start, True)
        times = "^".join(f"202612{day:02d}{h:02d}{minute:02d}00+0000" for h in (hour, hour + 1))
        status = "Cancelled" if event == "S15" else "Booked"
        sch = f"SCH|P-{name}^EHR|{name}||||ROUTINE|CHECKUP^Check-up|OFFICE|60|MIN|^^60^{times}{'|' * 14}{status}\r"
        return self._text(f"SIU^{event}", mrn, number, sch, "RGS|1|A\r", told=event != "S15")

    def _text(self, kind: str, mrn: str, number: int, before: str, after: str, told: bool = True) -> bytes:
        if told:  # a cancellation does not change the patient
            self.partners[mrn] = f"{number} Main St"
        return (
            f"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000||{kind}|{self.prefix}-{number}|P|2.5.1\r{before}"
            f"PID|1||{mrn}^^^RGH^MR||{mrn}^Pat||19800101|F|||{number} Main St^^Springfield^^12345\r{after}"
        ).encode()


class Odoo:
    """A JSON-RPC client of the database that the engine writes to."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.parts = urlsplit(environ["ODOO_URL"])
        self.login = environ["ODOO_DB"], environ["ODOO_LOGIN"], environ["ODOO_API_KEY"]
        self.user = self._rpc("common", "login", *self.login)
        assert self.user, "the login was refused"

    def _rpc(self, service: str, method: str, *arguments: object):
        wire = http.client.HTTPConnection(self.parts.hostname, self.parts.port, timeout=120)
        params = {"service": service, "method": method, "args": arguments}
        body = json.dumps({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params})
        try:
            wire.request("POST", "/jsonrpc", body, {"Content-Type": "application/json"})
            answer = json.loads(wire.getresponse().read())
        finally:
            wire.close()
        assert "result" in answer, answer
        return answer["result"]

    def read(self, model: str, domain: list, fields: list[str]) -> list[dict]:
        """All records that fit, archived ones too."""
        options = {"fields": fields, "context": {"active_test": False, "tz": "UTC"}}
        return self.call(model, "search_read", domain, **options)

    def call(self, model: str, method: str, *arguments: object, **options: object):
        """What a method of a model answers."""
        database, _, key = self.login
        return self._rpc("object", "execute_kw", database, self.user, key, model, method, arguments, options)


class Run:
    """One run: engine, workers, kills, and the judgement."""

    def __init__(
        self,
        folder: Path,
        messages: int,
        patients: int,
        seed: int,
        kills: int,
        restarts: int = 2,
        crash_at: str = "",
    ) -> None:
        real = "ODOO_URL" in os.environ
        self.prefix = f"R{int(time.time() * 10) % 10**9:09d}x" if real else "S"
        self.traffic = Traffic(messages, patients, seed, self.prefix)
        self.rng = random.Random(seed + 1)
        self.sandbox: Process | None = None
        if real:
            self.environ = {name: os.environ[name] for name in ("ODOO_URL", "ODOO_DB", "ODOO_API_KEY")}
            self.environ["ODOO_LOGIN"] = os.environ.get("ODOO_LOGIN", "admin")
        else:
            port = free_ports()[0]
            listen = ["--listen", f"127.0.0.1:{port}", "--data", str(folder / "odoo")]
            self.sandbox = Process(["sandbox", *listen], folder / "sandbox.log")
            self.environ = {**SANDBOX, "ODOO_URL": f"http://127.0.0.1:{port}"}
        adt, siu = free_ports(2)
        ports = {"ADT_PORT": str(adt), "SIU_PORT": str(siu), "FHIR_PORT": "0"}
        self.engine = EngineProcess(
            folder, ROOT / "config" / "channels.yaml", environ={**self.environ, **ports}
        )
        self.kills, self.restarts = kills, restarts if self.sandbox else 0
        self.crash_at = crash_at  # a point of engine.store.crashpoints
        self.acknowledged = 0
        self.lost_answers = 0
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()

    def work(self, queue: list[tuple[str, bytes]]) -> None:
        """Send in order; what got no AA is sent again until it gets one."""
        clients: dict[str, Client] = {}
        for channel, raw in queue:
            while not self._over.is_set():
                try:
                    if channel not in clients:
                        clients[channel] = Client(self.engine.ports[channel])
                    answer = verdict(clients[channel].send(raw))
                except (Closed, OSError):
                    with self._lock:
                        self.lost_answers += 1
                    if channel in clients:
                        clients.pop(channel).close()
                    time.sleep(0.05)
                    continue
                with self._lock:
                    self.acknowledged += 1
                    if answer[0] != "AA":
                        self.problems.append(f"answered {answer}")
                break
        for client in clients.values():
            client.close()

    def run(self) -> dict[str, object]:
        """Everything; gives figures. `problems` is empty when all is as it must be."""
        if self.sandbox is not None:
            self.sandbox.spawn()
            until(lambda: "sandbox on http" in self.sandbox.text)
        try:
            self.engine.start(2, **({"ISTHMUS_CRASH_AT": self.crash_at} if self.crash_at else {}))
            begun = time.monotonic()
            workers = [threading.Thread(target=self.work, args=(queue,)) for queue in self.traffic.queues]
            for worker in workers:
                worker.start()
            self._disturb()
            for worker in workers:
                worker.join()
            received = time.monotonic() - begun
            until(lambda: not self.engine.open(), patience=1800, every=0.25)
            delivered = time.monotonic() - begun
            self._judge()
            status = self.engine.terminate()
        finally:
            self._over.set()
            self.engine.kill()
            if self.sandbox is not None:
                self.sandbox.kill()
        if status:
            self.problems.append(f"the engine ended with {status}")
        self.problems += self.engine.faults
        return {
            "prefix": self.prefix,
            "sent": self.traffic.total,
            "acknowledged": self.acknowledged,
            "distinct": len(self.traffic.distinct),
            "kills": self.kills,
            "odoo_restarts": self.restarts,
            "answers_lost_and_sent_again": self.lost_answers,
            "partners": len(self.traffic.partners),
            "events": len(self.traffic.events),
            "received_s": round(received, 1),
            "delivered_s": round(delivered, 1),
            "problems": self.problems,
        }

    def _disturb(self) -> None:
        """Kill the engine, and restart the sandbox, at random moments of the traffic."""
        total = self.traffic.total
        if self.crash_at:
            died = until(self.engine.child.poll)
            if died != -signal.SIGKILL:
                self.problems.append(f"the engine ended with {died}")
            self.engine.start(2)
        acts = ["kill"] * self.kills + ["odoo"] * self.restarts
        self.rng.shuffle(acts)
        moments = sorted(self.rng.randrange(total // 20, total * 19 // 20) for _ in acts)
        for act, moment in zip(acts, moments, strict=True):
            until(lambda moment=moment: self.acknowledged >= moment, patience=600, every=0.005)
            time.sleep(self.rng.random() / 10)
            if act == "kill":
                self.engine.kill()
                self.engine.start(2)
            else:
                self.sandbox.kill()
                time.sleep(self.rng.random())
                self.sandbox.spawn()

    def _judge(self) -> None:
        """The store holds each message once and all is delivered; Odoo holds what the traffic makes, once."""
        traffic, problems = self.traffic, self.problems
        if self.acknowledged != traffic.total:
            problems.append(f"{self.acknowledged} answers to {traffic.total} messages")
        stored: dict[str, bytes] = {}
        for row in self.engine.stored():
            if row.control_id in stored or row.state != "TRANSFORMED":
                problems.append(f"row {row.id}: {row.state}, stored before: {row.control_id in stored}")
            stored[row.control_id] = row.raw
        if stored != traffic.distinct:
            problems.append("the store does not hold exactly what was acknowledged")
        states = self.engine.rows("SELECT state, count(*) FROM delivery GROUP BY state")
        if states != [("SENT", len(traffic.distinct))]:
            problems.append(f"deliveries: {states}")
        odoo = Odoo(self.environ)
        partners = odoo.read("res.partner", [("ref", "=like", f"{self.prefix}%")], ["ref", "street"])
        found = {one["ref"]: one["street"] for one in partners}
        if len(partners) != len(traffic.partners) or found != traffic.partners:
            wrong = [
                f"{ref} has {street}, not {traffic.partners.get(ref)}"
                for ref, street in found.items()
                if traffic.partners.get(ref) != street
            ]
            problems.append(f"partners: {len(partners)} for {len(traffic.partners)}: {'; '.join(wrong)}")
        events = odoo.read("calendar.event", [("name", "like", self.prefix)], ["start", "active"])
        if len(events) != len(traffic.events):
            problems.append(f"events: {len(events)} for {len(traffic.events)}")
        values = {one["id"]: (one["start"], one["active"]) for one in events}
        names = odoo.read(
            "ir.model.data",
            [("module", "=", "isthmus"), ("model", "=", "calendar.event"), ("name", "like", self.prefix)],
            ["name", "res_id"],
        )
        kept = {one["name"]: values.get(one["res_id"]) for one in names}
        for key, expected in traffic.events.items():
            kind, _, name = key.partition("/")
            same = [
                value
                for known, value in kept.items()
                if known.startswith(f"calendar_event.{kind}/") and known.endswith(f"/{name}")
            ]
            if same != [expected]:
                problems.append(f"{kind} is {same}, not {expected}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=5)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="endurance-"))
    told = Run(folder, given.messages, given.patients, given.seed, given.kills).run()
    print(json.dumps(told, indent=1))
    if told["problems"]:
        print(f"kept for a closer look: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if told["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
