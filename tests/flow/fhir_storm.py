"""A storm on a FHIR server: what it tells is lost, doubled, late and out of order; it restarts, stands still, refuses;
its clock differs, its event numbers begin again; the engine is killed. After the dust settles Odoo holds what the
server holds, each version was told once, and of each resource in its order.

Run: python tests/flow/fhir_storm.py [--changes 5000] [--patients 200] [--appointments 400] [--first 0] [--seeds 1]
Changes and weather are decided by the seed, and happen on a clock of their own; the server's version ids are not, so a
seed that failed may pass. A line of JSON for each seed; one that fails is named, and the exit status is 1. Merges are
left out: their order over FHIR is not promised (docs/fhir.md).
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from desk import scripted  # noqa: E402
from registering import Clinic  # noqa: E402

from engine.odoo.connection import SANDBOX_FILE  # noqa: E402

Records = dict[Any, list[Any]]
Resource = dict[str, Any] | None
SYSTEM = "urn:rgh"
CONFIG = """
connections:
  ehr: {{fhir: {{base: "http://127.0.0.1:9000/fhir"}}}}
  clinic: {{odoo: {{url: "sandbox:", database: clinic, api_key: sandbox}}}}
channels:
  hook:
    format: fhir
    canonical: {{authorities: {{"urn:rgh": RGH}}, default_duration: 30}}
    listener:
      fhir_subscription:
        port: 8080
        path: /fhir/hook
        connection: ehr
        subscribe: {{url: "http://127.0.0.1:8080/fhir/hook", {what}}}
        catch_up: ["Patient?", "Appointment?"]
    destinations:
      patients:
        odoo: {{connection: clinic, template: patient}}
        on_error: hold_key
        filters: [{{message_type: {{allow: [Patient, Patient.deleted]}}}}]
      appointments:
        odoo: {{connection: clinic, template: appointment}}
        on_error: hold_key
        filters: [{{message_type: {{allow: [Appointment, Appointment.deleted]}}}}]
"""
CRITERIA = 'criteria: ["Patient?", "Appointment?"]'
WHAT = {
    "hapi": CRITERIA,
    "medplum": CRITERIA,
    "topic": "topic: http://example.org/topic/all, heartbeat: 60",
}
DUST = 3 * 3600  # seconds after which everything must have been found, deletions too
BUSY = json.dumps({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "transient"}]})


class Weather:
    """What goes wrong between the server and the engine, while `bad`."""

    def __init__(self, desk: Clinic, rng: random.Random) -> None:
        self.desk, self.rng, self.bad = desk, rng, True
        self.away_until = 0.0  # the server restarts
        self.happened: Counter[str] = Counter()
        self.send = desk.reach
        desk.subscriptions.reach = self.reach
        desk.server.faults = self.faults

    def reach(self, method: str, url: str, headers: list[str], body: bytes, done: Any) -> None:
        """A notification: lost, late (and so overtaken), doubled."""
        if not self.bad:
            return self.send(method, url, headers, body, done)
        rng, clock = self.rng, self.desk.reactor
        if clock.seconds() < self.away_until or rng.random() < 0.1:
            self.happened["lost"] += 1
            return None
        for _ in range(3 if rng.random() < 0.1 else 1):
            late = rng.random() * (60 if rng.random() < 0.1 else 2)
            clock.callLater(late, self.send, method, url, headers, body, done)
        return None

    def faults(self, method: str, target: str) -> Any:
        """A request of the engine."""
        if not self.bad:
            return None
        if self.desk.reactor.seconds() < self.away_until:
            return "drop"
        chance = self.rng.random()
        if chance < 0.03:
            return "drop"
        if chance < 0.06:
            return 503, {"Content-Type": "application/fhir+json", "Retry-After": "2"}, BUSY.encode()
        if chance < 0.09:
            return "drop-after"
        if chance < 0.15:
            return self.rng.random() * 20  # slow
        return None

    def change(self) -> None:
        """Now and then."""
        rng, desk = self.rng, self.desk
        what = rng.choice(["server restarts", "counters begin again", "engine killed", "calm", "calm"])
        self.happened[what] += 1
        if what == "server restarts":
            self.away_until = desk.reactor.seconds() + rng.random() * 300
        elif what == "counters begin again":
            desk.subscriptions.counts.clear()
            desk.subscriptions.sent.clear()
        elif what == "engine killed":
            desk.crash()


class Storm:
    """One seed."""

    def __init__(self, folder: Path, seed: int, patients: int, appointments: int) -> None:
        self.rng = random.Random(seed)
        self.how = self.rng.choice(sorted(WHAT))
        self.skew = timedelta(seconds=self.rng.uniform(-90, 90))
        self.patients, self.appointments = patients, appointments
        self.folder = folder
        self.desk = Clinic(folder, CONFIG.format(what=WHAT[self.how]), self.how, self._prepare)
        self.weather = Weather(self.desk, self.rng)
        self.changes: Counter[str] = Counter()

    def _prepare(self, desk: Clinic) -> None:
        desk.server.now = lambda: desk.time() + self.skew
        desk.server.type_history = self.rng.random() < 0.5
        if self.rng.random() < 0.5:
            desk.subscriptions.keep_events()

    def change(self) -> None:
        """One change on the server."""
        rng, server = self.rng, self.desk.server
        if rng.random() < 0.35:
            id_ = f"p{rng.randrange(self.patients)}"
            now = server.current("Patient", id_)
            if now is not None and rng.random() < 0.05:
                self._remove("Patient", id_)
            else:
                self._put(self._patient(id_))
            return
        id_ = f"a{rng.randrange(self.appointments)}"
        now = server.current("Appointment", id_)
        if now is not None and rng.random() < 0.1:
            self._remove("Appointment", id_)
            return
        present = sorted(server.all("Patient"))
        of = patient_of(now) if now is not None else ""
        if of not in present:
            of = rng.choice(present) if present else ""
        if not of:
            of = "p0"
            self._put(self._patient(of))
        self._put(self._appointment(id_, of))

    def _put(self, resource: dict[str, Any]) -> None:
        _, new = self.desk.server.put(resource)
        self.changes["created" if new else "updated"] += 1

    def _remove(self, kind: str, id_: str) -> None:
        self.desk.server.remove(kind, id_)
        self.changes["deleted"] += 1

    def _patient(self, id_: str) -> dict[str, Any]:
        n = self.rng.randrange(10**6)
        return {
            "resourceType": "Patient", "id": id_, "identifier": [{"system": SYSTEM, "value": id_}],
            "name": [{"family": f"Keller{n}", "given": ["Nora"]}], "active": self.rng.random() < 0.9,
            "telecom": [{"system": "phone", "value": f"+1-555-{n}"}],
        }  # fmt: skip

    def _appointment(self, id_: str, of: str) -> dict[str, Any]:
        start = datetime(2026, 12, 1, 8, tzinfo=UTC) + timedelta(minutes=30 * self.rng.randrange(1000))
        return {
            "resourceType": "Appointment", "id": id_, "identifier": [{"system": SYSTEM, "value": id_}],
            "status": self.rng.choice(["booked", "booked", "pending", "noshow", "cancelled"]),
            "description": f"Visit {id_}", "start": start.isoformat(),
            "end": (start + timedelta(minutes=30)).isoformat(),
            "participant": [{"actor": {"reference": f"Patient/{of}"}, "status": "accepted"}],
        }  # fmt: skip

    def run(self, changes: int) -> dict[str, Any]:
        """Everything; AssertionError when a promise is broken."""
        self.desk.advance(30)
        for number in range(changes):
            self.change()
            if self.rng.random() < 0.3:
                self.desk.advance(self.rng.random() * 10)
            if number % 50 == 49:
                self.weather.change()
        self.weather.bad = False
        for _ in range(DUST // 30):
            self.desk.advance(30)
        self.desk.until(lambda: not self.desk.open()["hook"], 3600, 10)
        self.compare()
        told = self.in_order()
        messages = dict(self.desk.rows("SELECT state, count(*) FROM message GROUP BY 1"))
        return {
            "how": self.how, "changes": dict(self.changes), "weather": dict(self.weather.happened),
            "messages": messages, "versions_told": told,
        }  # fmt: skip

    # What must be so at the end ---------------------------------------------------------------------------

    def odoo(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "data" / SANDBOX_FILE)) as database:
            return database.execute(sql).fetchall()

    def compare(self) -> None:
        """Odoo holds what the server holds."""
        errors = self.desk.rows(
            "SELECT type, control_id, error_code, error_text FROM message WHERE state = 'ERROR'"
        )
        assert not errors, errors[:5]
        failed = self.desk.rows("SELECT destination, state, error_code FROM delivery WHERE state != 'SENT'")
        assert not failed, failed[:5]
        partners, events = self._partners(), self._events()
        wrong = [
            (id_, now, found)
            for kind, held, allowed in (
                ("Patient", partners, self._of_patient),
                ("Appointment", events, self._of_appointment),
            )
            for id_ in self.desk.server.versions.get(kind, {})
            for now, found in [(self.desk.server.current(kind, id_), held.pop(id_, []))]
            if not allowed(id_, now, found)
        ]
        assert not wrong, (len(wrong), wrong[:3])
        assert not partners and not events, (partners, events)

    def _partners(self) -> Records:
        """Name, telephone and whether he is active, of the partners with a number."""
        rows = self.odoo("SELECT ref, name, phone, active FROM res_partner WHERE ref IS NOT NULL")
        return grouped((ref, tuple(rest)) for ref, *rest in rows)

    def _events(self) -> Records:
        """What stands before the title, start, stop, whether it is active, and who comes, of calendar events."""
        people = dict(self.odoo("SELECT id, ref FROM res_partner"))
        guests = grouped(self.odoo("SELECT a, b FROM calendar_event__partner_ids"))
        rows = self.odoo("SELECT id, name, start, stop, active FROM calendar_event")
        found = []
        for number, name, *rest in rows:
            prefix, _, title = name.partition("Visit ")
            who = {people[one] for one in guests.get(number, ())}
            found.append((title.partition(":")[0], (prefix, *rest, who)))
        return grouped(found)

    def _of_patient(self, id_: str, now: Resource, found: list[Any]) -> bool:
        """Whether these partners are what is to be of a Patient."""
        if now is None:
            gone = [active for _, _, active in found]
            return gone in ([], [0])
        return found == [(f"Nora {now['name'][0]['family']}", now["telecom"][0]["value"], int(now["active"]))]

    def _of_appointment(self, id_: str, now: Resource, found: list[Any]) -> bool:
        """Whether these events are what is to be of an Appointment."""
        if now is None or now["status"] == "cancelled":
            return [active for _, _, _, active, _ in found] in ([], [0])
        prefix = {"noshow": "[No-show] ", "pending": "[Pending] "}.get(now["status"], "")
        times = [f"{datetime.fromisoformat(now[name]):%Y-%m-%d %H:%M:%S}" for name in ("start", "end")]
        return found == [(prefix, *times, 1, {patient_of(now)})]

    def in_order(self) -> int:
        """Versions told: each once, and of each resource in the order in which the server made them."""
        place = {
            f"{kind}/{id_}/_history/{one['version']}": ((kind, id_), n)
            for kind in ("Patient", "Appointment")
            for id_, history in self.desk.server.versions.get(kind, {}).items()
            for n, one in enumerate(history)
        }
        told: dict[Any, list[int]] = {}
        for (name,) in self.desk.rows(
            "SELECT control_id FROM message WHERE state = 'TRANSFORMED' ORDER BY id"
        ):
            if name in place:
                resource, n = place[name]
                told.setdefault(resource, []).append(n)
        for resource, numbers in told.items():
            assert numbers == sorted(set(numbers)), (resource, numbers)
        return sum(map(len, told.values()))


def patient_of(appointment: dict[str, Any]) -> str:
    """The id of the patient."""
    return str(appointment["participant"][0]["actor"]["reference"]).removeprefix("Patient/")


def grouped(pairs: Iterable[tuple[Any, Any]]) -> Records:
    """What belongs to each key."""
    found: Records = {}
    for key, one in pairs:
        found.setdefault(key, []).append(one)
    return found


def storm(folder: Path, seed: int, changes: int, patients: int, appointments: int) -> dict[str, Any]:
    """One seed in a folder of its own."""
    with scripted():
        one = Storm(folder, seed, patients, appointments)
        try:
            return one.run(changes)
        finally:
            one.desk.stop()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=5000)
    parser.add_argument("--patients", type=int, default=200)
    parser.add_argument("--appointments", type=int, default=400)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    failed = 0
    for seed in range(given.first, given.first + given.seeds):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                told = storm(Path(folder), seed, given.changes, given.patients, given.appointments)
            except AssertionError as error:
                failed += 1
                told = {"failed": (str(error) or repr(error.__traceback__.tb_lineno))[:2000]}
        print(json.dumps({"seed": seed, **told, "seconds": round(time.monotonic() - began, 1)}), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
