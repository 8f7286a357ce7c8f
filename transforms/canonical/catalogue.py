"""Every canonical event, what it means, and its JSON Schema (draft 2020-12).

Guarantee: an adapter gives no event that is not listed here (a test says so); the schema of an event is the one that
`dataschema` of its envelope names.
"""

from __future__ import annotations

from typing import Any

import msgspec

from transforms.canonical.clinical import Document, Order, Result, Vaccination
from transforms.canonical.entities import (
    Appointment,
    Encounter,
    Location,
    Organization,
    Patient,
    Practitioner,
)
from transforms.canonical.events import BEYOND, SPEC_VERSION
from transforms.canonical.financial import Account, Charge, Coverage

ENTITIES: dict[str, type] = {
    "patient": Patient,
    "encounter": Encounter,
    "account": Account,
    "appointment": Appointment,
    "schedule": Appointment,
    "order": Order,
    "referral": Order,
    "result": Result,
    "document": Document,
    "vaccination": Vaccination,
    "charge": Charge,
    "payment": Charge,
    "practitioner": Practitioner,
    "organization": Organization,
    "location": Location,
    "coverage": Coverage,
}
"""The entity of an event, by the first word of its type."""

EVENTS = {
    "patient.registered": "a patient is known, with all that the message tells",
    "patient.updated": "the patient's data changed",
    "patient.merged": "the patients in `retired` are this one",
    "patient.linked": "two records may be of one person",
    "patient.unlinked": "they are not",
    "patient.identifier_changed": "an identifier was replaced; the old one is in `retired`",
    "patient.identifier_moved": "an identifier went from the patient in `retired` to this one",
    "patient.deleted": "the patient was entered in error",
    "encounter.planned": "a visit is expected",
    "encounter.registered": "an outpatient visit has begun",
    "encounter.admitted": "an inpatient visit has begun",
    "encounter.arrived": "the patient has come",
    "encounter.class_changed": "an outpatient became an inpatient, or the other way round",
    "encounter.transferred": "the patient is in another place",
    "encounter.transfer_cancelled": "the patient is back in the place before",
    "encounter.transfer_pending": "a transfer is planned",
    "encounter.transfer_pending_cancelled": "the planned transfer is off",
    "encounter.location_tracked": "the patient was seen in a place",
    "encounter.leave_started": "the patient is on leave",
    "encounter.leave_ended": "the patient is back from leave",
    "encounter.leave_cancelled": "the leave was an error",
    "encounter.leave_end_cancelled": "the return was an error",
    "encounter.discharged": "the visit has ended",
    "encounter.discharge_cancelled": "it has not",
    "encounter.discharge_pending": "a discharge is planned",
    "encounter.discharge_pending_cancelled": "the planned discharge is off",
    "encounter.cancelled": "the visit does not take place",
    "encounter.updated": "the visit's data changed",
    "encounter.deleted": "the visit was entered in error",
    "encounter.merged": "the visit in `previous` is this one",
    "encounter.moved": "the visit went to this patient",
    "encounter.number_changed": "the visit has another number; the old one is in `previous`",
    "account.opened": "charges are collected on an account",
    "account.updated": "its coverages, diagnoses or guarantor changed",
    "account.closed": "no more charges come",
    "account.purged": "the account was deleted",
    "account.merged": "the account in `previous` is this one",
    "account.moved": "the account went to this patient",
    "account.number_changed": "the account has another number; the old one is in `previous`",
    "appointment.requested": "somebody asks for a time",
    "appointment.booked": "a time is booked",
    "appointment.rescheduled": "it is at another time",
    "appointment.modified": "something else of it changed",
    "appointment.cancelled": "it does not take place",
    "appointment.deleted": "it was entered in error",
    "appointment.noshow": "the patient did not come",
    "appointment.arrived": "the patient has come",
    "appointment.completed": "it has taken place",
    "schedule.blocked": "a time cannot be booked",
    "schedule.unblocked": "it can again",
    "order.placed": "something is ordered",
    "order.modified": "the order changed",
    "order.replaced": "the order is replaced by another one, or replaces one",
    "order.cancelled": "the order is withdrawn",
    "order.discontinued": "what was begun is not done any more",
    "order.held": "the order waits",
    "order.released": "it waits no more",
    "order.rejected": "the order cannot be done",
    "order.status_changed": "the order has another status",
    "referral.requested": "a patient is referred",
    "referral.modified": "the referral changed",
    "referral.cancelled": "the referral is withdrawn",
    "referral.status_requested": "somebody asks how the referral stands",
    "referral.accepted": "the referral is accepted",
    "referral.rejected": "it is not",
    "referral.pending": "it is being looked at",
    "referral.expired": "it came too late",
    "referral.answered": "there is an answer that says neither yes nor no",
    "result.preliminary": "a result is there that may still change",
    "result.available": "a final result",
    "result.corrected": "a final result was wrong, and this is the right one",
    "result.cancelled": "there will be no result",
    "document.available": "a document, or an addendum to one",
    "document.updated": "the document has other content",
    "document.replaced": "the document takes the place of `parent`",
    "document.status_changed": "the document has another status",
    "document.cancelled": "the document was an error",
    "vaccination.recorded": "a vaccination was given",
    "vaccination.refused": "it was not given",
    "vaccination.updated": "its data changed",
    "vaccination.deleted": "it was entered in error",
    "charge.posted": "something is to be paid",
    "charge.reversed": "a credit",
    "charge.adjusted": "an adjustment",
    "payment.received": "somebody has paid",
    "practitioner.registered": "a practitioner is known",
    "practitioner.updated": "the practitioner's data changed",
    "practitioner.deleted": "the practitioner was entered in error",
    "organization.registered": "an organization is known",
    "organization.updated": "the organization's data changed",
    "organization.deleted": "the organization was entered in error",
    "location.registered": "a place is known",
    "location.updated": "the place's data changed",
    "location.status_changed": "a bed or a room is occupied, free, to be cleaned … (bed_status)",
    "location.deleted": "the place was entered in error",
    "coverage.registered": "an insurance of a patient is known",
    "coverage.updated": "the insurance's data changed",
    "coverage.cancelled": "the insurance does not pay any more",
    "coverage.deleted": "the insurance was entered in error",
}
"""Type of the event, and what it means."""

_REF = "#/$defs/{name}"
_SHARED = (Patient, Encounter, Account, Coverage)


def schemas() -> dict[str, Any]:
    """One JSON Schema that holds for every event: `$defs` has one for each type, by its name."""
    classes = list(dict.fromkeys([*ENTITIES.values(), *_SHARED]))
    _, parts = msgspec.json.schema_components(classes, ref_template=_REF)
    for kind, text in EVENTS.items():
        parts[kind] = _event(kind, text)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:isthmus:schema:events:1",
        "title": "Canonical events of Isthmus as CloudEvents 1.0",
        "oneOf": [{"$ref": _REF.format(name=kind)} for kind in EVENTS],
        "$defs": parts,
    }


def _event(type_: str, text: str) -> dict[str, Any]:
    kind = type_.partition(".")[0]
    entity = ENTITIES[kind]
    data: dict[str, Any] = {
        "entity": _ref(entity) if kind != "account" else {"anyOf": [_ref(Account), _ref(Encounter)]},
        "changed": {"type": "array", "items": {"type": "string"}},
        "message": {"type": "object", "properties": {"key": {"type": "string"}, "type": {"type": "string"}}},
    }
    if kind != "patient":
        data["patient"] = _ref(Patient)
    else:
        data["retired"] = {"type": "array", "items": _ref(Patient)}
    if kind in ("encounter", "account"):
        data["previous"] = _ref(Encounter)
    if kind in BEYOND:
        data |= {"encounter": _ref(Encounter), "coverages": {"type": "array", "items": _ref(Coverage)}}
        data |= {} if kind == "account" else {"account": _ref(Account)}
    words = ("id", "source", "subject", "partitionkey", "correlationid", "tenant", "origin")
    return {
        "title": type_,
        "description": f"{text[:1].upper()}{text[1:]}.",
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            "specversion": {"const": SPEC_VERSION},
            "type": {"const": f"health.{type_}.v1"},
            "dataschema": {"const": f"urn:isthmus:schema:{type_}:1"},
            "datacontenttype": {"const": "application/json"},
            "time": {"type": "string", "format": "date-time"},
            **{word: {"type": "string"} for word in words},
            "data": {"type": "object", "required": ["entity", "changed", "message"], "properties": data},
        },
    }


def _ref(entity: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=entity.__name__)}
