"""A FHIR server that does a transaction as a batch: each entry is done or refused for itself, under one status 200.

Guaranteed here: what the server refused is never told as delivered; what stood beside it is no second resource, and
comes right when the message is sent again."""

from __future__ import annotations

import pytest
from fhir_desk import CONNECTION, FhirDesk
from test_fhir_destination import book, one, pid, send, states, versions

CONFIG = (
    CONNECTION
    + """
channels:
  adt:
    listener: {mllp: {port: 2575}}
    destinations:
      ehr:
        fhir: {connection: ehr, systems: {RGH: "urn:rgh"}}
        retry: {initial: 1, factor: 2, max: 60, jitter: 0}
"""
)


@pytest.fixture
def desk(tmp_path):
    made = FhirDesk(tmp_path, CONFIG)
    made.server.whole = False
    yield made
    made.stop()


def known(desk, number, **more):
    return desk.server.put(
        {"resourceType": "Patient", "identifier": [{"system": "urn:rgh", "value": number}], **more}
    )[0]


def error(desk):
    ((code, place),) = desk.rows("SELECT error_code, error_place FROM delivery WHERE state = 'ERROR'")
    return code, place


def test_a_change_in_between_is_joined_with(desk):
    there = known(desk, "1")
    looked = []

    def meddle(method, path):
        """Between our look and our write somebody else writes."""
        if desk.server.log[-1:] == ["POST "] and not looked:
            looked.append(1)
            desk.server.put({**there, "photo": [{"title": "x"}]})

    desk.server.faults = meddle
    send(desk, "SIU^S12", *book())
    now = one(desk, "Patient")
    assert looked and now["photo"] and now["name"][0]["family"] == "Keller"
    assert states(desk) == ["SENT"]
    assert {made for place, made in versions(desk).items() if "Patient" not in place} == {1}


def test_a_refusal_is_an_error_and_comes_right_when_it_is_sent_again(desk):
    there = known(desk, "1", gender="odd")
    sent = send(desk, "SIU^S12", *(part.replace("|F|", "||") for part in book()))
    assert states(desk) == ["ERROR"] and error(desk) == ("fhir.invalid", "Patient.gender")
    assert desk.server.all("Appointment")  # done by a server that does half of it
    desk.server.put({**there, "gender": "other"})
    desk.act("resend", sent)
    assert states(desk) == ["SENT"]
    assert one(desk, "Patient")["name"][0]["family"] == "Keller"
    assert one(desk, "Appointment")["participant"][0]["actor"]["reference"] == f"Patient/{there['id']}"
    assert len(desk.server.all("Appointment")) == 1


def test_one_bad_message_of_a_batch_fails_alone(desk):
    known(desk, "2", gender="odd")
    desk.server.faults = lambda method, path: (503, {}, b"")
    for number in ("1", "2", "3"):
        send(desk, "ADT^A28", pid(number).replace("|F|", "||"))
    desk.server.faults = lambda method, path: None
    desk.until(lambda: desk.open()["adt"] == 0)
    assert states(desk) == ["SENT", "ERROR", "SENT"]
    named = [found for found in desk.server.all("Patient").values() if "name" in found]
    assert sorted(found["identifier"][0]["value"] for found in named) == ["1", "3"]
    assert set(versions(desk).values()) == {1}
