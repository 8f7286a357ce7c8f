"""Patient, Practitioner, PractitionerRole, Organization, Location and Coverage → events.

| change of a Patient | event |
|---------------------|-------|
| new | patient.registered |
| a tracked value differs | patient.updated |
| `link` of type replaced-by | patient.merged: the other one is `patient`, this one is in `retired` |
| `link` of type replaces | patient.merged, with the others in `retired`; before it registered or updated |
| `link` of type seealso | patient.linked, patient.unlinked when it is gone |
| deleted | patient.deleted; none of one that was replaced: its record is the other one's |

Practitioner, PractitionerRole, Organization, Location, Coverage: registered, updated, deleted; a Coverage that is
cancelled or entered in error is coverage.cancelled, coverage.deleted.

Guarantee: a merge that was told before is not told again, and a patient that was merged away tells nothing more.
Refused (`StepError` `fhir.unresolved`): a merge whose other patient cannot be told.
"""

from __future__ import annotations

from transforms.canonical.entities import Patient
from transforms.canonical.from_fhir.changes import Kind, lifecycle
from transforms.canonical.from_fhir.finance import coverage
from transforms.canonical.from_fhir.people import (
    location_entity,
    organization_entity,
    patient,
    patient_of,
    practitioner_entity,
    role_entity,
)
from transforms.canonical.from_fhir.reader import Reader, dict_, dicts, text
from transforms.canonical.maker import Maker


def patients(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The events of a Patient."""
    if kind == "delete":
        if any(text(item.get("type")) == "replaced-by" for item in dicts(read.data.get("link"))):
            return
        gone = patient(read)
        make.event("patient.deleted", "Patient", gone.key, patient=gone)
        return
    old = patient(before) if before is not None else None
    for survivor in _linked(read, "replaced-by"):
        if before is None or survivor.key not in {one.key for one in _linked(before, "replaced-by")}:
            retired = patient(read)
            make.event("patient.merged", "Patient", survivor.key, patient=survivor, retired=[retired])
        return
    who = patient(read)
    action, changed = lifecycle(kind, old, who)
    if action:
        make.event(f"patient.{action}", "Patient", who.key, patient=who, changed=changed)
    merged = _fresh(read, before, "replaces")
    if merged:
        make.event("patient.merged", "Patient", who.key, patient=who, retired=merged)
    if _fresh(read, before, "seealso"):
        make.event("patient.linked", "Patient", who.key, patient=who)
    elif before is not None and _fresh(before, read, "seealso"):
        make.event("patient.unlinked", "Patient", who.key, patient=who)


def _linked(read: Reader, type_: str) -> list[Patient]:
    links = [item for item in dicts(read.data.get("link")) if text(item.get("type")) == type_]
    found = (patient_of(read, dict_(item.get("other")), "link.other") for item in links)
    return [one for one in found if one is not None]


def _fresh(read: Reader, before: Reader | None, type_: str) -> list[Patient]:
    """Those that were not linked before."""
    known = {one.key for one in _linked(before, type_)} if before is not None else set()
    return [one for one in _linked(read, type_) if one.key not in known]


def practitioners(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a Practitioner."""
    new = practitioner_entity(read)
    action, changed = lifecycle(kind, practitioner_entity(before) if before is not None else None, new)
    if action:
        make.event(f"practitioner.{action}", "Practitioner", new.key, practitioner=new, changed=changed)


def roles(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a PractitionerRole: of its person, with role and specialties. A role that ends ends no person."""
    if kind == "delete":
        return
    new = role_entity(read)
    if not new.key:
        return
    old = role_entity(before) if before is not None else None
    action, changed = lifecycle(kind, old, new)
    if action:
        make.event("practitioner.updated", "Practitioner", new.key, practitioner=new, changed=changed)


def organizations(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of an Organization."""
    new = organization_entity(read)
    action, changed = lifecycle(kind, organization_entity(before) if before is not None else None, new)
    if action:
        make.event(f"organization.{action}", "Organization", new.key, organization=new, changed=changed)


def locations(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a Location."""
    new = location_entity(read)
    action, changed = lifecycle(kind, location_entity(before) if before is not None else None, new)
    if action:
        make.event(f"location.{action}", "Location", new.key, location=new, changed=changed)


def insurances(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a Coverage."""
    new = coverage(read)
    action, changed = lifecycle(kind, coverage(before) if before is not None else None, new)
    status, was = (text(one.data.get("status")) if one is not None else "" for one in (read, before))
    if kind != "delete" and status != was:
        changed = ["status", *changed] if was else changed
        action = {"cancelled": "cancelled", "entered-in-error": "deleted"}.get(status, action or "updated")
    if action:
        who = patient_of(read, read.data.get("beneficiary"), "beneficiary")
        make.event(f"coverage.{action}", "Coverage", new.key, patient=who, coverages=[new], changed=changed)
