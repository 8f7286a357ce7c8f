"""Patient, Practitioner, Organization and Location as FHIR R4 resources.

Guarantee: a person or place without an identifier is told by its name alone (a Reference with `display`): it makes no
resource, for nobody could find it again. Practitioners, organizations and places that another event mentions are made
when they are not there, and left as they are otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from transforms.canonical.entities import Location, Organization, Patient, Practitioner
from transforms.canonical.to_fhir.datatypes import (
    TERMS,
    Json,
    address,
    coded,
    concept,
    concepts,
    contact_point,
    given,
    human_name,
    identifier,
    listed,
)
from transforms.canonical.to_fhir.plan import Mode, Plan
from transforms.canonical.types import Code, Contact, Identifier, Maybe

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
NATIONALITY = "http://hl7.org/fhir/StructureDefinition/patient-nationality"
CDC = "urn:oid:2.16.840.1.113883.6.238"
PLACES = (
    ("bed", "bd", "Bed"),
    ("room", "ro", "Room"),
    ("point_of_care", "wa", "Ward"),
    ("building", "bu", "Building"),
)
"""HL7 PL components, the most exact first, and Location.physicalType."""


BEDS = {
    "C": "Closed", "H": "Housekeeping", "O": "Occupied", "U": "Unoccupied", "K": "Contaminated", "I": "Isolated",
}  # fmt: skip
"""HL7 table 0116."""


def patient(
    plan: Plan,
    who: Patient,
    mode: Mode = "update",
    *,
    former: list[Identifier] | None = None,
    retires: bool = False,
    **extra: Any,
) -> Json:
    """A Reference to the patient, and the resource; `former` are identifiers of before, `extra` further elements;
    `retires`: this number is taken out of use."""
    assert who.mrn_identifier is not None
    names = [made for name in [who.name, *who.other_names] if (made := human_name(name))]
    language = who.language
    elements = given(
        active=who.active,
        name=names,
        telecom=listed(who.phones, contact_point),
        gender=who.gender,
        birthDate=who.birth_date,
        address=listed(who.addresses, address),
        maritalStatus=concept(who.marital_status, f"{TERMS}v3-MaritalStatus"),
        communication=[{"language": coded(language, "urn:ietf:bcp:47")}]
        if isinstance(language, str)
        else language,
        contact=listed(who.contacts, _contact),
        generalPractitioner=_practitioners(
            plan, [who.general_practitioner] if who.general_practitioner else []
        ),
        managingOrganization=organization(plan, who.managing_organization)
        if isinstance(who.managing_organization, Organization)
        else who.managing_organization,
        extension=[
            *_us_core("race", who.race),
            *_us_core("ethnicity", who.ethnicity),
            *_extension(NATIONALITY, who.nationality, _nationality),
        ],
        **_deceased(who),
        **_births(who),
    ) | given(**extra)
    others = [item for item in who.identifiers if item.type != "RI"]
    return plan.add(
        "Patient", who.mrn_identifier, elements, mode=mode, identifiers=others, former=former, retires=retires
    )


def _deceased(who: Patient) -> Json:
    """deceased[x]: the time when it is known, else whether."""
    if isinstance(who.deceased_at, str) and who.deceased_at:
        return {"deceasedDateTime": who.deceased_at, "deceasedBoolean": None}
    if who.deceased is UNSET:
        return {}
    return {"deceasedBoolean": who.deceased} | ({"deceasedDateTime": None} if not who.deceased else {})


def _births(who: Patient) -> Json:
    """multipleBirth[x]: the number when it is known, else whether."""
    if isinstance(who.birth_order, int):
        return {"multipleBirthInteger": who.birth_order, "multipleBirthBoolean": None}
    if who.multiple_birth is UNSET:
        return {}
    return {"multipleBirthBoolean": who.multiple_birth} | (
        {"multipleBirthInteger": None} if not who.multiple_birth else {}
    )


def _contact(one: Contact) -> Json:
    """Patient.contact; what says nothing of it is left out, for a contact is written as a whole."""
    kin = concept(one.relationship, f"{TERMS}v2-0063")
    return given(
        relationship=[kin] if kin not in (None, UNSET, {}) else [],
        name=human_name(one.name),
        telecom=[contact_point(phone) for phone in one.phones],
        address=address(one.address) if one.address is not None else {},
    )


def _extension(url: str, code: Maybe[Code], parts: Callable[[Code], list[Json]]) -> list[Json]:
    """An extension in its three values: one without parts is taken away."""
    if isinstance(code, Code):
        return [{"url": url, "extension": parts(code)}] if code.label else []
    return [{"url": url, "extension": None}] if code is None else []


def _nationality(code: Code) -> list[Json]:
    return [{"url": "code", "valueCodeableConcept": concept(code)}]


def _us_core(name: str, code: Maybe[Code]) -> list[Json]:
    return _extension(US_CORE + name, code, _category)


def _category(code: Code) -> list[Json]:
    parts: list[Json] = [{"url": "text", "valueString": code.label}]
    if "-" in code.code and code.code.replace("-", "").isdecimal():
        category = given(system=CDC, code=code.code, display=code.display)
        parts.insert(0, {"url": "ombCategory", "valueCoding": category})
    return parts


def practitioner(plan: Plan, who: Practitioner, mode: Mode = "ensure") -> Json:
    """A Reference to a practitioner."""
    display = who.display or ""
    if not who.identifiers or not who.name.display:
        return given(display=display, identifier=plan_identifier(plan, who.identifiers))
    elements = given(
        active=who.active,
        name=[human_name(who.name)],
        telecom=[contact_point(phone) for phone in who.phones],
        qualification=[{"code": one} for one in concepts(who.specialties)],
    )
    first = who.identifiers[0]
    reference = plan.add("Practitioner", first, elements, mode=mode, identifiers=_business(who.identifiers))
    return reference | {"display": display}


def _practitioners(plan: Plan, people: list[Practitioner]) -> list[Json]:
    return [made for one in people if (made := practitioner(plan, one))]


def plan_identifier(plan: Plan, found: list[Identifier]) -> Any:
    """The identifier of a logical reference, {} without any."""
    return identifier(found[0], plan.systems) if found else {}


def organization(plan: Plan, who: Organization, mode: Mode = "ensure") -> Json:
    """A Reference to an organization."""
    if not who.known:
        return given(display=who.name, identifier=plan_identifier(plan, who.identifiers))
    types = {
        "payer": ("pay", "Payer"),
        "department": ("dept", "Hospital Department"),
        "provider": ("prov", "Healthcare Provider"),
    }
    kind = types.get(who.kind)
    elements = given(
        active=UNSET if who.active else False,
        name=who.name,
        type=[coded(kind[0], f"{TERMS}organization-type", kind[1])] if kind else [],
        telecom=[contact_point(phone) for phone in who.phones],
        address=[address(who.address)] if who.address is not None and address(who.address) else [],
    )
    reference = plan.add(
        "Organization", who.identifiers[0], elements, mode=mode, identifiers=_business(who.identifiers)
    )
    return reference | {"display": who.name}


def location(plan: Plan, place: Location, mode: Mode = "ensure") -> Json:
    """A Reference to a place; one without an identifier is known by its facility, point of care, room and bed."""
    display = place.display
    key = place.identifiers[0] if place.identifiers else None
    if key is None and place.key:
        key = Identifier(value=place.key, assigner="location", system="urn:isthmus:location")
    if key is None or not display:
        return given(display=display)
    level = next((entry for entry in PLACES if getattr(place, entry[0])), None)
    elements = given(
        name=display,
        status=place.status,
        operationalStatus=_bed(place.bed_status) if mode == "update" else UNSET,
        physicalType=coded(level[1], f"{TERMS}location-physical-type", level[2]) if level else {},
        telecom=[contact_point(phone) for phone in place.phones],
        address=address(place.address) if place.address is not None else {},
    )
    return plan.add("Location", key, elements, mode=mode, identifiers=_business(place.identifiers)) | {
        "display": display
    }


def _bed(status: Maybe[str]) -> Any:
    """Location.operationalStatus, a Coding. Only events of the place itself write it: visits of several patients tell
    of one bed in no order."""
    return given(system=f"{TERMS}v2-0116", code=status, display=BEDS.get(status, "")) if status else status


def _business(found: list[Identifier]) -> list[Identifier]:
    return [item for item in found if item.type != "RI"]
