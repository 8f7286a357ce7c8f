"""Canonical events → FHIR R4: what is said is written, what is cleared is taken away, what is absent is left to the
server; what is read back from it is what the HL7 message said."""

from __future__ import annotations

import pytest

from destinations.fhir import check
from engine.errors import StepError
from engine.fhir.entries import Entry, merged, said
from tests.unit.canonical.hl7 import PID, PV1, events
from transforms.canonical.from_fhir import interpret
from transforms.canonical.to_fhir import plan

SYSTEMS = {"HOSP": "https://hosp.example/mrn"}
SCH = "SCH|P1^EHR|A1^SCHED|||||FOLLOWUP^Follow-up^L||30|MIN|^^30^20260401100000+0000^20260401103000+0000"


def entries(trigger, *segments, systems=SYSTEMS):
    found = plan(events(trigger, *segments), systems)
    assert len({entry.key for entry in found}) == len(found)
    for entry in found:
        if entry.mode != "existing":
            check(entry)
    return found


def only(found, type_) -> Entry:
    (entry,) = [one for one in found if one.type == type_]
    return entry


def test_a_patient_is_what_the_message_says():
    pid = (
        "PID|1||1001^^^HOSP^MR~77^^^2.16.840.1.113883.4.1^SS||Doe^Jane^Q^Jr^Dr^^L~Roe^Jane^^^^^M||19800102|F||2106-3^White^HL70005"
        '|1 Elm St^""^Reno^NV^89501^USA^H||^PRN^PH^^1^775^5550100~^NET^Internet^j@example.org|""|eng|M'
    )
    (entry,) = entries("ADT^A31", pid)
    found = entry.resource
    assert entry.by == ["identifier=https%3A%2F%2Fhosp.example%2Fmrn%7C1001"]
    assert [item["system"] for item in found["identifier"]] == [
        "https://hosp.example/mrn",
        "urn:oid:2.16.840.1.113883.4.1",
    ]
    assert found["name"][0] == {
        "use": "official", "family": "Doe", "given": ["Jane", "Q"], "prefix": ["Dr"], "suffix": ["Jr"]
    }  # fmt: skip
    assert found["name"][1]["use"] == "maiden"
    assert (found["birthDate"], found["gender"]) == ("1980-01-02", "female")
    assert found["address"] == [
        {
            "use": "home",
            "line": ["1 Elm St"],
            "city": "Reno",
            "state": "NV",
            "postalCode": "89501",
            "country": "US",
        }
    ]
    assert [(item["system"], item["value"]) for item in found["telecom"]] == [
        ("phone", "+1 775 5550100"), ("email", "j@example.org")
    ]  # fmt: skip
    assert found["maritalStatus"]["coding"][0]["code"] == "M"
    assert found["communication"][0]["language"]["coding"][0]["code"] == "en"
    assert found["extension"][0]["extension"][0]["valueCoding"]["code"] == "2106-3"
    assert "deceasedBoolean" not in found and "active" not in found  # absent: the server keeps its own


def test_what_is_cleared_is_taken_away_and_what_is_absent_stays():
    (entry,) = entries("ADT^A31", 'PID|1||1001^^^HOSP^MR||Doe^Jane||""|F|||||""')
    there = {
        "resourceType": "Patient", "id": "7", "birthDate": "1980-01-02", "telecom": [{"value": "1"}],
        "photo": [{"title": "x"}],
        "identifier": [{"system": "urn:other", "value": "9"},
                       {"system": SYSTEMS["HOSP"], "value": "1001", "use": "usual"}],
    }  # fmt: skip
    now = said(merged(there, entry.resource))
    assert "birthDate" not in now and "telecom" not in now
    assert (now["photo"], now["id"], now["gender"]) == ([{"title": "x"}], "7", "female")
    assert [item["value"] for item in now["identifier"]] == ["9", "1001"]  # theirs stay, in their order
    assert now["identifier"][1]["use"] == "usual"
    assert said(merged(now, entry.resource)) == now  # the same again changes nothing


def test_an_admission_is_a_patient_and_a_visit():
    found = entries(
        "ADT^A01",
        PID,
        "PV1|1|I|W1^2^B^HOSP|E|||D7^House^Greg^^^^^^NPI|||MED|||||||||V1^^^HOSP^VN"
        + "|" * 25
        + "20260301080000+0000",
    )
    assert [entry.type for entry in found] == ["Patient", "Location", "Practitioner", "Encounter"]
    visit, who, place = only(found, "Encounter"), only(found, "Patient"), only(found, "Location")
    resource = visit.resource
    assert (resource["status"], resource["class"]["code"]) == ("in-progress", "IMP")
    assert resource["subject"] == {"reference": who.url}
    assert resource["location"][0]["location"] == {"reference": place.url, "display": "W1 2 B (HOSP)"}
    assert resource["participant"][0]["type"][0]["coding"][0]["code"] == "ATND"
    assert resource["period"] == {"start": "2026-03-01T08:00:00+00:00"}
    assert (place.mode, only(found, "Practitioner").mode, visit.mode) == ("ensure", "ensure", "update")
    assert only(found, "Practitioner").resource["identifier"][0]["system"] == "http://hl7.org/fhir/sid/us-npi"


def test_a_discharge_ends_the_visit_and_leaves_its_begin_to_the_server():
    found = entries("ADT^A03", PID, PV1)
    period = only(found, "Encounter").resource["period"]
    assert list(period) == ["end"]
    there = {
        "resourceType": "Encounter",
        "id": "1",
        "period": {"start": "2026-03-01"},
        "status": "in-progress",
    }
    now = said(merged(there, only(found, "Encounter").resource))
    assert (now["period"]["start"], now["status"]) == ("2026-03-01", "finished")
    back = only(entries("ADT^A13", PID, PV1), "Encounter").resource
    assert said(merged(now, back))["period"] == {"start": "2026-03-01"}
    assert [entry.type for entry in entries("ADT^A01", PID, "PV1|1|I")] == [
        "Patient"
    ]  # a visit without a number


def test_an_appointment_names_everybody():
    found = entries(
        "SIU^S12",
        SCH,
        PID,
        "RGS|1",
        "AIS|1||99213^Visit^CPT",
        "AIL|1||CLIN^2^^HOSP",
        "AIP|1||17^Moreau^Claire^^^Dr^^^NPI",
    )
    booking = only(found, "Appointment").resource
    assert (booking["status"], booking["start"], booking["minutesDuration"]) == (
        "booked",
        "2026-04-01T10:00:00+00:00",
        30,
    )
    actors = [item["actor"] for item in booking["participant"]]
    assert [actor.get("display") for actor in actors] == [None, "Claire Moreau", "CLIN 2 (HOSP)"]
    assert actors[0]["reference"] == only(found, "Patient").url
    assert [item["value"] for item in booking["identifier"]] == ["A1", "P1"]
    assert booking["serviceType"][0]["coding"][0]["system"] == "http://www.ama-assn.org/go/cpt"
    gone = only(entries("SIU^S15", SCH, PID), "Appointment").resource
    assert gone["status"] == "cancelled"


def test_a_merge_links_both_sides():
    found = entries("ADT^A40", PID, "MRG|1002^^^HOSP^MR")
    survivor, retired = found[1], found[0]
    assert (retired.mode, retired.resource["active"], survivor.mode) == ("existing", False, "update")
    assert survivor.resource["link"] == [{"other": {"reference": retired.url}, "type": "replaces"}]
    assert retired.resource["link"] == [{"other": {"reference": survivor.url}, "type": "replaced-by"}]
    (changed,) = entries("ADT^A47", PID, "MRG|1002^^^HOSP^MR")
    assert [by.rpartition("%7C")[2] for by in changed.by] == ["1001", "1002"]


def test_results_orders_documents_coverages():
    obr = "OBR|1|P1^EHR|F1^LAB|GLU^Glucose^LN|||20260228||||||||D7^House^Greg|||||||||F"
    obx = "OBX|1|NM|2345-7^Glucose^LN||7.1|mmol/L|3.9-6|H|||F"
    found = entries("ORU^R01", PID, obr, obx, "OBX|2|ST|X^Note^L||clear||||||F")
    report, values = only(found, "DiagnosticReport"), [one for one in found if one.type == "Observation"]
    assert [item["reference"] for item in report.resource["result"]] == [one.url for one in values]
    assert values[0].resource["valueQuantity"] == {"value": 7.1, "unit": "mmol/L"}
    assert values[0].resource["interpretation"][0]["coding"][0]["code"] == "H"
    assert (values[1].resource["valueString"], report.resource["status"]) == ("clear", "final")
    asked = only(
        entries(
            "ORM^O01",
            PID,
            "IN1|1|PPO^Plan|60^^^PAYERS|Aetna||||G7||||||||||||||||||||||||||||POL9",
            "ORC|NW|P1^EHR|||||||||||D7^House^Greg",
            obr,
        ),
        "ServiceRequest",
    )
    assert (asked.resource["status"], asked.resource["intent"]) == ("active", "order")
    assert len(asked.resource["insurance"]) == 1
    letter = entries("MDM^T02", PID, "TXA|1|DS|TX|||20260301||||||D1^HIS|||||AU", "OBX|1|TX|||All well")
    content = only(letter, "DocumentReference").resource["content"][0]["attachment"]
    assert (content["data"], content["size"]) == ("QWxsIHdlbGw=", 8)


def test_what_is_read_back_is_what_was_said():
    """HL7 → FHIR → canonical: the same patient and the same appointment, under the same keys."""
    said_ = events("SIU^S12", SCH, PID + "|||1 Elm St^^Reno^NV", "AIP|1||17^Moreau^Claire^^^Dr^^^NPI")[0]
    found = plan([said_])  # an assigner without a URI is read back by its name
    resources = {
        entry.url: {**said({**entry.new, **entry.resource}), "id": str(n)} for n, entry in enumerate(found)
    }
    booking = next(one for one in resources.values() if one["resourceType"] == "Appointment")
    entry = [
        {"fullUrl": url, "resource": one, "search": {"mode": "match" if one is booking else "include"}}
        for url, one in resources.items()
    ]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entry}
    (read,) = interpret(bundle, settings={"canonical": {"absent": "leave"}})
    assert (read.type, read.appointment.key) == ("appointment.booked", said_.appointment.key)
    assert read.patient.key == said_.patient.key
    for name in ("start", "end", "duration", "status"):
        assert getattr(read.appointment, name) == getattr(said_.appointment, name)
    for name in ("name", "birth_date", "gender"):
        assert getattr(read.patient, name) == getattr(said_.patient, name)
    assert [one.key for one in read.appointment.practitioners] == ["NPI/17"]


def test_what_fhir_does_not_allow_is_told_at_its_element():
    wrong = Entry(
        by=["identifier=1"],
        resource={"resourceType": "Patient", "birthDate": "long ago", "name": [{"family": 7}]},
    )
    with pytest.raises(StepError) as caught:
        check(wrong)
    assert (caught.value.code, caught.value.where.split(".")[0]) == ("fhir.resource", "Patient")
    assert "long ago" not in str(caught.value)
    with pytest.raises(StepError) as caught:
        plan(events("ORU^R01", PID, "OBR|1|||GLU^Glucose"))
    assert caught.value.code == "fhir.no_identifier"
