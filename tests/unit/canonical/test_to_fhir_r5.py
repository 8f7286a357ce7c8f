"""FHIR R5: allowed by its models, and read back as the very entities that the R4 resources are read back as."""

from __future__ import annotations

import msgspec
import pytest

from destinations.fhir import check
from engine.fhir.entries import Entry, merged, said
from tests.unit.canonical.hl7 import PID, events
from tests.unit.canonical.test_to_fhir import SCH, SYSTEMS, only
from tests.unit.canonical.test_to_fhir_business import FT1, RXA
from transforms.canonical.from_fhir import interpret
from transforms.canonical.to_fhir import plan
from transforms.canonical.to_fhir.r5 import CHANGES

DOCTOR = "17^Moreau^Claire^^^Dr^^^NPI"


def segment(name, **fields):
    """`segment("PV1", _2="I")`."""
    last = max(int(one[1:]) for one in fields)
    return "|".join([name, *(fields.get(f"_{n}", "") for n in range(1, last + 1))])


VISIT = segment(
    "PV1",
    _2="I",
    _3="W1^2^B^HOSP",
    _7=DOCTOR,
    _10="MED",
    _14="7",
    _19="V1^^^HOSP^VN",
    _36="01",
    _44="20260301080000+0000",
)
IN1 = segment(
    "IN1", _1="1", _2="PPO^Plan", _3="60^^^PAYERS", _4="Aetna", _5="1 Elm^^Reno^NV", _7="1 775 5550100", _8="G7",
    _9="Group", _12="20260101", _16="Doe^Jane", _17="SEL^Self", _36="POL9",
)  # fmt: skip
OBR = f"OBR|1|P1^EHR|F1^LAB|GLU^Glucose^LN|||20260228||||||||{DOCTOR}|||||||||F|||||||I10^Hypertension^I10"
MESSAGES = {
    "Appointment": ("SIU^S12", SCH, "NTE|1||Bring papers", PID, "RGS|1", "AIS|1||99213^Visit^CPT", f"AIP|1||{DOCTOR}"),
    "Encounter": ("ADT^A01", PID, VISIT, "PV2|||R51^Headache^I10"),
    "ServiceRequest": ("ORM^O01", PID, VISIT, IN1, f"ORC|NW|P1^EHR|||||||||||{DOCTOR}", OBR),
    "DiagnosticReport": ("ORU^R01", PID, OBR, "OBX|1|NM|2345-7^Glucose^LN||7.1|mmol/L|3.9-6|H|||F"),
    "DocumentReference": (
        "MDM^T10", PID, segment("TXA", _2="DS", _6="20260301", _12="D2^HIS", _13="D1^HIS", _17="LA"),
        "OBX|1|TX|||All well",
    ),
    "ChargeItem": ("DFT^P03", PID, VISIT, FT1),
    "Immunization": ("VXU^V04", PID, "ORC|RE||65930^DCS", RXA, "RXR|IM^Intramuscular^HL70162"),
    "Coverage": ("BAR^P05", PID, VISIT, IN1),
}  # fmt: skip


def resources(found: list[Entry]):
    """As they would stand on a server."""
    return {
        entry.url: {**said({**entry.new, **said(entry.resource)}), "id": str(n)}
        for n, entry in enumerate(found)
    }


def read_back(found: list[Entry], about: str):
    """What a server's Bundle of them tells of the resource of one type."""
    entry = [
        {
            "fullUrl": url,
            "resource": one,
            "search": {"mode": "match" if one["resourceType"] == about else "include"},
        }
        for url, one in resources(found).items()
    ]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entry}
    told = [
        msgspec.to_builtins(event) for event in interpret(bundle, settings={"canonical": {"absent": "leave"}})
    ]
    for event in told:
        event.pop("id")
    return told


@pytest.mark.parametrize("about", MESSAGES)
def test_the_same_is_read_back(about):
    said_ = events(*MESSAGES[about])
    r4, r5 = plan(said_, SYSTEMS), plan(said_, SYSTEMS, "R5")
    assert [(one.by, one.mode, one.url) for one in r5] == [(one.by, one.mode, one.url) for one in r4]
    for entry in r5:
        check(entry, "R5")
    resource, old = only(r5, about).resource, only(r4, about).resource
    assert set(CHANGES.get(about, ())) & set(old) or resource == old, "the message has what differs"
    assert read_back(r5, about) == read_back(r4, about)
    assert read_back(r5, about)


@pytest.mark.parametrize(
    ("trigger", "status", "presence"),
    [("A01", "in-progress", "receiving-care"), ("A03", "completed", "departed"), ("A10", "in-progress", "arrived"),
     ("A21", "on-hold", "on-leave")],
)  # fmt: skip
def test_the_state_of_a_visit(trigger, status, presence):
    visit = only(plan(events(f"ADT^{trigger}", PID, VISIT), {}, "R5"), "Encounter").resource
    assert (visit["status"], visit["subjectStatus"]["coding"][0]["code"]) == (status, presence)
    assert "period" not in visit


def test_a_planned_visit_has_planned_times():
    pv2 = "PV2||||||||20260401080000+0000|20260403080000+0000"
    visit = only(
        plan(events("ADT^A05", PID, segment("PV1", _2="P", _19="V1^^^HOSP^VN"), pv2), {}, "R5"), "Encounter"
    )
    assert visit.resource["plannedStartDate"] == "2026-04-01T08:00:00+00:00"
    assert (
        visit.resource["plannedEndDate"] == "2026-04-03T08:00:00+00:00"
        and "actualPeriod" not in visit.resource
    )


def test_what_is_cleared_is_taken_away():
    begun = only(plan(events("ADT^A01", PID, VISIT), {}, "R5"), "Encounter").resource
    back = only(plan(events("ADT^A13", PID, VISIT), {}, "R5"), "Encounter").resource
    there = said(merged(begun, {"actualPeriod": {"end": "2026-03-02"}}))
    assert said(merged(there, back))["actualPeriod"] == begun["actualPeriod"]
    emptied = VISIT.replace("|MED|", '|""|')
    left = said(merged(begun, only(plan(events("ADT^A08", PID, emptied), {}, "R5"), "Encounter").resource))
    assert "serviceType" in begun and "serviceType" not in left
