"""Active and inactive patients of a FHIR server, through the shipped template into the Odoo stand-in: archived with
what they say, back with what they say, and nothing else decides it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from desk import Desk, Sent
from web import post

from engine.model import Meta, Scope
from engine.odoo.connection import SANDBOX_FILE
from engine.spec.component import BuildContext
from engine.spec.template import compile_template
from transforms.canonical.from_fhir import interpret

CONFIG = """
connections:
  clinic: {{odoo: {{url: "sandbox:", database: clinic, api_key: sandbox}}}}
channels:
  adt:
    listener: {{mllp: {{port: 2575}}}}
    destinations: {{odoo: {{odoo: {{connection: clinic, template: patient}}}}}}
  fhir:
    format: fhir
    canonical: {{{canonical}}}
    listener: {{fhir_subscription: {{port: 2577, path: /fhir/hook}}}}
    destinations: {{odoo: {{odoo: {{connection: clinic, template: patient}}}}}}
"""
KNOWN = 'authorities: {"urn:rgh": RGH}'
BY_ID = "identity: resource, default_authority: ehr"


@pytest.fixture
def desk(tmp_path, request):
    made = Desk(tmp_path, CONFIG.format(canonical=getattr(request, "param", KNOWN)))
    yield made
    made.stop()


class Versions:
    last = 0


def tell(desk, number="1", **more):
    """A notification of a Patient."""
    Versions.last += 1
    patient = {
        "resourceType": "Patient", "id": f"p{number}", "meta": {"versionId": str(Versions.last)},
        "name": [{"family": f"Keller {number}"}], "identifier": [{"system": "urn:rgh", "value": number}], **more,
    }  # fmt: skip
    assert post(desk, json.dumps(patient).encode(), path="/fhir/hook")[0] == 200
    settled(desk)


def delete(desk, number="1"):
    assert post(desk, b"", path=f"/fhir/hook/Patient/p{number}", method="DELETE")[0] == 200
    settled(desk)


def hl7(desk, text):
    desk.engine.channels["adt"].receive(Sent(text.encode(), desk.now()))


def settled(desk):
    for _ in range(200):
        desk.advance(0.1)
        if not any(desk.open().values()):
            break
    states = {state for (state,) in desk.rows("SELECT state FROM delivery")}
    assert states <= {"SENT"}, desk.rows("SELECT error_code, error_text FROM delivery WHERE state <> 'SENT'")


def partners(desk):
    """Who is active, by reference."""
    with closing(sqlite3.connect(desk.folder / "data" / SANDBOX_FILE)) as odoo:
        return dict(odoo.execute("SELECT ref, active FROM res_partner WHERE ref IS NOT NULL"))


def archive_by_hand(desk):
    with closing(sqlite3.connect(desk.folder / "data" / SANDBOX_FILE)) as odoo:
        odoo.execute("UPDATE res_partner SET active = 0 WHERE ref IS NOT NULL")
        odoo.commit()


def test_who_is_inactive_is_archived_and_comes_back(desk):
    tell(desk)
    assert partners(desk) == {"1": 1}
    tell(desk, active=False)
    assert partners(desk) == {"1": 0}
    tell(desk, active=True)
    assert partners(desk) == {"1": 1}
    tell(desk, active=False, gender="female")
    assert partners(desk) == {"1": 0}
    tell(desk)  # FHIR: one that does not say so is active
    assert partners(desk) == {"1": 1}


@pytest.mark.parametrize("desk", [f"{KNOWN}, absent: leave"], indirect=True)
def test_with_absent_leave_only_what_is_said_counts(desk):
    tell(desk, active=False)
    tell(desk, gender="female")
    assert partners(desk) == {"1": 0}


def test_hl7_does_not_tell(desk):
    tell(desk, active=False)
    text = "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||ADT^A08|M1|P|2.5.1\rPID|1||1^^^RGH^MR||Boyd^Nora\r"
    hl7(desk, text)
    settled(desk)
    assert partners(desk) == {"1": 0}
    tell(desk)
    archive_by_hand(desk)
    hl7(desk, text.replace("M1", "M2").replace("Boyd", "Moreau"))
    settled(desk)
    assert partners(desk) == {"1": 0}


@pytest.mark.parametrize("desk", [BY_ID], indirect=True)
def test_who_was_deleted_comes_back_when_made_again(desk):
    tell(desk)
    delete(desk)
    assert partners(desk) == {"p1": 0}
    tell(desk)
    assert partners(desk) == {"p1": 1}


def test_the_survivor_of_a_merge_is_not_archived_with_the_retired(desk):
    tell(desk, "1")
    tell(desk, "2")
    other = {
        "reference": "Patient/p1",
        "identifier": {"system": "urn:rgh", "value": "1"},
        "display": "Keller 1",
    }
    retired = {"active": False, "link": [{"type": "replaced-by", "other": other}]}
    tell(desk, "2", **retired)
    assert partners(desk) == {"1": 1}
    tell(desk, "2", gender="male", **retired)
    assert partners(desk) == {"1": 1}


def test_the_retired_is_inactive_or_deleted_and_its_server_says_only_of_the_survivor_that_they_are_one(desk):
    tell(desk, "1")
    tell(desk, "2")
    other = {"reference": "Patient/p2", "identifier": {"system": "urn:rgh", "value": "2"}}
    tell(desk, "1", link=[{"type": "replaces", "other": other}])
    tell(desk, "2", active=False, gender="male")
    assert list(partners(desk).values()) == [1]
    delete(desk, "2")
    assert list(partners(desk).values()) == [1]


@pytest.mark.parametrize(
    ("before", "now", "written"),
    [
        (None, {}, True),
        (None, {"active": False}, False),
        ({}, {"gender": "male"}, None),  # nothing of it changed: archived by hand stays archived
        ({"active": True}, {"active": True, "gender": "male"}, None),
        ({"active": False}, {"active": True}, True),
        ({"active": False}, {}, True),
        ({}, {"active": False}, False),
        ({"active": False}, {"active": False, "gender": "male"}, False),
    ],
)
def test_it_is_written_when_it_changes(before, now, written):
    patient = {"resourceType": "Patient", "id": "p1", "identifier": [{"system": "urn:rgh", "value": "1"}]}
    events = interpret({**patient, **now}, {**patient, **before} if before is not None else None)
    (operation, *_) = compile_template("patient", BuildContext())(
        Scope(None, Meta(), lambda message, meta: events)
    )
    assert operation["values"].get("active") is written


def test_who_was_replaced_and_is_deleted_tells_nothing():
    identifier = [{"system": "urn:rgh", "value": "2"}]
    other = {"reference": "Patient/p1", "identifier": {"system": "urn:rgh", "value": "1"}}
    patient = {"resourceType": "Patient", "id": "p2", "identifier": identifier}
    assert [event.type for event in interpret(patient, kind="delete")] == ["patient.deleted"]
    assert not interpret({**patient, "link": [{"type": "replaced-by", "other": other}]}, kind="delete")
