"""Encounter → event. FHIR tells states; what happened is the step from the state before to this one.

| status (R5) | before | event |
|-------------|--------|-------|
| planned | another status, none | encounter.planned |
| arrived, triaged | | encounter.arrived |
| in-progress | none, planned, arrived | encounter.admitted (IMP, ACUTE, NONAC, EMER, OBSENC), else registered |
| in-progress | onleave · finished | encounter.leave_ended · discharge_cancelled |
| onleave (on-hold) | | encounter.leave_started |
| finished (discharged, completed) | | encounter.discharged |
| cancelled (discontinued) · entered-in-error, deleted | | encounter.cancelled · deleted |
| cancelled · entered-in-error | the same, another value | encounter.cancelled · deleted, again |
| any other | the same, another class · another place | encounter.class_changed · transferred, with `prior_location` |
| any other | the same, another value | encounter.updated |
| any | the same values | none |

Guarantee: a change of what is cancelled or deleted never brings it back.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from transforms.canonical.entities import Encounter, Location, Practitioner
from transforms.canonical.from_fhir.changes import Kind, differing
from transforms.canonical.from_fhir.people import location, patient_of, practitioner
from transforms.canonical.from_fhir.reader import Reader, Resource, dict_, dicts, text
from transforms.canonical.maker import Maker
from transforms.canonical.types import Code, Diagnosis, Maybe

STATUS = {
    "triaged": "arrived",
    "on-hold": "onleave",
    "discharged": "finished",
    "completed": "finished",
    "discontinued": "cancelled",
    "unknown": "",
}
CLASSES = {"ACUTE": "IMP", "NONAC": "IMP"}
STAYS = frozenset({"IMP", "EMER", "OBSENC"})
REACHED = {
    "planned": "planned",
    "arrived": "arrived",
    "onleave": "leave_started",
    "finished": "discharged",
    "cancelled": "cancelled",
    "entered-in-error": "deleted",
}
OVER = {state: REACHED[state] for state in ("cancelled", "entered-in-error")}
BACK = {"onleave": "leave_ended", "finished": "discharge_cancelled"}
ROLES = {"ATND": "attending", "REF": "referring", "CON": "consulting", "ADM": "admitting"}


def encounters(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of an Encounter, if anything of it changed."""
    new = encounter(read)
    old = encounter(before) if before is not None else None
    action, changed = happened(kind, old, new)
    if before is not None and before.data.get("subject") != read.data.get("subject"):
        action, changed = action or OVER.get(new.status, "updated"), [*changed, "patient"]
    if not action:
        return
    if old is not None and "location" in changed and _moved(old, new):
        new.prior_location = old.location
    who = patient_of(read, read.data.get("subject"), "subject")
    make.event(f"encounter.{action}", "Encounter", new.key, patient=who, encounter=new, changed=changed)


def happened(kind: Kind, old: Encounter | None, new: Encounter) -> tuple[str, list[str]]:
    """The action of the table above ("" when nothing changed), and what changed."""
    if kind == "delete":
        new.status = "entered-in-error"
        return "deleted", ["status"]
    if old is None:
        return ("updated" if kind == "update" else _reached(new, "")), []
    changed = differing(old, new, "identifiers", "prior_location")
    if old.status != new.status:
        return _reached(new, old.status), changed
    if new.status in OVER:
        return (OVER[new.status] if changed else ""), changed
    if "class" in changed:
        return "class_changed", changed
    if "location" in changed and _moved(old, new):
        return "transferred", changed
    return ("updated" if changed else ""), changed


def _moved(old: Encounter, new: Encounter) -> bool:
    """Whether it is another place; another state of the same place or bed is no transfer."""
    was, is_ = ((one.key, one.display) if one else one for one in (old.location, new.location))
    return was != is_


def _reached(new: Encounter, was: str) -> str:
    if new.status == "in-progress":
        return BACK.get(was) or ("admitted" if new.class_ in STAYS else "registered")
    return REACHED.get(new.status, "updated")


def encounter_of(read: Reader, reference: Any) -> Encounter | None:
    """The visit that a Reference names, as far as its number is known; of a list (R4 context) the first."""
    for item in dicts(reference):
        data = read.resolve(item)
        if data is not None and data.get("resourceType") == "Encounter":
            return encounter(read.beside(data))
        found = read.usable(read.identified(item))
        if found and read.kind(item) in ("Encounter", ""):
            return Encounter(identifiers=found)
    return None


def encounter(read: Reader) -> Encounter:
    """The visit of a resource."""
    data = read.data
    period = dict_(data.get("period") or data.get("actualPeriod"))
    stay = dict_(data.get("hospitalization") or data.get("admission"))
    status = text(data.get("status"))
    class_ = read.code_of(data.get("class"))
    disposition = read.code(stay.get("dischargeDisposition"))
    source = read.code(stay.get("admitSource"))
    service = read.code(data.get("serviceType"))
    expected_start, expected_end = data.get("plannedStartDate"), data.get("plannedEndDate")
    begun = period
    if status == "planned" and not expected_start:
        expected_start, expected_end, begun = period.get("start"), period.get("end"), {}
    people = _people(read)
    return Encounter(
        identifiers=read.numbers("VN"),
        status=STATUS.get(status, status),
        class_=CLASSES.get(class_, class_) or read.absent,
        type=read.code(data.get("type")),
        start=read.moment(begun.get("start")),
        end=read.moment(begun.get("end")),
        expected_start=read.moment(expected_start),
        expected_end=read.moment(expected_end),
        location=_place(read),
        attending=people["attending"],
        referring=people["referring"],
        consulting=people["consulting"],
        admitting=people["admitting"],
        admit_source=getattr(source, "code", "") or getattr(source, "label", read.absent),
        discharge_disposition=getattr(disposition, "code", "") or getattr(disposition, "label", read.absent),
        reason=read.code(data.get("reasonCode") or [one.get("value") for one in dicts(data.get("reason"))]),
        hospital_service=getattr(service, "code", "") or getattr(service, "label", read.absent),
        diagnoses=_diagnoses(read),
        appointments=read.refs(data.get("appointment"), "Appointment", "Appointment", "FILL", "PLAC"),
    )


def _diagnoses(read: Reader) -> list[Diagnosis]:
    """Those that are told: by the Condition that came along or can be read, by their words, in R5 by their code."""
    found = []
    for item in dicts(read.data.get("diagnosis")):
        use, rank = read.code_of(item.get("use")), item.get("rank")
        for one in dicts(item.get("condition")):
            reference = dict_(one.get("reference")) or one
            data = read.resolve(reference) if isinstance(reference.get("reference"), str) else None
            code = read.code(dict_(data).get("code")) if data is not None else read.code(one.get("concept"))
            if not isinstance(code, Code) and (said := text(reference.get("display")).strip()):
                code = Code(text=said)
            if isinstance(code, Code):
                found.append(Diagnosis(code=code, type=use, rank=rank if type(rank) is int else 0))
    return found


def _place(read: Reader) -> Maybe[Location]:
    """Where the patient is: the last place that is active; else the last that is not over or only planned."""
    places = dicts(read.data.get("location"))
    over = ("completed", "planned", "reserved")
    active = [item for item in places if item.get("status") == "active"]
    open_ = [item for item in places if item.get("status") not in over and not _ended(item)]
    for item in reversed(active or open_ or places):
        found = location(read, item.get("location"))
        if found is not None:
            return found
    return read.absent if not places else UNSET


def _ended(item: Resource) -> bool:
    return bool(dict_(item.get("period")).get("end"))


def _people(read: Reader) -> dict[str, list[Practitioner]]:
    """Practitioners by their part in it; a part that is none of HL7's (PPRF, none) is attending."""
    found: dict[str, list[Practitioner]] = {name: [] for name in ROLES.values()}
    for item in dicts(read.data.get("participant")):
        actor = dict_(item.get("individual") or item.get("actor"))
        if read.kind(actor) not in ("Practitioner", "PractitionerRole", ""):
            continue
        person = practitioner(read, actor)
        types = {code.code for code in read.codes(item.get("type"))}
        if person is not None:
            part = next((ROLES[code] for code in ROLES if code in types), "attending")
            found[part].append(person)
    return found
