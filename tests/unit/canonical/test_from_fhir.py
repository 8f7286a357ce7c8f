"""FHIR resources → events: people, how references are found, which identifier is the key, and the three values."""

from __future__ import annotations

import orjson
import pytest
from msgspec import UNSET

from engine.errors import ConfigError, StepError
from engine.fhir.notification import note
from engine.fhir.resource import Fhir
from engine.model import Meta
from tests.unit.canonical.hl7 import PID, message
from tests.unit.canonical.served import APPOINTMENT, NAMED, PATIENT, but, one, types
from transforms.canonical.catalogue import ENTITIES, EVENTS
from transforms.canonical.from_fhir import ADAPTERS, interpret, interpreter
from transforms.canonical.from_hl7 import interpreter as from_hl7
from transforms.canonical.options import options
from transforms.canonical.types import Code

LEAVE = {"canonical": {"absent": "leave"}}
BY_ID = {"canonical": {"identity": "resource"}}
OTHER = but(PATIENT, id="p2", identifier=[{"system": "urn:oid:1.2.36", "value": "M8"}], name=None)


def test_a_patient_is_read_as_one_of_an_hl7_message_is():
    who = one(PATIENT).patient
    assert (who.key, who.mrn) == ("1.2.36/M7", "M7")
    assert who.name.display == "Nora Anne Keller Jr"
    assert [name.family for name in who.other_names] == ["Abel"]
    assert (who.phone, who.mobile, who.email) == ("555-1", "555-2", "n@example.org")
    assert (who.birth_date, who.gender, who.language) == ("1984-09", "female", "es")
    assert who.marital_status.label == "Married"
    home = who.address
    assert (home.street, home.street2, home.city, home.state, home.country) == (
        "1 Elm",
        "Flat 2",
        "Austin",
        "TX",
        "US",
    )
    assert home.postal_code is None  # the address is whole: an old code must not stay
    assert "999-00-1111" not in " ".join(who.note_identifiers)
    assert who.active is True


def test_what_a_resource_lacks_is_cleared_unless_it_says_nothing():
    bare = {"resourceType": "Patient", "id": "p1", "identifier": PATIENT["identifier"]}
    who = one(bare).patient
    assert (who.phone, who.birth_date, who.gender, who.addresses, who.deceased) == (None,) * 5
    who = one(bare, **LEAVE).patient
    assert (who.phone, who.birth_date, who.gender, who.addresses, who.deceased) == (UNSET,) * 5
    part = but(bare, meta={"tag": [{"code": "SUBSETTED"}]})
    assert one(part).patient.phone is UNSET
    beside = but(APPOINTMENT, contained=[bare], participant=[{"actor": {"reference": "#p1"}}])
    assert one(beside).patient.phone is UNSET  # who stands beside an appointment is not told whole
    assert one(beside).appointment.reason is None


def test_the_same_patient_has_the_same_key_in_hl7_and_fhir():
    pid = from_hl7({})(message("ADT^A28", PID), Meta())[0].patient
    authorities = {"authorities": {"http://hosp.example/mrn": pid.mrn_identifier.assigner}}
    same = but(PATIENT, identifier=[{"system": "http://hosp.example/mrn", "value": pid.mrn}])
    assert one(same, canonical=authorities).patient.key == pid.key


def test_which_identifier_is_the_mrn():
    assert one(PATIENT, mrn={"authority": "urn:oid:1.2.36"}).patient.mrn == "M7"
    with pytest.raises(StepError, match="no identifier has authority 'X'") as caught:
        one(PATIENT, mrn={"authority": "X"})
    assert caught.value.code == "patient.no_mrn"
    assert (
        one(but(PATIENT, identifier=None)).patient.key == "fhir/p1"
    )  # the server's own id, for want of another
    assert one(PATIENT, **BY_ID).patient.key == "fhir/p1"
    with pytest.raises(StepError) as caught:
        one(but(PATIENT, identifier=None, id=None))
    assert caught.value.code == "patient.no_identifier"
    old = [{"use": "old", "value": "1", "system": "urn:a"}, {"value": "2", "system": "urn:a"}]
    assert one(but(PATIENT, identifier=old)).patient.mrn == "2"


# Changes


def test_registered_updated_deleted():
    assert types(PATIENT) == ["patient.registered"]
    assert types(PATIENT, kind="update") == ["patient.updated"]
    event = one(but(PATIENT, gender="male", telecom=None), PATIENT)
    assert (event.type, event.changed) == ("patient.updated", ["gender", "phones"])
    assert event.patient.phone is None
    assert types(but(PATIENT, meta={"versionId": "3"}, text={"div": "new"}), PATIENT) == []
    event = one(PATIENT, kind="delete")
    assert (event.type, event.patient.key) == ("patient.deleted", "1.2.36/M7")


def test_merges_are_told_once_from_either_side():
    gone = but(PATIENT, active=False, link=[{"type": "replaced-by", "other": {"reference": "Patient/p2"}}])
    with pytest.raises(StepError) as caught:
        one(gone)
    assert caught.value.code == "fhir.unresolved"
    (event,) = interpret(gone, resolve={"Patient/p2": OTHER}.get)
    assert (event.type, event.patient.mrn, [one.mrn for one in event.retired]) == (
        "patient.merged",
        "M8",
        ["M7"],
    )
    assert event.patient.name.display is UNSET  # who survives is not told whole
    assert interpret(but(gone, gender="male"), gone, resolve={"Patient/p2": OTHER}.get) == []
    survivor = but(
        PATIENT,
        link=[{"type": "replaces", "other": {"identifier": {"system": "urn:oid:1.2.36", "value": "M9"}}}],
    )
    assert types(survivor, PATIENT) == ["patient.merged"]
    assert types(survivor) == ["patient.registered", "patient.merged"]
    assert types(survivor, survivor) == []
    seen = but(
        PATIENT, link=[{"type": "seealso", "other": {"identifier": {"system": "urn:x", "value": "1"}}}]
    )
    assert types(seen, PATIENT) == ["patient.linked"]
    assert types(PATIENT, seen) == ["patient.unlinked"]


def test_a_deletion_needs_to_know_what_was_deleted():
    gone = orjson.loads(note("Appointment/a1", "deleted"))
    with pytest.raises(StepError) as caught:
        interpret(gone)
    assert caught.value.code == "fhir.deleted"
    assert (one(gone, APPOINTMENT).type, one(gone, APPOINTMENT).appointment.key) == (
        "appointment.deleted",
        "urn:sched/A-1",
    )
    assert one(gone, APPOINTMENT).appointment.reason is UNSET
    assert one(gone, **BY_ID).appointment.key == "fhir/a1"
    assert interpret(orjson.loads(note("Basic/1", "deleted"))) == []


# References


def test_a_reference_is_found_contained_in_the_bundle_outside_or_by_its_identifier():
    contained = but(APPOINTMENT, contained=[PATIENT], participant=[{"actor": {"reference": "#p1"}}])
    assert one(contained).patient.name.family == "Keller"
    bare = but(APPOINTMENT, participant=[{"actor": {"reference": "Patient/p1"}}])
    (event,) = interpret(bare, resolve={"Patient/p1": PATIENT}.get)
    assert event.patient.mrn == "M7"
    full = but(bare, participant=[{"actor": {"reference": "urn:uuid:1"}}])
    entries = [
        {"resource": full},
        {"fullUrl": "urn:uuid:1", "resource": PATIENT, "search": {"mode": "include"}},
    ]
    (event,) = interpret({"resourceType": "Bundle", "type": "searchset", "entry": entries})
    assert (event.type, event.patient.mrn) == ("appointment.booked", "M7")
    assert one(APPOINTMENT).patient.mrn == "M7"
    with pytest.raises(StepError) as caught:
        one(bare)
    assert (caught.value.code, caught.value.where) == ("fhir.unresolved", "participant.actor")
    assert "identity: resource" in caught.value.todo
    assert one(bare, **BY_ID).patient.key == "fhir/p1"


def test_a_bundle_is_read_patients_first():
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": but(APPOINTMENT, participant=[{"actor": {"reference": "Patient/p1"}}])},
            {"resource": PATIENT},
            {"resource": {"resourceType": "Basic"}},
            {"request": {"method": "DELETE", "url": "Encounter/e9"}},
        ],
    }
    assert types(bundle, **BY_ID) == ["patient.registered", "encounter.deleted", "appointment.booked"]
    assert [event.n for event in interpret(bundle, settings=BY_ID)] == [0, 1, 2]


def test_people_behind_roles_and_places_inside_places():
    role = {
        "resourceType": "PractitionerRole",
        "id": "r1",
        "practitioner": {"reference": "Practitioner/d1"},
        "code": [{"coding": [{"code": "doctor"}]}],
        "specialty": [{"text": "Cardiology"}],
    }
    doctor = {
        "resourceType": "Practitioner",
        "id": "d1",
        "identifier": [
            {"system": "urn:staff", "value": "7"},
            {"system": "http://hl7.org/fhir/sid/us-npi", "value": "17"},
        ],
        "name": [{"family": "Moreau", "given": ["Claire"]}],
    }
    bed = {
        "resourceType": "Location",
        "id": "b",
        "name": "B1",
        "physicalType": {"coding": [{"code": "bd"}]},
        "partOf": {"reference": "Location/w"},
    }
    ward = {
        "resourceType": "Location",
        "id": "w",
        "name": "Ward 3",
        "physicalType": {"coding": [{"code": "wa"}]},
        "managingOrganization": {"display": "RGH"},
    }
    known = {"PractitionerRole/r1": role, "Practitioner/d1": doctor, "Location/b": bed, "Location/w": ward}
    actors = [
        NAMED,
        {"reference": "PractitionerRole/r1"},
        {"reference": "Location/b"},
        {"reference": "Device/x", "display": "MRI"},
    ]
    with_them = but(APPOINTMENT, participant=[{"actor": actor} for actor in actors])
    (event,) = interpret(with_them, resolve=known.get)
    (person,) = event.appointment.practitioners
    assert (person.key, person.display, person.role.code) == ("NPI/17", "Claire Moreau", "doctor")
    assert person.specialties == [Code(text="Cardiology")]
    assert event.appointment.location == "Ward 3 B1"
    assert [item.label for item in event.appointment.resources] == ["MRI"]
    (event,) = interpret(role, resolve=known.get)
    assert (event.type, event.practitioner.key) == ("practitioner.updated", "NPI/17")
    assert one(doctor).type == "practitioner.registered"
    assert one(but(ward, name="Ward 4"), ward).type == "location.updated"
    payer = {
        "resourceType": "Organization",
        "id": "o",
        "name": "Aetna",
        "type": [{"coding": [{"code": "ins"}]}],
    }
    assert (one(payer).organization.kind, one(payer).subject) == ("payer", "Organization/fhir/o")


# The envelope


def test_ids_depend_on_the_bytes_and_times_are_the_servers():
    run = interpreter({})
    view = Fhir().parse(orjson.dumps(PATIENT))
    meta = Meta(channel="fhir", control_id="Patient/p1/_history/2", type="Patient", received_at=1)
    (event,) = run(view, meta)
    assert (event.origin, event.trigger, event.correlation_id) == ("fhir", "Patient", "Patient/p1/_history/2")
    assert event.time.isoformat() == "2026-03-01T10:00:00+00:00"
    assert event.id == run(Fhir().parse(orjson.dumps(PATIENT)), meta)[0].id
    assert event.id != run(Fhir().parse(orjson.dumps(but(PATIENT, gender="male"))), meta)[0].id
    meta.previous = PATIENT
    assert run(view, meta) == []


def test_options_are_checked():
    with pytest.raises(ConfigError, match="identity is business"):
        options({"canonical": {"identity": "both"}})
    with pytest.raises(ConfigError, match="absent is clear"):
        options({"canonical": {"absent": "no"}})


@pytest.mark.parametrize("kind", ADAPTERS)
def test_nothing_that_servers_send_crashes(kind):
    """Every element of another shape than FHIR gives it."""
    for odd in (
        1,
        "x",
        [],
        {},
        [1],
        [{}],
        [{"reference": 7, "coding": [3], "code": [4], "value": [5]}],
        None,
        True,
    ):
        every = dict.fromkeys(ELEMENTS, odd)
        for event in interpret({"resourceType": kind, "id": "1", "status": "active"} | {"identifier": odd}):
            assert event.type in EVENTS
        try:
            for event in interpret(every | {"resourceType": kind, "id": "1"}):
                assert isinstance(event.entity, ENTITIES[event.kind])
                orjson.dumps(event.to_cloudevent())
        except StepError:
            pass


# fmt: off
ELEMENTS = [
    "account", "actualPeriod", "address", "appointmentType", "author", "authoredOn", "basedOn", "beneficiary",
    "birthDate", "cancelationReason", "category", "class", "code", "communication", "component", "conclusion",
    "contained", "content", "context", "costCenter", "coverage", "deceasedBoolean", "deceasedDateTime",
    "description", "docStatus", "doseQuantity", "effectivePeriod", "encounter", "end", "extension", "form",
    "gender", "generalPractitioner", "guarantor", "hasMember", "hospitalization", "identifier", "insurance",
    "interpretation", "issued", "link", "location", "manufacturer", "masterIdentifier", "meta", "minutesDuration",
    "name", "note", "occurrencePeriod", "order", "participant", "partOf", "patient", "payor", "performer",
    "period", "physicalType", "priceOverride", "priority", "productCodeableConcept", "quantity", "reason",
    "reasonCode", "referenceRange", "relatesTo", "requester", "requisition", "result", "securityLabel",
    "serviceType", "specialty", "start", "status", "statusReason", "subject", "subscriber", "subscriberId",
    "telecom", "type", "unitPriceComponent", "vaccineCode", "valueQuantity",
]
# fmt: on
