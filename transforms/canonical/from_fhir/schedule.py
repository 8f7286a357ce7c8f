"""Appointment → event. FHIR tells states; what happened is the step from the state before to this one.

| status | before | event |
|--------|--------|-------|
| proposed, pending, waitlist | another status, none | appointment.requested |
| booked | another status, none | appointment.booked |
| booked | booked, another start or end | appointment.rescheduled, with `prior_start` |
| arrived, checked-in | another status, none | appointment.arrived |
| fulfilled | another status, none | appointment.completed |
| cancelled · noshow · entered-in-error, deleted | another status, none | appointment.cancelled · noshow · deleted |
| cancelled · entered-in-error | the same status, another value | appointment.cancelled · deleted, again |
| any other | the same status, another value | appointment.modified (times: rescheduled) |
| any | the same values | none |

Guarantees: a change of what is cancelled or deleted never brings it back; times, people and places are read as of HL7
messages; the end is the start and `minutesDuration` where no end was sent. Refused (`StepError`): a patient who cannot
be told (`fhir.unresolved`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import UNSET

from transforms.canonical.entities import Appointment, Patient
from transforms.canonical.from_fhir.changes import Kind, differing
from transforms.canonical.from_fhir.people import location, patient_of, practitioner
from transforms.canonical.from_fhir.reader import Reader, Resource, dict_, dicts, text
from transforms.canonical.from_fhir.visit import encounter_of
from transforms.canonical.maker import Maker
from transforms.canonical.types import Code, Identifier, Maybe, Ref

STATES = {
    **dict.fromkeys(("proposed", "pending", "waitlist"), "requested"),
    "booked": "booked",
    **dict.fromkeys(("arrived", "checked-in"), "arrived"),
    "fulfilled": "completed",
    "cancelled": "cancelled",
    "noshow": "noshow",
    "entered-in-error": "deleted",
}
OVER = {state: STATES[state] for state in ("cancelled", "entered-in-error")}
PEOPLE = ("Practitioner", "PractitionerRole")
THINGS = ("HealthcareService", "Device")


def appointments(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of an Appointment, if anything of it changed."""
    new = appointment(read)
    old = appointment(before) if before is not None else None
    action, changed = happened(kind, old, new)
    if before is not None and _whose(before) != _whose(read):
        action, changed = action or OVER.get(new.status, "modified"), [*changed, "patient"]
    if not action:
        return
    if action == "rescheduled" and old is not None:
        new.prior_start = old.start
    make.event(
        f"appointment.{action}",
        "Appointment",
        new.key,
        patient=subject(read),
        appointment=new,
        changed=changed,
    )


def happened(kind: Kind, old: Appointment | None, new: Appointment) -> tuple[str, list[str]]:
    """The action of the table above ("" when nothing changed), and what changed."""
    if kind == "delete":
        new.status = "entered-in-error"
        return "deleted", ["status"]
    if old is None:
        if kind == "update" and new.status == "booked":
            return "modified", []
        return STATES.get(new.status, "modified"), []
    changed = differing(old, new, "identifiers", "duration")
    if old.status != new.status:
        return STATES.get(new.status, "modified"), changed
    if new.status in OVER:
        return (OVER[new.status] if changed else ""), changed
    if {"start", "end"} & set(changed):
        return "rescheduled", changed
    return ("modified" if changed else ""), changed


def subject(read: Reader) -> Patient | None:
    """The patient: a participant, or in R5 `subject`."""
    found = dict_(_whose(read)[0])
    return patient_of(read, found, "participant.actor") if read.kind(found) in ("Patient", "") else None


def _whose(read: Reader) -> list[Any]:
    actors = [dict_(item.get("actor")) for item in _participants(read)]
    return [actor for actor in actors if read.kind(actor) == "Patient"] or [read.data.get("subject")]


def appointment(read: Reader) -> Appointment:
    """The appointment of a resource."""
    data = read.data
    start, end = read.moment(data.get("start")), read.moment(data.get("end"))
    end = _end(read, start, end)
    reason: Any = read.code(data.get("reasonCode") or data.get("reason"))
    if not isinstance(reason, Code) and (said := text(data.get("description")).strip()):
        reason = Code(text=said)
    people, places, things = [], [], []
    for item in _participants(read):
        actor = dict_(item.get("actor"))
        type_ = read.kind(actor)
        if type_ in PEOPLE:
            role = read.code(item.get("type"))
            people.append(practitioner(read, actor, role if isinstance(role, Code) else None))
        elif type_ == "Location":
            places.append(location(read, actor))
        elif type_ in THINGS:
            things.append(_thing(read, actor))
    return Appointment(
        identifiers=numbers(read),
        status=text(data.get("status")),
        start=start,
        end=end,
        duration=int((end - start).total_seconds() // 60) if start and end else 0,
        reason=reason,
        cancel_reason=read.code(data.get("cancelationReason") or data.get("cancellationReason")),
        type=read.code(data.get("appointmentType")),
        services=read.codes(data.get("serviceType")),
        practitioners=[one for one in people if one is not None],
        locations=[one for one in places if one is not None],
        resources=[one for one in things if one.label],
        comments=[*read.notes(data.get("comment")), *read.notes(data.get("note"))],
        based_on=read.refs(data.get("basedOn"), "ServiceRequest", "Order", "PLAC", "FILL"),
        encounter=_visit(read),
    )


def _visit(read: Reader) -> Maybe[Ref]:
    """The Encounter among `supportingInformation`, for an Appointment has no other place that names one."""
    told = [item for item in dicts(read.data.get("supportingInformation")) if read.kind(item) == "Encounter"]
    visit = encounter_of(read, told)
    if visit is None:
        return UNSET if told else read.absent
    return Ref(kind="Encounter", identifiers=read.usable(visit.identifiers))


def numbers(read: Reader) -> list[Identifier]:
    """Filler and placer number as `appointment_id` orders them; one without type is the filler's."""
    found = read.numbers("FILL", "PLAC")
    if read.options.appointment_id == "placer":
        found.sort(key=lambda item: item.type != "PLAC")
    return found


def _participants(read: Reader) -> list[Resource]:
    """Those who did not decline."""
    return [item for item in dicts(read.data.get("participant")) if item.get("status") != "declined"]


def _end(read: Reader, start: Any, end: Any) -> Maybe[datetime]:
    if not isinstance(start, datetime) or (isinstance(end, datetime) and end > start):
        return end
    minutes = read.data.get("minutesDuration")
    lasts = minutes if type(minutes) is int and minutes > 0 else read.options.default_duration
    return start + timedelta(minutes=lasts)


def _thing(read: Reader, reference: Resource) -> Code:
    """A service or a device by its name."""
    data = read.resolve(reference) or {}
    name = text(data.get("name"))
    return Code(text=name or text(reference.get("display")))
