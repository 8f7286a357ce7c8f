"""Patient, Practitioner, PractitionerRole, Organization and Location → entities.

Guarantee: which identifier is the MRN is decided as for HL7 messages; a reference that came without its resource
gives what it tells itself (identifier, display). Refused (`StepError`): a patient without an identifier that the
channel can take (`patient.no_mrn`), one of whom nothing but the server's id is known (`fhir.unresolved`).
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from transforms.canonical import codes
from transforms.canonical.entities import Location, Organization, Patient, Practitioner
from transforms.canonical.from_fhir.reader import RESOURCE_ID, Reader, Resource, dict_, dicts, text
from transforms.canonical.identity import choose
from transforms.canonical.types import (
    NAMELESS,
    Address,
    Code,
    Contact,
    Identifier,
    Maybe,
    Name,
    Phone,
    tax_id,
)

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
NATIONALITY = "http://hl7.org/fhir/StructureDefinition/patient-nationality"
PLACES = {
    "bd": "bed", "ro": "room", "wa": "point_of_care", "area": "point_of_care", "lvl": "floor", "wi": "building",
    "bu": "building", "si": "facility",
}  # fmt: skip
"""Location.physicalType (R4) and Location.form (R5): what the name of the place is the name of."""
MAX_PARENTS = 8
ADVICE = "ask the server's people to give the patient an identifier"


def patient(read: Reader) -> Patient:
    """The patient of a Patient resource."""
    data = read.data
    found = read.identifiers()
    names = read.names(data.get("name"))
    gender = text(data.get("gender"))
    died = text(data.get("deceasedDateTime"))
    deceased = data.get("deceasedBoolean")
    married: Any = read.code(data.get("maritalStatus"))
    if isinstance(married, Code) and not married.display and not married.text:
        married = Code(code=married.code, display=codes.MARITAL.get(married.code, ""), system=married.system)
    birth = data.get("multipleBirthBoolean")
    practitioners = [
        one for item in dicts(data.get("generalPractitioner")) if (one := practitioner(read, item))
    ]
    return Patient(
        identifiers=found,
        mrn_identifier=mrn(read, found, "identifier"),
        active=_active(read),
        name=names[0] if names else NAMELESS,
        other_names=names[1:],
        birth_date=read.day(data.get("birthDate")),
        gender=gender if gender in codes.GENDER.values() else read.absent,
        phones=read.phones(data.get("telecom")) or read.absent,
        addresses=read.addresses(data.get("address")) or read.absent,
        marital_status=married,
        language=_language(read),
        race=_us_core(read, "race"),
        ethnicity=_us_core(read, "ethnicity"),
        nationality=_nationality(read),
        deceased=True if died else deceased if isinstance(deceased, bool) else read.absent,
        deceased_at=read.day(died),
        multiple_birth=birth
        if isinstance(birth, bool)
        else True
        if isinstance(data.get("multipleBirthInteger"), int)
        else read.absent,
        birth_order=order if type(order := data.get("multipleBirthInteger")) is int else read.absent,
        general_practitioner=practitioners[0] if practitioners else None,
        managing_organization=_owner(read),
        contacts=_contacts(read) or read.absent,
    )


def _contacts(read: Reader) -> list[Contact]:
    found = []
    for item in dicts(read.data.get("contact")):
        names, phones = read.names(item.get("name")), read.phones(item.get("telecom"))
        addresses = read.addresses(item.get("address"))
        if names or phones or addresses:
            kin = read.code(item.get("relationship"))
            found.append(
                Contact(
                    name=names[0] if names else NAMELESS,
                    relationship=kin if isinstance(kin, Code) else UNSET,
                    phones=phones,
                    address=addresses[0] if addresses else None,
                )
            )
    return found


def _owner(read: Reader) -> Maybe[Organization]:
    """Patient.managingOrganization; UNSET when there is one of which nothing is told."""
    reference = read.data.get("managingOrganization")
    return organization(read, reference, "provider") or UNSET if reference else read.absent


def _active(read: Reader) -> Any:
    """A Patient that does not say so is active (FHIR, Patient.active), where what is not there says something."""
    said = read.data.get("active")
    return said if isinstance(said, bool) else UNSET if read.absent is UNSET else True


def mrn(read: Reader, found: list[Identifier], where: str) -> Identifier:
    """The identifier that is the patient's key."""
    if read.options.identity == "resource" and found and found[0].type == RESOURCE_ID:
        return found[0]
    return choose(read.options, found, where, ADVICE)


def patient_of(read: Reader, reference: Any, where: str) -> Patient | None:
    """The patient that a Reference names, as far as it came along; None when it names none.

    Raises StepError `fhir.unresolved`.
    """
    reference = dict_(reference)
    data = read.resolve(reference)
    if data is not None:
        return patient(read.beside(data))
    found = read.identified(reference)
    display = text(reference.get("display")).strip()
    if not found:
        return None
    read.need(found, where)
    chosen = mrn(read, found, where)
    return Patient(identifiers=found, mrn_identifier=chosen, name=Name(text=display) if display else NAMELESS)


def practitioner(read: Reader, reference: Any, role: Code | None = None) -> Practitioner | None:
    """The person that a Reference names; of a PractitionerRole, its person with its role and specialties."""
    reference = dict_(reference)
    data = read.resolve(reference)
    if data is None:
        found = read.usable(read.identified(reference))
        display = text(reference.get("display")).strip()
        if not found and not display:
            return None
        return Practitioner(identifiers=found, name=Name(text=display) if display else NAMELESS, role=role)
    if data.get("resourceType") == "PractitionerRole":
        person = role_entity(read.beside(data))
        person.role = role or person.role
        if not person.known and (display := text(reference.get("display"))):
            person.name = Name(text=display)
        return person
    if data.get("resourceType") != "Practitioner":
        return None
    person = practitioner_entity(read.beside(data))
    person.role = role
    return person


def role_entity(read: Reader) -> Practitioner:
    """The person of a PractitionerRole resource, with role and specialties."""
    data = read.data
    person = practitioner(read, data.get("practitioner")) or Practitioner()
    said = read.code(data.get("code"))
    person.role = said if isinstance(said, Code) else None
    person.specialties = read.codes(data.get("specialty")) or person.specialties
    person.phones = read.phones(data.get("telecom"), "work") or person.phones
    return person


def practitioner_entity(read: Reader) -> Practitioner:
    """The person of a Practitioner resource; the NPI is the first identifier, as it is in HL7 messages."""
    data = read.data
    names = read.names(data.get("name"))
    return Practitioner(
        identifiers=_npi_first(read, read.identifiers()),
        name=names[0] if names else NAMELESS,
        specialties=read.codes([item.get("code") for item in dicts(data.get("qualification"))]),
        phones=read.phones(data.get("telecom"), "work"),
        active=data["active"] if isinstance(data.get("active"), bool) else UNSET,
    )


def organization(read: Reader, reference: Any, kind: str) -> Organization | None:
    """The organization that a Reference names."""
    reference = dict_(reference)
    data = read.resolve(reference)
    if data is not None:
        return organization_entity(read.beside(data), kind) if _is(data, "Organization") else None
    found = read.usable(read.identified(reference))
    name = text(reference.get("display")).strip()
    return Organization(identifiers=found, name=name, kind=kind) if found or name else None


def organization_entity(read: Reader, kind: str = "") -> Organization:
    """An Organization resource. `kind` by its type (pay, ins → payer; dept → department), else provider."""
    data = read.data
    types = {item.code for item in read.codes(data.get("type"))}
    kind = kind or ("payer" if types & {"pay", "ins"} else "department" if "dept" in types else "provider")
    contacts = dicts(data.get("contact"))  # R5 has addresses and phones only there
    addresses = read.addresses(data.get("address")) or read.addresses(
        [one.get("address") for one in contacts]
    )
    phones = read.phones(data.get("telecom"), "work")
    phones = phones or [phone for one in contacts for phone in read.phones(one.get("telecom"), "work")]
    found = read.identifiers()
    return Organization(
        identifiers=found,
        name=text(data.get("name")).strip(),
        kind=kind,
        active=data.get("active") is not False,
        address=addresses[0] if addresses else None,
        phones=phones,
        tax_id=tax_id(found, read.absent),
    )


def location(read: Reader, reference: Any) -> Location | None:
    """The place that a Reference names."""
    reference = dict_(reference)
    data = read.resolve(reference)
    if data is not None:
        return location_entity(read.beside(data)) if _is(data, "Location") else None
    found = read.usable(read.identified(reference))
    name = text(reference.get("display")).strip()
    return Location(identifiers=found, description=name) if found or name else None


def location_entity(read: Reader) -> Location:
    """A Location resource, with the names of the places that it is part of, as far as they came along."""
    data = read.data
    parts: dict[str, Any] = {}
    at: Resource | None = data
    for _ in range(MAX_PARENTS):
        if at is None:
            break
        name = text(at.get("name")).strip()
        level = PLACES.get(read.code_of(at.get("physicalType") or at.get("form")), "")
        if name and (level or at is data):
            parts.setdefault(level or "description", name)
        at = read.resolve(at.get("partOf"))
    if "facility" not in parts and (
        owner := organization(read, data.get("managingOrganization"), "provider")
    ):
        parts["facility"] = owner.name
    contacts = dicts(data.get("contact"))
    addresses: list[Address] = read.addresses(data.get("address"))
    phones: list[Phone] = read.phones(data.get("telecom"), "work")
    return Location(
        identifiers=read.identifiers(),
        phones=phones or [phone for one in contacts for phone in read.phones(one.get("telecom"), "work")],
        address=addresses[0] if addresses else None,
        status=read.maybe(data.get("status")),
        bed_status=read.code_of(data.get("operationalStatus")) or read.absent,
        **parts,
    )


def _is(data: Resource, kind: str) -> bool:
    return data.get("resourceType") == kind


def _npi_first(read: Reader, found: list[Identifier]) -> list[Identifier]:
    if read.options.identity == "resource":
        return found
    return sorted(found, key=lambda item: item.type != "NPI")


def _language(read: Reader) -> Maybe[str]:
    spoken = sorted(dicts(read.data.get("communication")), key=lambda item: item.get("preferred") is not True)
    code = read.code([item.get("language") for item in spoken])
    if not isinstance(code, Code):
        return read.absent
    return codes.language(code.code or code.label)


def _us_core(read: Reader, name: str) -> Maybe[Code]:
    """Race and ethnicity as US Core writes them."""
    for extension in read.extension(read.data, US_CORE + name):
        for part in ("ombCategory", "detailed"):
            for item in read.extension(extension, part):
                code = read.code(item.get("valueCoding"))
                if isinstance(code, Code):
                    return code
        for item in read.extension(extension, "text"):
            if said := text(item.get("valueString")):
                return Code(text=said)
    return read.absent


def _nationality(read: Reader) -> Maybe[Code]:
    """The first one."""
    for extension in read.extension(read.data, NATIONALITY):
        for part in read.extension(extension, "code"):
            code = read.code(part.get("valueCodeableConcept"))
            if isinstance(code, Code):
                return code
    return read.absent
