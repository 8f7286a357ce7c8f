"""Encounter, Appointment and ServiceRequest as FHIR R4 resources."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from transforms.canonical.clinical import Order
from transforms.canonical.entities import Appointment, Encounter, Location, Practitioner
from transforms.canonical.to_fhir.datatypes import (
    TERMS,
    Json,
    coded,
    concept,
    concepts,
    given,
    identifier,
    listed,
    moment,
    table,
)
from transforms.canonical.to_fhir.people import location, organization, practitioner
from transforms.canonical.to_fhir.plan import Mode, Plan
from transforms.canonical.types import Code, Identifier, Ref

CLASSES = {
    "IMP": "inpatient encounter", "AMB": "ambulatory", "EMER": "emergency", "PRENC": "pre-admission",
    "OBSENC": "observation encounter", "HH": "home health", "VR": "virtual", "SS": "short stay",
}  # fmt: skip
ROLES = (("attending", "ATND"), ("referring", "REF"), ("consulting", "CON"), ("admitting", "ADM"))
PRIORITIES = frozenset({"routine", "urgent", "asap", "stat"})
ORDER_STATUS = {"accepted": "active", "pending": "active", "rejected": "revoked", "expired": "revoked"}
REFERRAL = Code(code="3457005", display="Patient referral", system="http://snomed.info/sct")


def encounter(
    plan: Plan, visit: Encounter, who: Json, mode: Mode = "update", also: list[Identifier] | None = None
) -> Json:
    """A Reference to a visit; {} when it has no number."""
    if not visit.identifiers:
        return {}
    planned = visit.status == "planned"
    begins = visit.start if not planned else visit.start or visit.expected_start
    ends = visit.end if not planned else visit.end or visit.expected_end
    class_ = visit.class_
    where = visit.location
    elements = given(
        status=visit.status,
        class_=_class(class_) if isinstance(class_, str) else UNSET,
        type=[concept(visit.type)] if isinstance(visit.type, Code) else visit.type,
        subject=who,
        period=given(start=moment(begins), end=moment(ends)),
        location=[_at(plan, where)] if isinstance(where, Location) else where,
        participant=[
            {"type": [coded(code, f"{TERMS}v3-ParticipationType")], "individual": person}
            for name, code in ROLES
            for one in getattr(visit, name)
            if (person := practitioner(plan, one))
        ],
        hospitalization=given(
            admitSource=table(visit.admit_source, "v2-0023"),
            dischargeDisposition=_disposition(visit.discharge_disposition),
        ),
        reasonCode=[concept(visit.reason)] if isinstance(visit.reason, Code) else visit.reason,
        serviceType=table(visit.hospital_service, "v2-0069"),
        appointment=listed(visit.appointments, lambda one: _known(plan, one, "Appointment")),
    )
    new = {"status": "unknown", "class": {"system": f"{TERMS}v3-NullFlavor", "code": "UNK"}}
    return plan.add(
        "Encounter", visit.identifiers[0], elements, mode=mode, identifiers=visit.identifiers, also=also, new=new
    )  # fmt: skip


def _class(code: str) -> Json:
    known = code in CLASSES
    return given(
        system=f"{TERMS}v3-ActCode" if known else f"{TERMS}v2-0004", code=code, display=CLASSES.get(code, "")
    )


def _at(plan: Plan, where: Location) -> Json:
    return {"location": location(plan, where), "status": "active"}


def _disposition(code: Any) -> Any:
    return (
        coded(code, f"{TERMS}discharge-disposition" if code.isalpha() else f"{TERMS}v2-0112")
        if code
        else code
    )


def appointment(plan: Plan, booking: Appointment, who: Json) -> Json:
    """A Reference to an appointment."""
    first = booking.identifiers[0]
    if booking.occurrence:
        first = Identifier(
            value=f"{first.value}/{booking.occurrence}",
            assigner=first.assigner,
            type=first.type,
            system=first.system,
        )
    people = [_taking(practitioner(plan, one), one) for one in booking.practitioners]
    places = [_taking(location(plan, one)) for one in booking.locations]
    things = [_taking({"display": one.label}) for one in booking.resources]
    elements = given(
        status=booking.status,
        start=moment(booking.start),
        end=moment(booking.end),
        minutesDuration=booking.duration or UNSET,
        reasonCode=[concept(booking.reason)] if isinstance(booking.reason, Code) else booking.reason,
        cancelationReason=concept(booking.cancel_reason)
        if booking.status in ("cancelled", "noshow")
        else UNSET,
        appointmentType=concept(booking.type),
        serviceType=concepts(booking.services),
        participant=[*([_taking(who)] if who else []), *people, *places, *things],
        comment="\n".join(booking.comments),
        basedOn=listed(booking.based_on, lambda one: _known(plan, one, "ServiceRequest")),
    )
    identifiers = [first, *booking.identifiers[1:]]
    return plan.add("Appointment", first, elements, identifiers=identifiers, new={"status": "booked"})


def _known(plan: Plan, one: Ref, type_: str) -> Json:
    """A logical Reference: it makes no resource, nor needs one (an order that a booking fulfils)."""
    number = next((item for item in one.identifiers if item.type != "RI"), None)
    if number is None:
        return given(display=one.display)
    return given(type=type_, identifier=identifier(number, plan.systems), display=one.display)


def _taking(actor: Json, who: Practitioner | None = None) -> Json:
    role = concept(who.role) if who is not None and who.role is not None else {}
    return given(type=[role] if role else [], actor=actor, status="accepted")


def order(plan: Plan, asked: Order, who: Json, visit: Json, insurances: list[Json]) -> Json:
    """A Reference to an order or a referral."""
    performers = [
        *([practitioner(plan, asked.performer)] if asked.performer is not None else []),
        *([organization(plan, asked.referred_to)] if asked.referred_to is not None else []),
    ]
    priority = asked.priority
    elements = given(
        status=ORDER_STATUS.get(asked.status, asked.status),
        intent="order",
        category=[concept(REFERRAL)] if asked.kind == "referral" else [],
        code=concept(asked.code),
        subject=who,
        encounter=visit,
        priority=priority if priority is None or priority in PRIORITIES else UNSET,
        requisition=identifier(asked.group, plan.systems) if asked.group is not None else {},
        requester=practitioner(plan, asked.requester) if asked.requester is not None else {},
        performer=[one for one in performers if one],
        authoredOn=moment(asked.authored_on),
        **_occurrence(asked),
        reasonCode=concepts(asked.reasons),
        insurance=insurances,
        note=[{"text": text} for text in asked.notes],
    )
    return plan.add(
        "ServiceRequest",
        asked.identifiers[0],
        elements,
        identifiers=asked.identifiers,
        new={"status": "unknown"},
    )


def _occurrence(asked: Order) -> Json:
    if asked.expires:
        return {"occurrencePeriod": given(start=moment(asked.start), end=moment(asked.expires))}
    return given(occurrenceDateTime=moment(asked.start))
