"""Canonical events → FHIR resources (R4, R4B, R5), and how each is found on a server. Pure: no I/O, no clock.

    plan(events, systems={"RGH": "https://ehr.example/mrn"}, version="R5") → [Entry, …]

| event | written |
|-------|---------|
| patient.* | Patient; deleted: `active: false`, unless the number is one of before |
| patient.merged | the survivor with `link` replaces; the retired, if they are there: `active: false`, replaced-by |
| patient.identifier_changed | the Patient that has the old or the new identifier; the old one: `use: old` |
| encounter.* | Patient, Encounter; number_changed: that with the old or the new number; merged, moved: the old one is |
|             | entered-in-error, if it is there |
| appointment.* | Patient, Appointment |
| order.*, referral.* | Patient, Encounter, Coverage, ServiceRequest |
| result.* | Patient, Encounter, DiagnosticReport, Observation |
| document.* | Patient, Encounter, DocumentReference |
| charge.* | Patient, Encounter, ChargeItem |
| vaccination.* | Patient, Encounter, Immunization; deleted: entered-in-error, if it is there |
| account.*, coverage.* | Patient, Coverage |
| practitioner.*, organization.*, location.* | Practitioner, Organization, Location |

Practitioner, Organization and Location are also made for the others when they have an identifier and are not there.
Guarantee: the same events give the same entries; payments and blocked slots give none (a Slot needs the Schedule that
the server itself keeps), and a visit without a number gives only its patient. Refused (`StepError`): an appointment,
order, result, document or vaccination that nothing would find again (`fhir.no_identifier`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from engine.errors import StepError
from engine.fhir.entries import Entry
from transforms.canonical.events import Event
from transforms.canonical.to_fhir.care import appointment, encounter, order
from transforms.canonical.to_fhir.datatypes import Json
from transforms.canonical.to_fhir.finance import charge, coverage
from transforms.canonical.to_fhir.people import location, organization, patient, practitioner
from transforms.canonical.to_fhir.plan import Plan
from transforms.canonical.to_fhir.r5 import r5
from transforms.canonical.to_fhir.records import document, result, vaccination

__all__ = ["RESOURCES", "WRITTEN", "plan"]


def plan(
    events: Iterable[Event], systems: Mapping[str, str] | None = None, version: str = "R4"
) -> list[Entry]:
    """What is to be written for the events of one message, what others refer to first, as `version` has it."""
    made = Plan(systems or {})
    for event in events:
        write = WRITTEN.get(event.kind)
        if write is not None:
            if event.entity is None or (
                not getattr(event.entity, "identifiers", None) and event.kind in NAMED
            ):
                raise unnamed(event)
            write(made, event)
    return [r5(entry) for entry in made.entries] if version == "R5" else made.entries


def unnamed(event: Event) -> StepError:
    """What an event is about has nothing by which it would be found again."""
    return StepError(
        f"the {event.kind} has no identifier", code="fhir.no_identifier", where=event.type,
        todo="nobody would find it again on the server: filter such messages",
    )  # fmt: skip


def _who(made: Plan, event: Event) -> Json:
    return patient(made, event.patient) if event.patient is not None else {}


def _visit(made: Plan, event: Event, who: Json) -> Json:
    return encounter(made, event.encounter, who) if event.encounter is not None else {}


def _paid(made: Plan, event: Event, who: Json) -> list[Json]:
    holder = event.patient.key if event.patient is not None else ""
    return [coverage(made, item, who, holder) for item in event.coverages] if who else []


def _patient(made: Plan, event: Event) -> None:
    assert event.patient is not None
    if event.action == "deleted":
        patient(made, event.patient, retires=True, active=False)
    elif event.action == "merged":
        gone = [patient(made, one, "existing", active=False) for one in event.retired]
        links: list[Any] = [{"other": one, "type": "replaces"} for one in gone]
        survivor = patient(made, event.patient, link=links)
        for one in event.retired:
            patient(made, one, "existing", link=[{"other": survivor, "type": "replaced-by"}])
    elif event.action in ("identifier_changed", "identifier_moved"):
        before = [item for one in event.retired for item in one.identifiers]
        patient(made, event.patient, former=before if event.action == "identifier_changed" else None)
    else:
        patient(made, event.patient)


def _encounter(made: Plan, event: Event) -> None:
    assert event.encounter is not None
    who = _who(made, event)
    before = event.prior.identifiers if event.prior is not None else []
    if event.action == "number_changed":
        encounter(made, event.encounter, who, also=before)
        return
    encounter(made, event.encounter, who)
    if event.action in ("merged", "moved") and before and before[0] not in event.encounter.identifiers:
        made.add("Encounter", before[0], {"status": "entered-in-error"}, mode="existing")


def _appointment(made: Plan, event: Event) -> None:
    assert event.appointment is not None
    appointment(made, event.appointment, _who(made, event))


def _order(made: Plan, event: Event) -> None:
    assert event.order is not None
    who = _who(made, event)
    order(made, event.order, who, _visit(made, event, who), _paid(made, event, who))


def _result(made: Plan, event: Event) -> None:
    assert event.result is not None
    who = _who(made, event)
    result(made, event.result, who, _visit(made, event, who))


def _document(made: Plan, event: Event) -> None:
    assert event.document is not None
    who = _who(made, event)
    document(made, event.document, who, _visit(made, event, who))


def _coverage(made: Plan, event: Event) -> None:
    who = _who(made, event)
    status = {"cancelled": "cancelled", "deleted": "entered-in-error"}.get(event.action, "active")
    holder = event.patient.key if event.patient is not None else ""
    for item in event.coverages:
        coverage(made, item, who, holder, status if event.kind == "coverage" else "active")


def _charge(made: Plan, event: Event) -> None:
    assert event.charge is not None
    who = _who(made, event)
    charge(made, event.charge, event.account, who, _visit(made, event, who))


def _vaccination(made: Plan, event: Event) -> None:
    assert event.vaccination is not None
    who = _who(made, event)
    whose = event.patient.key if event.patient is not None else ""
    visit = _visit(made, event, who)
    if not vaccination(made, event.vaccination, whose, who, visit, gone=event.action == "deleted"):
        raise unnamed(event)


def _practitioner(made: Plan, event: Event) -> None:
    assert event.practitioner is not None
    gone = event.action == "deleted"
    practitioner(made, replace(event.practitioner, active=False) if gone else event.practitioner, "update")


def _organization(made: Plan, event: Event) -> None:
    assert event.organization is not None
    gone = event.action == "deleted"
    organization(made, replace(event.organization, active=False) if gone else event.organization, "update")


def _location(made: Plan, event: Event) -> None:
    assert event.location is not None
    gone = event.action == "deleted"
    location(made, replace(event.location, status="inactive") if gone else event.location, "update")


WRITTEN: dict[str, Callable[[Plan, Event], None]] = {
    "patient": _patient,
    "encounter": _encounter,
    "appointment": _appointment,
    "order": _order,
    "referral": _order,
    "result": _result,
    "document": _document,
    "charge": _charge,
    "vaccination": _vaccination,
    "coverage": _coverage,
    "account": _coverage,
    "practitioner": _practitioner,
    "organization": _organization,
    "location": _location,
}
_CARE = ("Patient", "Encounter")
RESOURCES: dict[str, tuple[str, ...]] = {
    "patient": ("Patient",),
    "encounter": _CARE,
    "appointment": ("Patient", "Appointment"),
    "order": (*_CARE, "Coverage", "ServiceRequest"),
    "referral": (*_CARE, "Coverage", "ServiceRequest"),
    "result": (*_CARE, "DiagnosticReport", "Observation"),
    "document": (*_CARE, "DocumentReference"),
    "charge": (*_CARE, "ChargeItem"),
    "vaccination": (*_CARE, "Immunization"),
    "coverage": ("Patient", "Coverage"),
    "account": ("Patient", "Coverage"),
    "practitioner": ("Practitioner",),
    "organization": ("Organization",),
    "location": ("Location",),
}
"""What is written for each kind of event; beside them practitioners, organizations and places that are named."""
NAMED = frozenset({"appointment", "order", "referral", "result", "document"})
