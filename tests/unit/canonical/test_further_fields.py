"""Nationality and organization of a patient, states of places and beds, tax numbers, and what a booking is for: of HL7
and of FHIR, in three values, and back again."""

import pytest
from msgspec import UNSET

from destinations.fhir import check
from engine.fhir.entries import merged, said
from tests.unit.canonical.hl7 import PID, PV1, events, patient
from tests.unit.canonical.served import APPOINTMENT, ENCOUNTER, PATIENT, but, one
from transforms.canonical.events import Event
from transforms.canonical.from_fhir import interpret
from transforms.canonical.to_fhir import plan

VERSIONS = pytest.mark.parametrize("version", ["R4", "R5"])
BEFORE_28 = "|" * (27 - PID.count("|"))
OWNER = {
    "resourceType": "Organization",
    "id": "o",
    "name": "Ash Clinic",
    "identifier": [{"system": "urn:orgs", "value": "O1"}],
}
WARD = {
    "resourceType": "Location",
    "id": "l1",
    "identifier": [{"system": "urn:rooms", "value": "B7"}],
    "name": "Bed 7",
    "status": "suspended",
    "operationalStatus": {"system": "http://terminology.hl7.org/CodeSystem/v2-0116", "code": "H"},
}
ORDER = {
    "resourceType": "ServiceRequest",
    "id": "s1",
    "identifier": [
        {"type": {"coding": [{"code": "FILL"}]}, "system": "urn:lab", "value": "F9"},
        {"type": {"coding": [{"code": "PLAC"}]}, "system": "urn:ehr", "value": "P9"},
    ],
}
SCH = "SCH|P1^EHR|A1^SCHED" + "|" * 24


def written(event: Event, type_: str, version: str = "R4") -> dict:
    """The resource of a type that is written for an event."""
    (entry,) = [each for each in plan([event], {}, version) if each.type == type_]
    if entry.mode != "existing":
        check(entry, version)
    return entry.resource


@VERSIONS
def test_a_nationality_goes_to_fhir_and_back(version):
    (event,) = events("ADT^A31", f"{PID}{BEFORE_28}|NL^Dutch^HL70212")
    resource = written(event, "Patient", version)
    (extension,) = resource["extension"]
    assert extension["url"].endswith("/patient-nationality")
    assert extension["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "NL"
    assert one(resource).patient.nationality.label == "Dutch"


def test_a_nationality_that_is_cleared_is_taken_away_and_others_stay():
    assert patient(PID).nationality is UNSET
    (event,) = events("ADT^A31", f'{PID}{BEFORE_28}|""')
    assert event.patient.nationality is None
    (before,) = events("ADT^A31", f"{PID}{BEFORE_28}|NL")
    there = merged({"extension": [{"url": "urn:own", "valueString": "x"}]}, written(before, "Patient"))
    assert len(there["extension"]) == 2
    now = said(merged(there, written(event, "Patient")))
    assert now["extension"] == [{"url": "urn:own", "valueString": "x"}]
    assert "extension" not in said(written(event, "Patient"))
    assert one(PATIENT).patient.nationality is None
    assert one(PATIENT, canonical={"absent": "leave"}).patient.nationality is UNSET


@VERSIONS
def test_the_organization_whose_record_it_is(version):
    event = one(but(PATIENT, managingOrganization={"reference": "#o"}, contained=[OWNER]))
    assert event.patient.managing_organization.name == "Ash Clinic"
    entries = {entry.type: entry for entry in plan([event], {}, version)}
    assert entries["Organization"].mode == "ensure"
    told = entries["Patient"].resource["managingOrganization"]
    assert told == {"reference": entries["Organization"].url, "display": "Ash Clinic"}
    assert one(PATIENT).patient.managing_organization is None
    assert (
        one(but(PATIENT, managingOrganization={"reference": "Organization/9"})).patient.managing_organization
        is UNSET
    )
    assert written(one(PATIENT), "Patient", version)["managingOrganization"] is None
    assert "managingOrganization" not in written(events("ADT^A31", PID)[0], "Patient", version)


@VERSIONS
def test_the_state_of_a_place_and_of_its_bed(version):
    event = one(WARD)
    place = event.location
    assert (place.status, place.active, place.bed_status) == ("suspended", True, "H")
    resource = written(event, "Location", version)
    assert (resource["status"], resource["operationalStatus"]["display"]) == ("suspended", "Housekeeping")
    back = one(resource).location
    assert (back.status, back.bed_status) == ("suspended", "H")
    bare = one(but(WARD, status=None, operationalStatus=None))
    assert (bare.location.status, bare.location.active, bare.location.bed_status) == (None, UNSET, None)
    assert written(bare, "Location", version)["operationalStatus"] is None
    gone = one(WARD, kind="delete")
    assert written(gone, "Location", version)["status"] == "inactive"


@pytest.mark.parametrize(
    ("place", "sent", "bed"),
    [("W1^2^B^HOSP", "O", "O"), ("W1^2^B^HOSP", '""', None), ("W1^2^B^HOSP", "", UNSET), ("W1", "O", UNSET)],
)
def test_the_bed_of_a_visit(place, sent, bed):
    *_, event = events("ADT^A01", PID, f"PV1|1|I|{place}{'|' * 16}V1^^^HOSP^VN{'|' * 21}{sent}")
    assert event.encounter.location.bed_status is bed or event.encounter.location.bed_status == bed
    assert "operationalStatus" not in written(event, "Location")


def test_another_state_of_the_same_bed_is_no_transfer():
    at = {"location": [{"location": {"reference": "#l1"}}]}
    before = but(ENCOUNTER, contained=[WARD], **at)
    event = one(but(ENCOUNTER, contained=[but(WARD, operationalStatus={"code": "O"})], **at), before)
    assert (event.type, event.changed, event.encounter.prior_location) == (
        "encounter.updated",
        ["location"],
        UNSET,
    )
    event = one(but(ENCOUNTER, contained=[but(WARD, name="Bed 8")], **at), before)
    assert (event.type, event.encounter.prior_location.display) == ("encounter.transferred", "Bed 7")


@pytest.mark.parametrize(
    ("extra", "tax"),
    [
        ({"type": {"coding": [{"code": "TAX"}]}, "value": "DE1"}, "DE1"),
        ({"system": "urn:oid:2.16.840.1.113883.4.4", "value": "12-3"}, "12-3"),
        ({"system": "urn:oid:2.16.840.1.113883.4.42", "value": "12-3"}, None),
    ],
)
def test_the_tax_number_of_an_organization(extra, tax):
    event = one({**OWNER, "identifier": [*OWNER["identifier"], extra]})
    assert event.organization.tax_id == tax
    assert one(written(event, "Organization")).organization.tax_id == tax


def test_the_tax_number_of_a_payer():
    payers = [f"IN1|1|PLAN|{found}|Acme" for found in ("77", "77~DE1^^^^TAX")]
    found = [events("BAR^P01", PID, PV1, payer)[0].coverage.payer.tax_id for payer in payers]
    assert found == [UNSET, "DE1"]


@VERSIONS
def test_the_orders_that_a_booking_fulfils(version):
    event = events("SIU^S12", f"{SCH}P7^EHR~P8^EHR|F7^LAB", PID)[0]
    first, second = event.appointment.based_on
    assert [item.key for item in first.identifiers] == ["EHR/P7", "LAB/F7"] and second.key == "EHR/P8"
    resource = written(event, "Appointment", version)
    assert [told["identifier"]["value"] for told in resource["basedOn"]] == ["P7", "P8"]
    back = one(resource).appointment.based_on
    assert [item.key for item in back] == ["EHR/P7", "EHR/P8"] and back[0].identifiers[0].type == "PLAC"
    placed = events("ORM^O01", PID, "ORC|NW|P7^EHR", "OBR|1|P7^EHR||X^Y^L")[0]
    assert placed.order.key == first.key


@pytest.mark.parametrize(("fields", "orders"), [("", UNSET), ('""', None), ('|""', None)])
def test_orders_that_are_absent_and_orders_that_are_cleared(fields, orders):
    event = events("SIU^S12", SCH + fields, PID)[0]
    assert event.appointment.based_on is orders
    assert ("basedOn" in written(event, "Appointment")) == (orders is None)


def test_the_orders_of_a_fhir_appointment():
    found = one(
        but(APPOINTMENT, basedOn=[{"reference": "#s1"}, {"display": "MRI"}], contained=[ORDER])
    ).appointment
    assert [(item.key, item.display) for item in found.based_on] == [("urn:ehr/P9", ""), ("", "MRI")]
    assert one(APPOINTMENT).appointment.based_on is None
    for unknown in ("ServiceRequest/5", "CarePlan/5"):
        told = one(but(APPOINTMENT, basedOn=[{"reference": unknown}])).appointment.based_on
        assert told is (UNSET if unknown.startswith("Serv") else None)
    event = one(but(APPOINTMENT, basedOn=[{"display": "MRI"}]), APPOINTMENT)
    assert (event.type, event.changed) == ("appointment.modified", ["based_on"])
    assert written(event, "Appointment")["basedOn"] == [{"display": "MRI"}]


@pytest.mark.parametrize(
    ("pv1", "visit"), [((), UNSET), (("PV1|1|O",), UNSET), (('PV1|1|O' + "|" * 17 + '""',), None), ((PV1,), "HOSP/V1")]
)  # fmt: skip
def test_the_visit_of_a_booking(pv1, visit):
    found = events("SIU^S12", "SCH|P1^EHR|A1^SCHED", PID, *pv1)[0].appointment.encounter
    assert (found.key if found else found) == visit


def test_the_visit_of_a_fhir_appointment():
    beside = [{"reference": "Binary/1"}, {"reference": "#e1"}]
    event = one(but(APPOINTMENT, supportingInformation=beside, contained=[ENCOUNTER]))
    assert event.appointment.encounter.key == "urn:visits/V-1"
    assert one(but(APPOINTMENT, supportingInformation=beside[:1])).appointment.encounter is None
    unread = [{"reference": "Encounter/8"}]
    assert one(but(APPOINTMENT, supportingInformation=unread)).appointment.encounter is UNSET
    assert "supportingInformation" not in written(event, "Appointment")


def test_what_is_told_goes_out_in_the_envelope():
    booking = events("SIU^S12", f"{SCH}P7^EHR", PID, PV1)[0].to_cloudevent()["data"]["entity"]
    assert booking["based_on"][0]["identifiers"][0]["value"] == "P7"
    assert booking["encounter"]["identifiers"][0]["value"] == "V1"
    (event,) = interpret(WARD)
    assert event.to_cloudevent()["data"]["entity"]["bed_status"] == "H"


@VERSIONS
def test_a_bed_changes_its_state(version):
    (event,) = events("ADT^A20", "EVN|A20|20260301115900+0000", "NPU|W1^2^B^HOSP|K")
    assert (event.type, event.subject, event.changed) == (
        "location.status_changed",
        f"Location/{event.location.key}",
        ["bed_status"],
    )
    assert event.location.key == events("ADT^A01", PID, PV1)[1].encounter.location.key
    assert written(event, "Location", version)["operationalStatus"]["code"] == "K"
    cleared = events("ADT^A20", 'NPU|W1^2^B^HOSP|""')[0]
    assert cleared.location.bed_status is None


@pytest.mark.parametrize("npu", ["NPU|W1^2^B^HOSP", "NPU||K", "NPU|W1^^^HOSP|K", "OBX|1"])
def test_no_bed_or_no_state_is_no_event(npu):
    assert events("ADT^A20", npu) == []


@VERSIONS
def test_the_appointments_of_a_visit(version):
    told = [{"reference": "#a1"}, {"display": "Check-up"}, {"reference": "Patient/1"}]
    event = one(but(ENCOUNTER, appointment=told, contained=[APPOINTMENT | {"id": "a1"}]))
    first, second = event.encounter.appointments
    assert first.key == one(APPOINTMENT).appointment.identifiers[0].key
    assert (second.key, second.display) == ("", "Check-up")
    resource = written(event, "Encounter", version)
    assert [item.get("type") for item in resource["appointment"]] == ["Appointment", None]
    back = one(resource).encounter.appointments
    assert [item.identifiers[0].value for item in back[:1]] == [first.identifiers[0].value]
    unread = one(but(ENCOUNTER, appointment=[{"reference": "Appointment/9"}])).encounter.appointments
    assert unread is UNSET
    assert one(ENCOUNTER).encounter.appointments is None
    assert events("ADT^A01", PID, PV1)[1].encounter.appointments is UNSET
    changed = one(but(ENCOUNTER, appointment=told[1:2]), ENCOUNTER)
    assert (changed.type, changed.changed) == ("encounter.updated", ["appointments"])
