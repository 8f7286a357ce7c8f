"""SIU → events. The trigger says what happened, unless SCH-25 says something stronger.

| trigger | event | status | SCH-25 that is stronger                                                    |
|---------|-------|--------|-----------------------------------------------------------------------------|
| S12     | appointment.booked      | booked    | Pending, Waitlist → requested; Cancelled, Deleted, Noshow |
| S13     | appointment.rescheduled | booked    | Cancelled, Deleted, Noshow                                |
| S14, S18–S22 | appointment.modified | booked  | those, and Arrived → arrived, Complete → completed        |
| S15, S16 | appointment.cancelled  | cancelled | –                                                         |
| S17     | appointment.deleted     | entered-in-error | –                                                  |
| S23, S24 | schedule.blocked, schedule.unblocked | | –                                                       |
| S26     | appointment.noshow      | noshow    | –                                                         |
"""

from __future__ import annotations

from transforms.canonical import codes
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.patient import patient
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.from_hl7.schedule import appointment
from transforms.canonical.from_hl7.visit import encounter
from transforms.canonical.types import Ref

TRIGGERS = {
    "S12": ("appointment.booked", "booked"),
    "S13": ("appointment.rescheduled", "booked"),
    "S14": ("appointment.modified", "booked"),
    "S15": ("appointment.cancelled", "cancelled"),
    "S16": ("appointment.cancelled", "cancelled"),
    "S17": ("appointment.deleted", "entered-in-error"),
    "S18": ("appointment.modified", "booked"),
    "S19": ("appointment.modified", "booked"),
    "S20": ("appointment.modified", "booked"),
    "S21": ("appointment.modified", "booked"),
    "S22": ("appointment.modified", "booked"),
    "S23": ("schedule.blocked", ""),
    "S24": ("schedule.unblocked", ""),
    "S26": ("appointment.noshow", "noshow"),
}
ENDED = {
    "cancelled": "appointment.cancelled",
    "entered-in-error": "appointment.deleted",
    "noshow": "appointment.noshow",
}
CAME = {
    "arrived": "appointment.arrived",
    "checked-in": "appointment.arrived",
    "fulfilled": "appointment.completed",
}
ASKED = {"pending", "proposed", "waitlist"}
CHANGED = {"appointment.rescheduled": ["start", "end"]}


def siu(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The events of an SIU message: one, about its appointment. A slot may be blocked without a patient."""
    if trigger not in TRIGGERS:
        return []
    type_, status = meaning(trigger, read.plain(read.message.segment("SCH"), 25))
    segment = read.message.segment
    pid, pv1 = segment("PID"), segment("PV1")
    who = patient(read, pid, segment("PD1"), whole=False) if pid is not None else None
    booking = appointment(read, status)
    visit = encounter(read, pv1, segment("PV2"), who, "") if pv1 is not None else None
    if visit is not None and visit.identifiers:
        booking.encounter = Ref(kind="Encounter", identifiers=visit.identifiers)
    elif read.field(pv1, 19) is None:
        booking.encounter = None
    changed = CHANGED.get(
        type_, ["status"] if type_ not in ("appointment.booked", "appointment.modified") else []
    )
    make.event(
        type_,
        "Appointment",
        booking.key,
        patient=who,
        appointment=booking,
        encounter=visit,
        changed=list(changed),
    )
    return make.events


def types(trigger: str) -> frozenset[str]:
    """The types of all events that a trigger may give, whatever SCH-25 says."""
    type_, status = TRIGGERS.get(trigger, ("", ""))
    if status != "booked":
        return frozenset({type_} if type_ else ())
    return frozenset({type_, *ENDED.values(), *CAME.values(), "appointment.requested"})


def meaning(trigger: str, filler_status: str) -> tuple[str, str]:
    """Event type and FHIR status of a trigger together with SCH-25."""
    type_, status = TRIGGERS[trigger]
    if status != "booked":
        return type_, status
    sent = codes.appointment_status(filler_status)
    if sent in ENDED:
        return ENDED[sent], sent
    if type_ == "appointment.modified" and sent in CAME:
        return CAME[sent], sent
    if type_ == "appointment.booked" and sent in ASKED:
        return "appointment.requested", sent
    return type_, sent or status
