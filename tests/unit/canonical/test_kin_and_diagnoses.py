"""Contacts, births, diagnoses and what else a visit or a booking says: of HL7 and of FHIR the same, in three values."""

import pytest
from msgspec import UNSET

from destinations.fhir import check
from engine.fhir.entries import merged
from tests.unit.canonical.hl7 import PID, PV1, events
from tests.unit.canonical.served import PATIENT, but, one
from transforms.canonical.from_fhir import interpret
from transforms.canonical.to_fhir import plan

KIN = "NK1|1|Keller^Max|SPO^Spouse^HL70063|1 Elm^^Reno^NV^89501^USA|^PRN^PH^^1^309^5550101|^WPN^PH^^1^309^5550102"


def test_kin_goes_from_hl7_to_fhir_and_back():
    (event,) = events("ADT^A31", PID, KIN, "NK1|2||MTH", "NK1|3|Roe^Ann")
    max_, ann = event.patient.contacts
    assert (max_.name.display, max_.relationship.label, max_.address.city) == ("Max Keller", "Spouse", "Reno")
    assert [phone.use for phone in max_.phones] == ["home", "work"] and max_.phone.endswith("5550101")
    assert (ann.name.display, ann.relationship, ann.phones, ann.address) == ("Ann Roe", UNSET, [], None)
    for version in ("R4", "R5"):
        (entry,) = plan([event], {}, version)
        check(entry, version)
        told = entry.resource["contact"]
        coding = told[0]["relationship"][0]["coding"][0]
        assert (
            coding["system"].endswith("/v2-0063")
            and coding["code"] == "SPO"
            and "relationship" not in told[1]
        )
        (back,) = interpret({**entry.resource, "resourceType": "Patient"})
        read = back.patient.contacts
        assert [one.name.display for one in read] == ["Max Keller", "Ann Roe"]
        assert read[0].phones[0].value == max_.phones[0].value and read[0].address.street == "1 Elm"


@pytest.mark.parametrize(
    ("segments", "contacts"), [((), UNSET), (('NK1|1|""',), None), (("NK1|1||SPO",), UNSET)]
)
def test_kin_that_is_absent_and_kin_that_is_cleared(segments, contacts):
    (event,) = events("ADT^A31", PID, *segments)
    assert event.patient.contacts is contacts
    (entry,) = plan([event], {})
    assert ("contact" in entry.resource) == (contacts is None)


def test_a_contact_of_a_fhir_patient_is_tracked():
    new = but(
        PATIENT, contact=[{"name": {"text": "Max"}}, {"gender": "male"}, {"telecom": [{"value": "1"}]}, 3]
    )
    (event,) = interpret(new, PATIENT)
    assert (event.type, event.changed) == ("patient.updated", ["contacts"])
    assert [(one.name.display, one.phone) for one in event.patient.contacts] == [("Max", UNSET), (UNSET, "1")]
    assert one(PATIENT).patient.contacts is None


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ("Y", {"multipleBirthBoolean": True}),
        ("Y|2", {"multipleBirthInteger": 2, "multipleBirthBoolean": None}),
        ("N", {"multipleBirthBoolean": False, "multipleBirthInteger": None}),
        ("", {}), ("|two", {}), ("|²", {}), ("|" + "9" * 5000, {}),
    ],
)  # fmt: skip
def test_a_multiple_birth(fields, written):
    (event,) = events("ADT^A31", f"{PID.rstrip('|')}" + "|" * (24 - PID.rstrip("|").count("|")) + fields)
    (entry,) = plan([event], {})
    assert {name: value for name, value in entry.resource.items() if "Birth" in name} == written


@pytest.mark.parametrize(
    ("there", "whether", "more"),
    [
        ("2026-01-01", "deceasedBoolean", "deceasedDateTime"),
        (2, "multipleBirthBoolean", "multipleBirthInteger"),
    ],
)
def test_that_it_is_so_does_not_stand_beside_when_or_which(there, whether, more):
    """A choice has one element: a server would refuse both."""
    assert merged({more: there}, {whether: True}) == {more: there}
    assert merged({more: there}, {whether: False, more: None}) == {more: None, whether: False}
    assert merged({whether: True}, {more: there, whether: None}) == {more: there, whether: None}


def test_what_a_visit_is_for():
    visit = f"{PV1.rstrip('|')}"
    parts = visit.split("|") + [""] * 60
    parts[16], parts[20] = "Y", "MC^20260101"
    dg1 = (
        "DG1|1||J18.9^Pneumonia^I10|||A|||||||||1",
        "DG1|2|||Fracture of the hand||F",
        "DG1|3",
        "DG1|4||X^Y^I10|||W|||||||||²",
    )
    *_, event = events("ADT^A01", PID, "|".join(parts).rstrip("|"), *dg1)
    visit = event.encounter
    assert (visit.vip, visit.financial_class) == ("Y", "MC")
    assert [(one.code.label, one.type, one.rank) for one in visit.diagnoses] == [
        ("Pneumonia", "A", 1), ("Fracture of the hand", "F", 0), ("Y", "W", 0),
    ]  # fmt: skip


def test_diagnoses_of_a_fhir_encounter():
    condition = {
        "resourceType": "Condition",
        "id": "c",
        "code": {"coding": [{"code": "J18.9", "display": "Pneumonia"}]},
    }
    base = {
        "resourceType": "Encounter", "id": "e", "status": "in-progress", "subject": {"identifier": {"value": "1"}},
        "identifier": [{"value": "V1"}], "contained": [condition],
    }  # fmt: skip
    use = {"coding": [{"code": "AD"}]}
    r4 = [
        {"condition": {"reference": "#c"}, "use": use, "rank": 1},
        {"condition": {"display": "Flu"}},
        {"rank": True},
    ]
    r5 = [{"condition": [{"reference": {"reference": "#c"}}, {"concept": {"text": "Flu"}}], "use": [use]}]
    for told in (r4, r5):
        found = one({**base, "diagnosis": told}).encounter.diagnoses
        assert [one.code.label for one in found] == ["Pneumonia", "Flu"] and found[0].type == "AD"
    assert one(base).encounter.diagnoses == []


def test_appointments_that_belong_together():
    event = events("SIU^S12", "SCH|P1^EHR|A1^SCHED||G7^SCHED||", PID)[0]
    assert event.appointment.group.key == "SCHED/G7"
