"""What was only read because another resource refers to it: that it was deleted is found, as of what was told."""

import json

import pytest
from desk import Scripted, scripted
from fhir_desk import CONNECTION, FhirDesk
from web import post

CONFIG = (
    CONNECTION
    + """
channels:
  hook:
    format: fhir
    canonical: {authorities: {"urn:m": M}}
    listener:
      fhir_subscription:
        {port: 8080, path: /fhir/hook, connection: ehr, catch_up: ["Patient?", "Appointment?"]}
    destinations: {out: {scripted: {name: out}}}
"""
)


class Telling(Scripted):
    """Events by type, each with the number of its patient."""

    def render(self, scope):
        return ",".join(f"{event.type} {event.patient.mrn}" for event in scope.events).encode()


@pytest.fixture
def desk_of(tmp_path):
    made = []

    def make(text=CONFIG, history=True):
        desk = FhirDesk(tmp_path, text)
        made.append(desk)
        desk.out = destinations["out"]
        desk.server.type_history = history
        desk.advance(10)  # the first look: what comes after it is told
        return desk

    with scripted() as destinations:
        destinations["out"] = Telling()
        yield make
        for desk in made:
            desk.stop()


def patient(desk, number="7", **more):
    """It is there, and the channel is never told."""
    resource = {
        "resourceType": "Patient",
        "id": number,
        "identifier": [{"system": "urn:m", "value": f"P{number}"}],
    }
    made = desk.server.put(resource | more)[0]
    desk.server.versions["Patient"][number][-1]["resource"]["meta"]["lastUpdated"] = "2001-01-01T00:00:00Z"
    return made


def booked(desk, number="7", id_="1"):
    made = desk.server.put({
        "resourceType": "Appointment", "id": id_, "identifier": [{"system": "urn:a", "value": f"A{id_}"}],
        "status": "booked", "start": "2026-12-01T10:00:00Z", "end": "2026-12-01T10:30:00Z",
        "participant": [{"actor": {"reference": f"Patient/{number}"}, "status": "accepted"}],
    })[0]  # fmt: skip
    assert post(desk, json.dumps(made).encode(), path="/fhir/hook")[0] == 200
    desk.advance(1)


def gone_long_ago(desk):
    """Its deletion is behind the watermark."""
    patient(desk)
    desk.server.remove("Patient", "7")
    patient(desk, "8")
    for number in range(10):
        desk.server.put({"resourceType": "Patient", "id": "9", "multipleBirthInteger": number,
                         "identifier": [{"system": "urn:m", "value": "P9"}]})  # fmt: skip
        desk.advance(400)


def rows(desk):
    return desk.rows("SELECT type, state, error_code FROM message ORDER BY id")


FOUND = [("Appointment", "TRANSFORMED", None), ("Patient.deleted", "TRANSFORMED", None)]


@pytest.mark.parametrize("history", [True, False], ids=["history", "ids are compared"])
@pytest.mark.parametrize("level", ["full", "no-content", "metadata"])
def test_its_deletion_is_found(desk_of, history, level):
    desk = desk_of(CONFIG.replace("    format: fhir\n", f"    format: fhir\n    storage: {level}\n"), history)
    patient(desk)
    booked(desk)
    assert rows(desk) == FOUND[:1]
    desk.advance(400)
    desk.crash()
    desk.advance(400)
    assert rows(desk) == FOUND[:1], "it is there"
    desk.server.remove("Patient", "7")
    desk.until(lambda: len(rows(desk)) > 1, 7300, 10)
    for _ in range(20):
        desk.advance(400)
    assert rows(desk) == FOUND, "it is told once"
    assert desk.out.effects == ["appointment.booked P7", "patient.deleted P7"]


@pytest.mark.parametrize("crash", [False, True])
def test_what_was_gone_before_the_channel_came_to_it(desk_of, crash):
    """Its deletion was told, looked at and left, for nobody knew it; the watermark has passed it long ago."""
    desk = desk_of()
    gone_long_ago(desk)
    before = len(rows(desk))
    booked(desk)
    if crash:
        desk.crash()
    desk.advance(400)
    found = [row for row in rows(desk)[before:] if row[0] != "Patient"]
    assert found == FOUND
    assert desk.out.effects[-1] == "patient.deleted P7"


def test_a_server_that_is_down_is_asked_again_whether_it_is_there(desk_of):
    desk = desk_of()
    gone_long_ago(desk)
    desk.server.faults = lambda method, path: "drop" if "_id=" in path else None
    booked(desk)
    desk.advance(400)
    assert rows(desk)[-1:] == FOUND[:1]
    desk.server.faults = lambda method, path: None
    desk.until(lambda: rows(desk)[-2:] == FOUND)
    assert desk.rows("SELECT count(*) FROM snapshot WHERE message_id < 0") == [(0,)]


def test_many_are_asked_for_together(desk_of):
    desk = desk_of()
    for number in range(60):
        patient(desk, str(number))
        booked(desk, str(number), str(number))
    del desk.server.log[:]
    desk.advance(400)
    asked = [line for line in desk.server.log if "_id=" in line]
    assert len(asked) == 2
    desk.advance(400)
    assert [line for line in desk.server.log if "_id=" in line] == asked, "once each"


def test_its_own_state_is_still_unknown(desk_of):
    """The version that was read is news when it is told."""
    desk = desk_of()
    made = patient(desk)
    booked(desk)
    assert post(desk, json.dumps(made).encode(), path="/fhir/hook")[0] == 200
    desk.advance(1)
    assert desk.out.effects == ["appointment.booked P7", "patient.registered P7"]
    desk.server.remove("Patient", "7")
    desk.advance(700)
    assert desk.out.effects[2:] == ["patient.deleted P7"]


def test_types_that_are_not_searched_are_left_alone(desk_of):
    desk = desk_of(CONFIG.replace('"Patient?", ', ""))
    patient(desk)
    booked(desk)
    desk.server.remove("Patient", "7")
    for _ in range(10):
        desk.advance(400)
    assert rows(desk) == FOUND[:1]
    assert desk.rows("SELECT count(*) FROM snapshot") == [(1,)]


def test_what_is_remembered_is_put_under_a_new_key_and_tells_nobody(desk_of):
    desk = desk_of()
    patient(desk, "secret-id")
    booked(desk, "secret-id")
    assert desk.rows("SELECT count(*) FROM snapshot") == [(2,)]
    for digest, data in desk.rows("SELECT digest, data FROM snapshot"):
        assert b"secret-id" not in digest + data


def test_messages_are_received_at_the_time_of_the_engine(desk_of):
    desk = desk_of()
    patient(desk)
    desk.advance(5000)
    booked(desk)
    (at,) = desk.rows("SELECT received_at FROM message")[0]
    assert 0 <= desk.now() - at <= 2_000_000
