"""FHIR R4 resources as R5 wants them: elements that R5 names, types or codes otherwise.

Guarantee: the three values survive (None still takes away); what is not named here is the same in both versions. R4B
has the R4 resources that are written. Only what `to_fhir` writes is looked at.
Source: FHIR R5, the pages of the resources and their R4 maps.

| R4 | R5 |
|----|----|
| Appointment.reasonCode, cancelationReason, serviceType, comment | reason, cancellationReason, serviceType, note |
| Encounter.class, period, hospitalization, participant.individual | class (a list), actualPeriod, admission, actor |
| Encounter.period of a planned visit | plannedStartDate, plannedEndDate |
| Encounter.status arrived, onleave, finished | in-progress, on-hold, completed; and subjectStatus |
| Coverage.payor, subscriberId, class.value | insurer, identifiers; `kind` is insurance |
| ServiceRequest.code, reasonCode | code, reason (CodeableReference) |
| DocumentReference.masterIdentifier, context, relatesTo.code, size | identifier, context, a concept, a text |
| Organization.telecom, address; Location.telecom, physicalType | contact; contact, form |
| ChargeItem.context, priceOverride | encounter, totalPriceComponent |
| Immunization.manufacturer | a CodeableReference |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from engine.fhir.entries import Entry
from transforms.canonical.to_fhir.datatypes import TERMS, Json, coded, given

STATUS = {"arrived": "in-progress", "onleave": "on-hold", "finished": "completed"}
PRESENCE = {
    "arrived": ("arrived", "Arrived"),
    "in-progress": ("receiving-care", "Receiving Care"),
    "onleave": ("on-leave", "On Leave"),
    "finished": ("departed", "Departed"),
}
"""Encounter.status of R4, and subjectStatus."""


def r5(entry: Entry) -> Entry:
    """The same entry for a server of R5."""
    new = _resource(entry.type, entry.new)
    if entry.type == "Coverage":
        new["kind"] = "insurance"
    return replace(entry, resource=_resource(entry.type, entry.resource), new=new)


def _resource(type_: str, old: Json) -> Json:
    made = dict(old)
    if type_ == "Encounter":
        _visit(made)
    elif type_ in ("Organization", "Location"):
        _contact(made, ("telecom", "address") if type_ == "Organization" else ("telecom",))
    for name, (other, change) in CHANGES.get(type_, {}).items():
        if name in made:
            value = made.pop(name)
            made[other] = change(value) if value is not None else None
    if type_ == "DocumentReference":
        made.pop("masterIdentifier", None)  # it is one of its identifiers
    return made


def _visit(made: Json) -> None:
    """Status and times, which depend on each other."""
    status = made.get("status")
    period = made.pop("period", {})
    if status == "planned":
        made |= {f"planned{name.capitalize()}Date": value for name, value in period.items()}
    elif period:
        made["actualPeriod"] = period
    if status in PRESENCE:
        code, display = PRESENCE[status]
        made["status"] = STATUS.get(status, status)
        made["subjectStatus"] = coded(code, f"{TERMS}encounter-subject-status", display)


def _contact(made: Json, names: tuple[str, ...]) -> None:
    """An Organization's phones and its address, a Location's phones."""
    found = {name: made.pop(name) for name in names if made.get(name)}
    if "address" in found:
        found["address"] = found["address"][0]
    if found:
        made["contact"] = [found]


def _same(value: Any) -> Any:
    return value


def _concept(value: Json) -> Json:
    return {"concept": value}


def _listed(value: Any) -> list[Json]:
    """CodeableReferences of one CodeableConcept or several."""
    return [{"concept": one} for one in (value if isinstance(value, list) else [value])]


def _reasons(value: list[Json]) -> list[Json]:
    return [{"value": _listed(value)}]


def _actors(value: list[Json]) -> list[Json]:
    return [
        {("actor" if name == "individual" else name): item for name, item in one.items()} for one in value
    ]


def _classes(value: list[Json]) -> list[Json]:
    return [{**one, "value": {"value": one["value"]}} for one in value]


def _relations(value: list[Json]) -> list[Json]:
    system = "http://hl7.org/fhir/document-relationship-type"
    return [{**one, "code": coded(one["code"], system)} for one in value]


def _contents(value: list[Json]) -> list[Json]:
    """Attachment.size is an integer64, which is a text in JSON."""
    return [
        {"attachment": {**one["attachment"], **given(size=str(one["attachment"].get("size", "")))}}
        for one in value
    ]


CHANGES: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "Appointment": {
        "reasonCode": ("reason", _listed),
        "cancelationReason": ("cancellationReason", _same),
        "serviceType": ("serviceType", _listed),
        "comment": ("note", lambda text: [{"text": text}]),
    },
    "Encounter": {
        "class": ("class", lambda coding: [{"coding": [coding]}]),
        "hospitalization": ("admission", _same),
        "reasonCode": ("reason", _reasons),
        "serviceType": ("serviceType", _listed),
        "participant": ("participant", _actors),
    },
    "Coverage": {
        "payor": ("insurer", lambda payers: payers[0]),
        "subscriberId": ("subscriberId", lambda number: [{"value": number}]),
        "class": ("class", _classes),
    },
    "ServiceRequest": {"code": ("code", _concept), "reasonCode": ("reason", _listed)},
    "DocumentReference": {
        "relatesTo": ("relatesTo", _relations),
        "context": ("context", lambda context: context["encounter"]),
        "content": ("content", _contents),
    },
    "Location": {"physicalType": ("form", _same)},
    "ChargeItem": {
        "context": ("encounter", _same),
        "priceOverride": ("totalPriceComponent", lambda amount: {"type": "base", "amount": amount}),
    },
    "Immunization": {"manufacturer": ("manufacturer", lambda who: {"reference": who})},
}
