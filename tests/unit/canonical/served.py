"""Resources to make events of, as servers send them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from transforms.canonical.from_fhir import interpret

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"versionId": "2", "lastUpdated": "2026-03-01T10:00:00Z"},
    "identifier": [
        {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-00-1111"},
        {
            "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
            "system": "urn:oid:1.2.36",
            "value": "M7",
        },
    ],
    "active": True,
    "name": [
        {"use": "maiden", "family": "Abel", "given": ["Nora"]},
        {"use": "official", "family": "Keller", "given": ["Nora", "Anne"], "suffix": ["Jr"]},
    ],
    "telecom": [
        {"system": "phone", "use": "mobile", "value": "555-2", "rank": 2},
        {"system": "phone", "use": "home", "value": "555-1", "rank": 1},
        {"system": "email", "value": "n@example.org"},
    ],
    "gender": "female",
    "birthDate": "1984-09",
    "address": [
        {"use": "work", "city": "Reno"},
        {"use": "home", "line": ["1 Elm", "Flat 2"], "city": "Austin", "state": "TX", "country": "USA"},
    ],
    "maritalStatus": {
        "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus", "code": "M"}]
    },
    "communication": [{"language": {"coding": [{"code": "es"}]}, "preferred": True}],
}
NAMED = {
    "identifier": {"system": "urn:oid:1.2.36", "value": "M7"},
    "type": "Patient",
    "display": "Nora Keller",
}
"""A reference that is enough to tell who the patient is."""
APPOINTMENT: dict[str, Any] = {
    "resourceType": "Appointment",
    "id": "a1",
    "meta": {"lastUpdated": "2026-03-01T10:00:00Z"},
    "identifier": [{"system": "urn:sched", "value": "A-1"}],
    "status": "booked",
    "start": "2026-04-01T15:00:00Z",
    "end": "2026-04-01T15:30:00Z",
    "participant": [{"actor": NAMED, "status": "accepted"}],
}
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "id": "e1",
    "identifier": [{"system": "urn:visits", "value": "V-1"}],
    "status": "in-progress",
    "class": {"code": "IMP"},
    "subject": NAMED,
    "period": {"start": "2026-03-01T08:00:00Z"},
}


def but(resource: dict[str, Any], **values: Any) -> dict[str, Any]:
    """A copy with other values; None takes an element away. `class_` is `class`."""
    made = deepcopy(resource)
    for name, value in values.items():
        made[name.rstrip("_")] = value
        if value is None:
            del made[name.rstrip("_")]
    return made


def one(
    resource: dict[str, Any], previous: dict[str, Any] | None = None, kind: Any = "", **settings: Any
) -> Any:
    """Its only event."""
    (event,) = interpret(resource, previous, kind, settings=settings)
    return event


def types(
    resource: dict[str, Any], previous: dict[str, Any] | None = None, kind: Any = "", **settings: Any
) -> list[str]:
    """The types of its events."""
    return [event.type for event in interpret(resource, previous, kind, settings=settings)]
