"""FHIR tells states: which step from one state to the next is which event, in R4 and in R5."""

from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from msgspec import UNSET

from engine.errors import StepError
from tests.unit.canonical.served import APPOINTMENT, ENCOUNTER, NAMED, but, one, types
from transforms.canonical.from_fhir import interpret

BY_ID = {"canonical": {"identity": "resource"}}
NUMBER = [{"system": "urn:n", "value": "1"}]


@pytest.mark.parametrize(
    ("before", "now", "action"),
    [
        (None, "proposed", "requested"),
        (None, "waitlist", "requested"),
        (None, "booked", "booked"),
        ("pending", "booked", "booked"),
        ("cancelled", "booked", "booked"),
        ("booked", "arrived", "arrived"),
        ("arrived", "checked-in", "arrived"),
        ("checked-in", "fulfilled", "completed"),
        ("booked", "cancelled", "cancelled"),
        ("booked", "noshow", "noshow"),
        ("booked", "entered-in-error", "deleted"),
        (None, "cancelled", "cancelled"),
        (None, "of-tomorrow", "modified"),
        ("booked", "booked", ""),
    ],
)
def test_appointments(before, now, action):
    old = but(APPOINTMENT, status=before) if before else None
    assert types(but(APPOINTMENT, status=now), old) == ([f"appointment.{action}"] if action else [])


def test_an_appointment_is_moved_and_changed():
    moved = but(APPOINTMENT, start="2026-04-01T16:00:00Z", end="2026-04-01T16:30:00Z")
    event = one(moved, APPOINTMENT)
    assert (event.type, event.changed) == ("appointment.rescheduled", ["start", "end"])
    assert event.appointment.prior_start.hour == 15
    event = one(but(APPOINTMENT, comment="Bring X-rays"), APPOINTMENT)
    assert (event.type, event.changed) == ("appointment.modified", ["comments"])
    assert one(APPOINTMENT, kind="update").type == "appointment.modified"
    event = one(
        but(APPOINTMENT, participant=[{"actor": {"identifier": NUMBER[0], "type": "Patient"}}]), APPOINTMENT
    )
    assert (event.type, event.changed) == ("appointment.modified", ["patient"])


def test_an_appointment_ends_when_it_says_or_after_its_minutes():
    assert one(but(APPOINTMENT, end=None, minutesDuration=45)).appointment.duration == 45
    assert one(but(APPOINTMENT, end=None), canonical={"default_duration": 20}).appointment.duration == 20
    assert one(but(APPOINTMENT, start=None, end=None)).appointment.start is None
    there = one(but(APPOINTMENT, start="2026-04-01T15:00:00"), timezone="America/Chicago").appointment
    assert there.start.utcoffset().total_seconds() == -5 * 3600


def test_which_number_names_an_appointment():
    numbers = [
        {"type": {"coding": [{"code": "PLAC"}]}, "system": "urn:ehr", "value": "P"},
        {"system": "urn:sched", "value": "F"},
    ]
    both = but(APPOINTMENT, identifier=numbers)
    assert one(both).appointment.key == "urn:sched/F"
    assert one(both, canonical={"appointment_id": "placer"}).appointment.key == "urn:ehr/placer/P"
    assert one(both, **BY_ID).appointment.key == "fhir/a1"
    assert one(but(APPOINTMENT, identifier=None)).appointment.key == "fhir/a1"


def test_an_appointment_of_r5_is_one_of_r4():
    r4 = but(
        APPOINTMENT,
        reasonCode=[{"text": "Pain"}],
        serviceType=[{"text": "Dentistry"}],
        cancelationReason={"text": "ill"},
        comment="Ring twice",
    )
    r5 = but(
        APPOINTMENT,
        reason=[{"concept": {"text": "Pain"}}],
        serviceType=[{"concept": {"text": "Dentistry"}}],
        cancellationReason={"text": "ill"},
        note=[{"text": "Ring twice"}],
        participant=[],
        subject=NAMED,
    )
    ours, theirs = one(r4), one(r5)
    assert (ours.appointment, ours.patient.key) == (theirs.appointment, theirs.patient.key)
    assert ours.appointment.reason.label == "Pain"


@pytest.mark.parametrize(
    ("before", "now", "class_", "action"),
    [
        (None, "planned", "IMP", "planned"),
        (None, "in-progress", "IMP", "admitted"),
        (None, "in-progress", "ACUTE", "admitted"),
        (None, "in-progress", "AMB", "registered"),
        ("planned", "arrived", "AMB", "arrived"),
        ("arrived", "triaged", "EMER", ""),
        ("arrived", "in-progress", "EMER", "admitted"),
        ("in-progress", "onleave", "IMP", "leave_started"),
        ("in-progress", "on-hold", "IMP", "leave_started"),
        ("onleave", "in-progress", "IMP", "leave_ended"),
        ("in-progress", "finished", "IMP", "discharged"),
        ("in-progress", "completed", "IMP", "discharged"),
        ("finished", "in-progress", "IMP", "discharge_cancelled"),
        ("planned", "cancelled", "IMP", "cancelled"),
        ("planned", "discontinued", "IMP", "cancelled"),
        ("planned", "entered-in-error", "IMP", "deleted"),
        (None, "unknown", "IMP", "updated"),
    ],
)
def test_encounters(before, now, class_, action):
    old = but(ENCOUNTER, status=before, class_={"code": class_}) if before else None
    found = types(but(ENCOUNTER, status=now, class_={"code": class_}), old)
    assert found == ([f"encounter.{action}"] if action else [])


def test_an_encounter_goes_to_another_place():
    def at(name, **values):
        return {"location": {"display": name}, **values}

    here = but(ENCOUNTER, location=[at("Ward 1")])
    there = but(
        ENCOUNTER,
        location=[
            at("Ward 1", status="completed"),
            at("Ward 2", status="active"),
            at("OR", status="planned"),
        ],
    )
    event = one(there, here)
    assert (event.type, event.changed) == ("encounter.transferred", ["location"])
    assert (event.encounter.location.display, event.encounter.prior_location.display) == ("Ward 2", "Ward 1")
    assert one(but(ENCOUNTER, class_={"code": "AMB"}), ENCOUNTER).type == "encounter.class_changed"
    assert one(but(ENCOUNTER, serviceType={"text": "MED"}), ENCOUNTER).changed == ["hospital_service"]
    assert types(ENCOUNTER, ENCOUNTER) == []
    assert one(ENCOUNTER, kind="delete").encounter.status == "entered-in-error"


def test_an_encounter_of_r5_is_one_of_r4():
    doctor = {"display": "Dr. Moreau", "type": "Practitioner"}
    consulting = [{"coding": [{"code": "CON"}]}]
    r4 = but(
        ENCOUNTER,
        status="finished",
        hospitalization={"dischargeDisposition": {"coding": [{"code": "home"}]}},
        participant=[{"individual": doctor, "type": consulting}],
        reasonCode=[{"text": "Pain"}],
    )
    r5 = but(
        ENCOUNTER,
        status="completed",
        class_=[{"coding": [{"code": "IMP"}]}],
        period=None,
        actualPeriod=ENCOUNTER["period"],
        admission={"dischargeDisposition": {"coding": [{"code": "home"}]}},
        participant=[{"actor": doctor, "type": consulting}],
        reason=[{"value": [{"concept": {"text": "Pain"}}]}],
    )
    assert one(r4).encounter == one(r5).encounter
    visit = one(r4).encounter
    assert (visit.number, visit.discharge_disposition, visit.reason.label) == ("V-1", "home", "Pain")
    assert [person.display for person in visit.consulting] == ["Dr. Moreau"]


ORDER = {
    "resourceType": "ServiceRequest",
    "identifier": NUMBER,
    "status": "active",
    "intent": "order",
    "subject": NAMED,
    "code": {"text": "Chest X-ray"},
    "requester": {"display": "Dr. House", "type": "Practitioner"},
}
REFERRAL = but(ORDER, category=[{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}])


@pytest.mark.parametrize(
    ("before", "now", "order", "referral"),
    [
        (None, "active", "placed", "requested"),
        ("draft", "active", "placed", "requested"),
        (None, "draft", "", ""),
        ("on-hold", "active", "released", "modified"),
        ("active", "on-hold", "held", "modified"),
        ("active", "revoked", "cancelled", "cancelled"),
        ("active", "entered-in-error", "cancelled", "cancelled"),
        ("active", "completed", "status_changed", "modified"),
        ("active", "active", "", ""),
    ],
)
def test_orders_and_referrals(before, now, order, referral):
    for resource, action in (
        (ORDER, order and f"order.{order}"),
        (REFERRAL, referral and f"referral.{referral}"),
    ):
        old = but(resource, status=before) if before else None
        assert types(but(resource, status=now), old) == ([action] if action else [])


def test_what_an_order_is():
    event = one(but(ORDER, priority="stat"), ORDER)
    assert (event.type, event.changed) == ("order.modified", ["priority"])
    assert (event.order.key, event.order.title, event.order.requester.display) == (
        "urn:n/1",
        "Chest X-ray",
        "Dr. House",
    )
    assert types(but(ORDER, intent="proposal")) == []
    assert types(ORDER, kind="delete") == ["order.cancelled"]
    clinic = but(REFERRAL, performer=[{"display": "Heart Clinic", "type": "Organization"}])
    assert one(clinic).referral.referred_to.name == "Heart Clinic"
    assert one(but(ORDER, code={"concept": {"text": "Chest X-ray"}})).order == one(ORDER).order  # R5


@pytest.mark.parametrize(
    ("status", "action"),
    [("registered", ""), ("partial", "preliminary"), ("preliminary", "preliminary"), ("final", "available"),
     ("amended", "corrected"), ("appended", "corrected"), ("cancelled", "cancelled"), ("entered-in-error", "cancelled"),
     ("unknown", "")],
)  # fmt: skip
def test_results(status, action):
    for kind in ("DiagnosticReport", "Observation"):
        resource = {
            "resourceType": kind,
            "id": "1",
            "status": status,
            "subject": NAMED,
            "code": {"text": "Glucose"},
        }
        assert types(resource) == ([f"result.{action}"] if action else [])


def test_values_of_results():
    def value(**item):
        return {
            "resourceType": "Observation",
            "id": item.pop("id", "x"),
            "status": "final",
            "code": {"text": "v"},
            **item,
        }

    high = [{"coding": [{"code": "H"}]}]
    quantity = {"value": 7.10, "comparator": ">", "unit": "mmol/L"}
    values = [
        value(
            valueQuantity=quantity,
            interpretation=high,
            referenceRange=[{"low": {"value": 3.9}, "high": {"value": 6}}],
        ),
        value(valueCodeableConcept={"coding": [{"code": "A", "display": "Positive"}]}),
        value(valueRatio={"numerator": {"value": 1}, "denominator": {"value": 128}}),
        value(valueBoolean=False),
        value(dataAbsentReason={"text": "no sample"}),
        value(component=[value(valueInteger=120), value(valueString="low")]),
    ]
    for number, item in enumerate(values):
        item["id"] = f"o{number}"
    report = {
        "resourceType": "DiagnosticReport", "identifier": NUMBER, "status": "final", "subject": NAMED,
        "code": {"coding": [{"code": "GLU"}]}, "contained": values,
        "result": [{"reference": f"#o{number}"} for number in range(len(values))],
    }  # fmt: skip
    found = one(report).result
    assert [item.value for item in found.observations] == [
        "> 7.1",
        "Positive",
        "1:128",
        "false",
        None,
        "120",
        "low",
    ]
    first = found.observations[0]
    assert (first.unit, first.range, first.flag) == ("mmol/L", "3.9-6", "H")
    assert (found.key, len(found.abnormal)) == ("urn:n/1/GLU", 1)


def test_charges():
    item = {
        "resourceType": "ChargeItem", "identifier": NUMBER, "status": "billable", "subject": NAMED,
        "code": {"coding": [{"code": "99213", "display": "Visit"}]}, "quantity": {"value": 2},
        "priceOverride": {"value": 125.50, "currency": "USD"},
        "account": [{"identifier": {"system": "urn:a", "value": "A9"}}],
    }  # fmt: skip
    event = one(item)
    assert (event.type, event.charge.key, event.account.key) == ("charge.posted", "urn:n/1", "urn:a/A9")
    assert (event.charge.amount.amount, event.charge.price, event.charge.currency) == ("125.5", 62.75, "USD")
    assert types(item, item) == []
    assert one(but(item, quantity={"value": 3}), item).changed == ["quantity"]
    assert types(but(item, status="planned")) == types(but(item, status="not-billable")) == []
    assert types(but(item, status="billable"), but(item, status="planned")) == ["charge.posted"]
    gone = one(but(item, status="aborted"), item)
    assert (gone.type, gone.charge.kind, gone.charge.status) == ("charge.reversed", "charge", "aborted")
    assert types(but(item, status="entered-in-error"), but(item, status="aborted")) == []
    for wrong, code in ((but(item, account=[{"reference": "Account/1"}]), "fhir.unresolved"),
                        (but(item, identifier=None, account=None), "charge.no_identifier")):  # fmt: skip
        with pytest.raises(StepError) as caught:
            interpret(wrong)
        assert caught.value.code == code


def test_accounts_and_coverages():
    payer = {"resourceType": "Organization", "id": "pay", "name": "Aetna", "identifier": NUMBER}
    r4 = {
        "resourceType": "Coverage", "id": "c1", "status": "active", "beneficiary": NAMED, "subscriberId": "S1",
        "contained": [payer], "payor": [{"reference": "#pay"}], "order": 1,
        "class": [{"type": {"coding": [{"code": "group"}]}, "value": "G7", "name": "Staff"}],
        "period": {"end": "2026-12-31"}, "subscriber": {"display": "Otto Keller"},
    }  # fmt: skip
    r5 = but(
        r4, payor=None, insurer={"reference": "#pay"}, subscriberId=[{"value": "S1"}],
        class_=[{"type": {"coding": [{"code": "group"}]}, "value": {"value": "G7"}, "name": "Staff"}],
    )  # fmt: skip
    assert one(r4).coverage == one(r5).coverage
    found = one(r4).coverage
    assert (found.key, found.policy_number, found.group_number, found.payer.name) == (
        "urn:n/1/S1",
        "S1",
        "G7",
        "Aetna",
    )
    assert (found.subscriber.display, found.period.end, found.order) == ("Otto Keller", "2026-12-31", "1")
    assert types(r4, r4) == []
    assert types(but(r4, status="cancelled"), r4) == ["coverage.cancelled"]
    assert types(but(r4, subscriberId="S2"), r4) == ["coverage.updated"]
    account = {
        "resourceType": "Account", "identifier": NUMBER, "status": "active", "subject": [NAMED],
        "coverage": [{"coverage": {"reference": "#c1"}, "priority": 1}], "contained": [r4, payer],
        "guarantor": [{"party": {"display": "Otto Keller"}}],
    }  # fmt: skip
    event = one(account)
    assert (event.type, event.account.key, event.coverages[0].policy_number) == (
        "account.opened",
        "urn:n/1",
        "S1",
    )
    assert event.account.guarantor.name.display == "Otto Keller"
    assert types(but(account, status="inactive"), account) == ["account.closed"]
    assert types(but(account, guarantor=None), account) == ["account.updated"]
    assert types(account, kind="delete") == ["account.purged"]


def test_documents():
    text = base64.b64encode(b"All well").decode()
    document = {
        "resourceType": "DocumentReference", "identifier": NUMBER, "status": "current", "subject": NAMED,
        "type": {"text": "Letter"}, "content": [{"attachment": {"contentType": "text/plain", "data": text}},
                                                {"attachment": {"url": "Binary/1", "size": 9}}],
    }  # fmt: skip
    event = one(document)
    first, second = event.document.content
    assert (event.type, first.text, first.size) == ("document.available", "All well", 8)
    assert first.sha256 == sha256(b"All well").hexdigest()
    assert (second.size, event.document.ext) == (9, {"url": ["Binary/1"]})
    replaced = but(
        document,
        relatesTo=[{"code": "replaces", "target": {"identifier": {"system": "urn:n", "value": "0"}}}],
    )
    assert (one(replaced).type, one(replaced).document.parent.value) == ("document.replaced", "0")
    r5 = but(replaced, relatesTo=[{**replaced["relatesTo"][0], "code": {"coding": [{"code": "replaces"}]}}])
    assert one(r5).document == one(replaced).document
    assert types(but(document, description="New"), document) == ["document.updated"]
    assert types(but(document, status="superseded"), document) == ["document.status_changed"]
    assert types(but(document, status="entered-in-error"), document) == ["document.cancelled"]


def test_vaccinations():
    given = {
        "resourceType": "Immunization", "identifier": NUMBER, "status": "completed", "patient": NAMED,
        "vaccineCode": {"coding": [{"code": "207"}]}, "occurrenceDateTime": "2026-03-01", "lotNumber": "L1",
        "doseQuantity": {"value": 0.5, "unit": "mL"}, "manufacturer": {"display": "Moderna"},
    }  # fmt: skip
    event = one(given)
    found = event.vaccination
    assert (event.type, found.amount, found.unit, found.lot) == ("vaccination.recorded", "0.5", "mL", "L1")
    assert (found.manufacturer.label, found.refusal, found.at.day) == ("Moderna", None, 1)
    assert found.manufacturer is not UNSET
    r5 = but(given, manufacturer={"reference": {"display": "Moderna"}})
    assert one(r5).vaccination.manufacturer.label == "Moderna"
    assert types(but(given, lotNumber="L2"), given) == ["vaccination.updated"]
    assert types(but(given, status="not-done")) == ["vaccination.refused"]
    assert types(but(given, status="entered-in-error"), given) == ["vaccination.deleted"]
