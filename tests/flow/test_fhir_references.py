"""What a resource only refers to is read from its server, and of what was deleted its last version.

Guaranteed here: servers that write `Patient/1` and no more give whole events; nothing outside of the server's base is
ever taken for its own; an outage makes messages wait; without an answer the message is an error and no other record.
"""

import json

import pytest
from desk import scripted
from fhir_desk import CONNECTION, FhirDesk
from web import post

from tests.flow.test_plan import isthmus

CONFIG = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    listener:
      fhir_subscription: {port: 8080, path: /fhir/hook, connection: ehr}
    filters: [{condition: "event.patient.mrn == 'P7'"}]
    destinations: {out: {scripted: {name: out}}}
"""
)
OWN = "http://127.0.0.1:9000/fhir/"


@pytest.fixture
def desk(tmp_path):
    with scripted():
        made = FhirDesk(tmp_path, CONFIG)
        made.server.put(
            {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:m", "value": "P7"}]}
        )
        yield made
        made.stop()


def booked(desk, reference="Patient/1"):
    """The server tells of an appointment."""
    made = desk.server.put({
        "resourceType": "Appointment", "id": "5", "identifier": [{"system": "urn:a", "value": "A1"}],
        "status": "booked", "start": "2026-12-01T10:00:00Z", "end": "2026-12-01T10:30:00Z",
        "participant": [{"actor": {"reference": reference}, "status": "accepted"}],
    })[0]  # fmt: skip
    assert post(desk, json.dumps(made).encode(), path="/fhir/hook")[0] == 200


def deleted(desk, kind, id_):
    desk.server.remove(kind, id_)
    assert post(desk, b"", ["x-trace-id: t"], f"/fhir/hook/{kind}/{id_}", "DELETE")[0] == 200


def rows(desk):
    return desk.rows("SELECT type, state, error_code FROM message ORDER BY id")


@pytest.mark.parametrize("reference", ["Patient/1", f"{OWN}Patient/1", "Patient/1/_history/1"])
def test_the_patient_of_an_appointment_is_read(desk, reference):
    booked(desk, reference)
    assert rows(desk) == [("Appointment", "TRANSFORMED", None)]
    assert desk.server.log == ["GET Patient/1"]  # once, however many steps ask


@pytest.mark.parametrize(
    "reference",
    ["https://other.example/fhir/Patient/1", "http://127.0.0.1:9000/other/Patient/1", "Patient/9"],
)
def test_the_patient_of_another_server_is_not_ours(desk, reference):
    booked(desk, reference)
    assert rows(desk) == [("Appointment", "ERROR", "fhir.unresolved")]
    asked = ["GET Patient/9", "GET Patient/9/_history?_count=5"]
    assert desk.server.log == (asked if reference == "Patient/9" else [])


def test_an_outage_makes_it_wait(desk):
    site = desk.network.sites.pop(9000)
    booked(desk)
    desk.advance(100)
    assert rows(desk) == [("Appointment", "RECEIVED", None)]
    desk.network.sites[9000] = site
    desk.until(lambda: rows(desk) == [("Appointment", "TRANSFORMED", None)])


def test_what_must_not_be_read_is_not_there(desk):
    desk.server.faults = lambda method, path: (403, {}, b"{}")
    booked(desk)
    assert rows(desk) == [("Appointment", "ERROR", "fhir.unresolved")]


@pytest.mark.parametrize("kind", ["Patient", "Appointment"])
def test_the_last_version_tells_which_record_was_deleted(desk, kind):
    booked(desk)
    deleted(desk, kind, "5" if kind == "Appointment" else "1")
    assert rows(desk)[1:] == [(f"{kind}.deleted", "TRANSFORMED", None)]


def test_a_patient_who_is_deleted_too_still_tells_whose_appointment_it_was(desk):
    booked(desk)
    desk.server.remove("Patient", "1")
    deleted(desk, "Appointment", "5")
    assert rows(desk)[1:] == [("Appointment.deleted", "TRANSFORMED", None)]


def test_a_server_without_history_leaves_it_open(desk):
    desk.server.faults = lambda method, path: (404, {}, b"{}") if "_history" in path else None
    deleted(desk, "Patient", "1")
    assert rows(desk) == [("Patient.deleted", "ERROR", "fhir.deleted")]


def test_tools_tell_what_would_be_asked_and_channel_tests_answer_it(tmp_path):
    (tmp_path / "channels.yaml").write_text(CONFIG.partition("    destinations")[0])
    data = {
        "resourceType": "Appointment", "id": "5", "status": "booked", "start": "2026-12-01T10:00:00Z",
        "participant": [{"actor": {"reference": "Patient/1"}}],
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(data))
    done = isthmus("try", "hook", tmp_path / "a.json", "--config", tmp_path / "channels.yaml")
    assert "[lookup.offline]" in done.stdout, done.stdout + done.stderr
    (tmp_path / "tests").mkdir()
    known = {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:m", "value": "P7"}]}
    test = {
        "channel": "hook", "name": "a", "message": json.dumps(data), "lookups": {"ehr": {"Patient/1": known}},
        "expect": {"events": ["appointment.booked"]},
    }  # fmt: skip
    (tmp_path / "tests" / "a.yaml").write_text(json.dumps(test))
    done = isthmus("test", tmp_path / "tests", "--config", tmp_path / "channels.yaml")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
