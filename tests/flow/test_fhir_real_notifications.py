"""A real FHIR server tells the engine of its changes, and Odoo has them: registration, notifications, outages.

Only where FHIR_BASE_URL names a server that sends rest-hooks to this machine (FHIR_AUTH is the `auth` of a
connection, in YAML; it must let Subscriptions be written). Guaranteed here: one Subscription for each of the
`criteria`, the same ones after a crash; every version is one message; what the server has is in Odoo, what it moved
is moved, what it cancelled or deleted is archived; changes made while the engine is down are there afterwards; what
the engine wrote itself does not come back."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing

import pytest

from engine.odoo.connection import SANDBOX_FILE
from tests.engine_process import EngineProcess, free_ports, until
from tests.flow.real_fhir import AUTH, BASE, RUN, SYSTEM, RealServer, appointment, patient

pytestmark = pytest.mark.skipif(not BASE, reason="FHIR_BASE_URL names no server")
PATIENCE = 90.0  # seconds
OUTAGE = float(os.environ.get("FHIR_OUTAGE", "60"))  # seconds; Medplum tries for 15.5
CONFIG = """
connections:
  ehr: {{fhir: {{base: "{base}"{auth}}}}}
  clinic: {{odoo: {{url: "sandbox:", database: clinic, api_key: sandbox}}}}
channels:
  hook:
    format: {{fhir: {{version: R4}}}}
    canonical: {{authorities: {{"{system}": RGH}}, default_duration: 30}}
    listener:
      fhir_subscription:
        port: {port}
        path: /fhir/hook
        connection: ehr
        token: token-of-{run}-{run}
        signature: signature-of-{run}-{run}
        subscribe:
          url: "http://127.0.0.1:{port}/fhir/hook"
          criteria: ["Patient?_tag=urn:isthmus:test|{run}", "Appointment?_tag=urn:isthmus:test|{run}"]
    destinations:
      patients:
        odoo: {{connection: clinic, template: patient}}
        filters: [{{message_type: {{allow: [Patient, Patient.deleted]}}}}]
      appointments:
        odoo: {{connection: clinic, template: appointment}}
        filters: [{{message_type: {{allow: [Appointment, Appointment.deleted]}}}}]
  adt:
    listener: {{mllp: {{port: {other}}}}}
    destinations:
      ehr:
        fhir: {{connection: ehr, systems: {{RGH: "{system}"}}}}
        retry: {{initial: 1, max: 2, jitter: 0}}
"""


@pytest.fixture(scope="module")
def server():
    made = RealServer(BASE)
    yield made
    made.close()


class Clinic(EngineProcess):
    """An engine beside the server, and the sandbox that it writes to."""

    def __init__(self, folder, server):
        port, other = free_ports(2)
        self.server = server
        self.url = f"http://127.0.0.1:{port}/fhir/hook"
        auth = f", auth: {AUTH}" if AUTH else ""
        super().__init__(
            folder, CONFIG.format(base=BASE, auth=auth, port=port, other=other, run=RUN, system=SYSTEM)
        )

    def begin(self):
        """Start, and wait until the server will tell of changes."""
        self.start(2)
        until(lambda: [one["status"] for one in self.subscriptions()] == ["active"] * 2, PATIENCE)

    def subscriptions(self):
        return sorted(self.server.search(f"Subscription?url={self.url}"), key=lambda one: one["id"])

    def odoo(self, sql, *values):
        with closing(sqlite3.connect(self.data / SANDBOX_FILE)) as database:
            return database.execute(sql, values).fetchall()

    def partner(self, key):
        """Name and whether he is active, of the partner with this record number; None without one."""
        found = self.odoo("SELECT name, active FROM res_partner WHERE ref = ?", key)
        return found[0] if len(found) == 1 else None

    def event(self, key):
        """Start and whether it is active, of the event of this appointment."""
        found = self.odoo("SELECT start, active FROM calendar_event WHERE name LIKE ?", f"%Check-up {key}:%")
        return found[0] if len(found) == 1 else None

    def becomes(self, what, expected, *of):
        until(lambda: what(*of) == expected and self.open() == 0, PATIENCE, 0.1)

    def told(self, resource):
        """The messages of a resource: type, version and state, in order."""
        name = f"{resource['resourceType']}/{resource['id']}/"
        found = self.rows("SELECT type, control_id, state FROM message ORDER BY id")
        return [
            (type_, control_id.removeprefix(name), state)
            for type_, control_id, state in found
            if control_id.startswith(name)
        ]


@pytest.fixture(scope="module")
def clinic(tmp_path_factory, server):
    made = Clinic(tmp_path_factory.mktemp("clinic"), server)
    made.begin()
    yield made
    if made.child is not None:
        made.terminate()
    for one in made.subscriptions():
        server.delete(one)
    assert not made.faults
    assert made.rows("SELECT type, error_code, error_place FROM message WHERE state = 'ERROR'") == []


def version(resource, state="TRANSFORMED"):
    return (resource["resourceType"], f"_history/{resource['meta']['versionId']}", state)


def test_it_registers_once_and_finds_its_own_again(clinic):
    before = clinic.subscriptions()
    assert [one["criteria"].partition("?")[0] for one in before] in (
        ["Appointment", "Patient"], ["Patient", "Appointment"],
    )  # fmt: skip
    clinic.kill()
    clinic.begin()
    clinic.becomes(lambda: clinic.text.count("fhir.subscription.active"), 4)
    after = clinic.subscriptions()
    assert [one["id"] for one in after] == [one["id"] for one in before]


def test_created_moved_cancelled_and_deleted(clinic, server):
    nora = server.write(patient("N1"))
    booked = server.write(appointment("A1", f"Patient/{nora['id']}"))
    clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 1), "A1")
    assert clinic.partner("N1") == ("Nora Keller", 1)
    moved = server.write({**booked, "start": "2026-12-01T11:00:00Z", "end": "2026-12-01T11:30:00Z"})
    clinic.becomes(clinic.event, ("2026-12-01 11:00:00", 1), "A1")
    married = server.write({**nora, "name": [{"family": "Boyd", "given": ["Nora"]}]})
    clinic.becomes(clinic.partner, ("Nora Boyd", 1), "N1")
    cancelled = server.write({**moved, "status": "cancelled"})
    clinic.becomes(clinic.event, ("2026-12-01 11:00:00", 0), "A1")
    server.write(cancelled)  # changes nothing
    server.delete(cancelled)
    server.delete(married)
    clinic.becomes(clinic.partner, ("Nora Boyd", 0), "N1")
    assert clinic.told(nora)[:2] == [version(nora), version(married)]
    assert clinic.told(booked)[:3] == [version(booked), version(moved), version(cancelled)]
    for gone in (nora, booked):
        (deletion,) = [one for one in clinic.told(gone) if "deleted" in one[1]]
        assert deletion[0] == f"{gone['resourceType']}.deleted" and deletion[2] == "TRANSFORMED"


def test_what_one_transaction_writes(clinic, server):
    entries = [patient("N2"), appointment("A2", "urn:uuid:0d7a3a3e-8a6b-4b52-9a43-0f8f5b3f7c01")]
    bundle = {
        "resourceType": "Bundle", "type": "transaction",
        "entry": [
            {"fullUrl": url, "resource": one, "request": {"method": "POST", "url": one["resourceType"]}}
            for url, one in zip(["urn:uuid:0d7a3a3e-8a6b-4b52-9a43-0f8f5b3f7c01", ""], entries, strict=True)
        ],
    }  # fmt: skip
    del bundle["entry"][1]["fullUrl"]
    assert server.ask("POST", "", bundle).status == 200
    clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 1), "A2")
    assert clinic.partner("N2") == ("Nora Keller", 1)


def test_changes_while_the_engine_is_down(clinic, server):
    nora = server.write(patient("N3"))
    booked = [server.write(appointment(f"A3{one}", f"Patient/{nora['id']}")) for one in "abc"]
    for one in "abc":
        clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 1), f"A3{one}")
    clinic.kill()
    server.write({**nora, "name": [{"family": "Boyd", "given": ["Nora"]}]})
    moved = server.write({**booked[0], "start": "2026-12-01T14:00:00Z", "end": "2026-12-01T14:30:00Z"})
    server.write({**moved, "start": "2026-12-01T15:00:00Z", "end": "2026-12-01T15:30:00Z"})
    server.write({**booked[1], "status": "cancelled"})
    server.delete(booked[2])
    new = server.write(patient("N4", name=[{"family": "Abara", "given": ["Chidi"]}]))
    server.write(appointment("A4", f"Patient/{new['id']}", 16))
    clinic.begin()
    clinic.becomes(clinic.partner, ("Nora Boyd", 1), "N3")
    clinic.becomes(clinic.event, ("2026-12-01 15:00:00", 1), "A3a")
    clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 0), "A3b")
    clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 0), "A3c")
    clinic.becomes(clinic.partner, ("Chidi Abara", 1), "N4")
    clinic.becomes(clinic.event, ("2026-12-01 16:00:00", 1), "A4")


@pytest.mark.timeout(OUTAGE + 4 * PATIENCE)
def test_changes_of_a_whole_minute_without_an_engine(clinic, server):
    """The server gives up to tell of the first ones meanwhile."""
    nora = server.write(patient("N7"))
    moved, cancelled, deleted = (
        server.write(appointment(key, f"Patient/{nora['id']}")) for key in ("A7a", "A7b", "A7c")
    )
    for key in ("A7a", "A7b", "A7c"):
        clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 1), key)
    assert clinic.terminate() == 0
    hours = range(11, 18)
    for hour in hours:
        nora = server.write({**nora, "name": [{"family": f"Boyd{hour}", "given": ["Nora"]}]})
        at = {"start": f"2026-12-01T{hour}:00:00Z", "end": f"2026-12-01T{hour}:30:00Z"}
        moved = server.write({**moved, **at})
        new = server.write(patient(f"N8{hour}", name=[{"family": "Abara", "given": ["Chidi"]}]))
        server.write(appointment(f"A8{hour}", f"Patient/{new['id']}", hour))
        if hour == hours[2]:
            server.write({**cancelled, "status": "cancelled"})
            server.delete(deleted)
        time.sleep(OUTAGE / len(hours))
    clinic.begin()
    clinic.becomes(clinic.partner, ("Nora Boyd17", 1), "N7")
    clinic.becomes(clinic.event, ("2026-12-01 17:00:00", 1), "A7a")
    for key in ("A7b", "A7c"):
        clinic.becomes(clinic.event, ("2026-12-01 10:00:00", 0), key)
    for hour in hours:
        clinic.becomes(clinic.event, (f"2026-12-01 {hour}:00:00", 1), f"A8{hour}")
        assert clinic.partner(f"N8{hour}") == ("Chidi Abara", 1)


def test_what_the_engine_wrote_does_not_come_back(clinic, server):
    message = (
        "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||ADT^A31|{}|P|2.5.1\rPID|1||N5^^^RGH^MR||{}||\r"
    )
    nora = server.write(patient("N5"))
    clinic.becomes(clinic.partner, ("Nora Keller", 1), "N5")
    for number, name in enumerate(("Keller-Boyd^Nora", "Boyd^Nora")):
        assert b"MSA|AA|" in clinic.send(message.format(f"{RUN}{number}", name).encode(), "adt")
        until(lambda: clinic.open() == 0, PATIENCE)
    until(lambda: len(clinic.told(nora)) == 3, PATIENCE)
    assert [state for _, _, state in clinic.told(nora)] == ["TRANSFORMED", "FILTERED", "FILTERED"]
    (there,) = server.search(f"Patient?identifier={SYSTEM}|N5")
    assert there["name"][0]["family"] == "Boyd"
    server.write({**there, "name": [{"family": "Weiss", "given": ["Nora"]}]})
    clinic.becomes(clinic.partner, ("Nora Weiss", 1), "N5")


def test_many_changes_at_once_end_as_the_server_has_them(clinic, server):
    """The server sends them side by side: they arrive in any order."""
    people = {key: server.write(patient(key)) for key in (f"N6{number}" for number in range(4))}
    last = {}
    for step in range(15):
        for key, found in people.items():
            last[key] = f"{key} Step{step}"
            people[key] = server.write({**found, "name": [{"text": last[key]}]})
    until(
        lambda: all(len(clinic.told(one)) == 16 for one in people.values()) and clinic.open() == 0, PATIENCE
    )
    assert {key: clinic.partner(key)[0] for key in people} == last
