"""Canonical entities: what HL7v2 and FHIR say alike of patients, visits and appointments (FHIR R4 names, codes).

Guarantee: `UNSET`, `None` and a value mean absent, cleared and valued, also in the convenience properties that
templates read (`patient.phone`, `patient.address.city` …). Refused: an entity without an identifier has no
`key`; it is "" and never something made up.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from transforms.canonical.types import (
    NAMELESS,
    Address,
    Code,
    Contact,
    Diagnosis,
    Identifier,
    Maybe,
    Name,
    Phone,
    Ref,
    escape,
)

NOWHERE = Address()
OPEN_VISIT = timedelta(hours=1)  # how long a visit without an end is drawn in a calendar


class Entity(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Base of the entities: business identifiers, and room for what the model does not name."""

    identifiers: list[Identifier] = []
    ext: dict[str, Any] = {}


class Reachable(Entity):
    """An entity with phone numbers and e-mail addresses."""

    phones: list[Phone] = []

    @property
    def phone(self) -> str | UnsetType:
        """The first number for talking."""
        return next((item.value for item in self.phones if item.system == "phone"), UNSET)

    @property
    def email(self) -> str | UnsetType:
        """The first e-mail address."""
        return next((item.value for item in self.phones if item.system == "email"), UNSET)


class Organization(Reachable):
    """A provider, payer or department."""

    name: str = ""
    kind: str = ""  # provider, payer, employer or department
    active: bool = True
    address: Address | None = None
    tax_id: Maybe[str] = UNSET  # the identifier of type TAX (HL7 table 0203), or a US EIN

    @property
    def key(self) -> str:
        """`assigner/id`, "" when no id was sent."""
        return self.identifiers[0].key if self.identifiers else ""

    @property
    def known(self) -> bool:
        """Whether a record can be made of it: it has an id and a name."""
        return bool(self.identifiers and self.name)


class Practitioner(Reachable):
    """A person who treats (AIP-3, PV1-7 and the like)."""

    name: Name = NAMELESS
    role: Code | None = None
    specialties: list[Code] = []
    active: Maybe[bool] = UNSET

    @property
    def key(self) -> str:
        """`assigner/id`, "" when no id was sent."""
        return self.identifiers[0].key if self.identifiers else ""

    @property
    def id(self) -> str:
        """The identifier's value."""
        return self.identifiers[0].value if self.identifiers else ""

    @property
    def display(self) -> str:
        """The name, else the id."""
        return self.name.display or self.id

    @property
    def known(self) -> bool:
        """Whether a record can be made of it: it has an id and a name."""
        return bool(self.identifiers and self.name.display)

    @property
    def npi(self) -> str:
        """The US national provider identifier, "" when none was sent."""
        return next((item.value for item in self.identifiers if item.type == "NPI"), "")


class Location(Reachable):
    """A place (HL7 PL)."""

    point_of_care: str = ""
    room: str = ""
    bed: str = ""
    facility: str = ""
    building: str = ""
    floor: str = ""
    description: str = ""
    address: Address | None = None
    status: Maybe[str] = UNSET  # active, suspended or inactive
    bed_status: Maybe[str] = UNSET  # HL7 table 0116: O occupied, U unoccupied, H housekeeping …

    @property
    def active(self) -> bool | UnsetType:
        """Whether it is in use, or only suspended; UNSET when its status is not told."""
        return self.status != "inactive" if self.status else UNSET

    @property
    def display(self) -> str:
        """`PULMCLIN RM4 (RGH)`: point of care, room, bed, and the facility."""
        words = [word for word in (self.point_of_care, self.room, self.bed) if word]
        place = " ".join(words) or self.description or self.building
        if self.facility and place and self.facility != place:
            return f"{place} ({self.facility})"
        return place or self.facility

    @property
    def key(self) -> str:
        """Its identifier, else `facility/point of care/room/bed`, as far as they were sent; "" without any."""
        if self.identifiers:
            return self.identifiers[0].key
        parts = [self.facility, self.point_of_care, self.room, self.bed]
        return "/".join(map(escape, parts)).rstrip("/") if any(parts) else ""


class Patient(Entity):
    """A patient. `mrn` is the identifier that was chosen from `identifiers` (see docs/canonical.md)."""

    mrn_identifier: Identifier | None = None
    active: Maybe[bool] = UNSET
    name: Name = NAMELESS  # the legal one; without parts when none was sent, or when it was cleared
    other_names: list[Name] = []
    birth_date: Maybe[str] = UNSET  # ISO 8601: YYYY, YYYY-MM or YYYY-MM-DD, as precise as it was sent
    gender: Maybe[str] = UNSET  # male, female, other or unknown
    phones: Maybe[list[Phone]] = UNSET
    addresses: Maybe[list[Address]] = UNSET
    marital_status: Maybe[Code] = UNSET
    language: Maybe[str] = UNSET  # ISO 639-1 where it could be told, else as it was sent
    race: Maybe[Code] = UNSET
    ethnicity: Maybe[Code] = UNSET
    nationality: Maybe[Code] = UNSET
    deceased: Maybe[bool] = UNSET
    deceased_at: Maybe[str] = UNSET
    multiple_birth: Maybe[bool] = UNSET
    birth_order: Maybe[int] = UNSET  # of a multiple birth
    account_number: Maybe[Identifier] = UNSET
    general_practitioner: Practitioner | None = None
    managing_organization: Maybe[Organization] = (
        UNSET  # whose record of the patient it is; only FHIR tells it
    )
    contacts: Maybe[list[Contact]] = UNSET

    @property
    def key(self) -> str:
        """`assigner/MRN`: the same for a patient in every message that names the same identifier."""
        return self.mrn_identifier.key if self.mrn_identifier else ""

    @property
    def mrn(self) -> str:
        """The medical record number."""
        return self.mrn_identifier.value if self.mrn_identifier else ""

    @property
    def other_identifiers(self) -> list[Identifier]:
        """All identifiers but the MRN."""
        return [item for item in self.identifiers if item is not self.mrn_identifier]

    @property
    def note_identifiers(self) -> list[str]:
        """The other identifiers as people read them (`PI 77 (LAB)`); no social security number among them."""
        return [
            " ".join(filter(None, (item.type, item.value, f"({item.assigner})")))
            for item in self.other_identifiers
            if item.type not in ("SS", "SSN", "RI")  # RI: what a FHIR server calls the record, not the person
        ]

    @property
    def home_phones(self) -> list[Phone]:
        """All numbers for talking, landlines before mobiles, private before work; no fax, pager or e-mail."""
        phones = [item for item in self.phones or () if item.system == "phone"]
        return sorted(phones, key=lambda item: (item.use == "mobile", item.use in ("work", "temp", "old")))

    @property
    def phone(self) -> Maybe[str]:
        """The number to try first. A mobile number is taken only when there is no other."""
        return self._first(self.home_phones)

    @property
    def mobile(self) -> Maybe[str]:
        """The first mobile number."""
        return self._first([item for item in self.home_phones if item.use == "mobile"])

    @property
    def other_phones(self) -> list[str]:
        """The numbers for talking that `phone` is not."""
        return [item.value for item in self.home_phones][1:]

    @property
    def email(self) -> Maybe[str]:
        """The first e-mail address."""
        return self._first([item for item in self.phones or () if item.system == "email"])

    @property
    def address(self) -> Address:
        """The address to write to: home first. All parts are UNSET when none was sent, None when cleared."""
        if self.addresses is None:
            return Address(street=None, street2=None, city=None, state=None, postal_code=None, country=None)
        return self.addresses[0] if self.addresses else NOWHERE

    def _first(self, found: list[Phone]) -> Maybe[str]:
        if found:
            return found[0].value
        return None if self.phones is None else UNSET


class Encounter(Entity):
    """A visit. Times are aware datetimes."""

    status: str = (
        ""  # planned, arrived, in-progress, onleave, finished, cancelled or entered-in-error; "" unknown
    )
    class_: Maybe[str] = msgspec.field(default=UNSET, name="class")  # IMP, AMB, EMER, PRENC or as it was sent
    type: Maybe[Code] = UNSET
    start: Maybe[datetime] = UNSET
    end: Maybe[datetime] = UNSET
    expected_start: Maybe[datetime] = UNSET
    expected_end: Maybe[datetime] = UNSET
    location: Maybe[Location] = UNSET
    prior_location: Maybe[Location] = UNSET
    attending: list[Practitioner] = []
    referring: list[Practitioner] = []
    consulting: list[Practitioner] = []
    admitting: list[Practitioner] = []
    admit_source: Maybe[str] = UNSET  # PV1-14, HL7 table 0023
    discharge_disposition: Maybe[str] = UNSET
    reason: Maybe[Code] = UNSET
    hospital_service: Maybe[str] = UNSET
    diagnoses: list[Diagnosis] = []
    appointments: Maybe[list[Ref]] = UNSET  # those that it was booked by
    financial_class: Maybe[str] = UNSET  # PV1-20, HL7 table 0064
    vip: Maybe[str] = UNSET  # PV1-16, HL7 table 0099

    @property
    def key(self) -> str:
        """`assigner/visit number`, "" when no number was sent."""
        return self.identifiers[0].key if self.identifiers else ""

    @property
    def number(self) -> str:
        """The visit number."""
        return self.identifiers[0].value if self.identifiers else ""

    @property
    def begins(self) -> Maybe[datetime]:
        """When it starts: the start, else the expected one."""
        return self.start or self.expected_start or UNSET

    @property
    def ends(self) -> Maybe[datetime]:
        """When it ends: the end, else the expected one, else an hour after it begins; never before it begins.

        UNSET when neither an end nor a begin is known.
        """
        begins = self.begins
        if not isinstance(begins, datetime):
            return self.end if isinstance(self.end, datetime) else UNSET
        for end in (self.end, self.expected_end):
            if isinstance(end, datetime):
                return max(end, begins)
        return begins + OPEN_VISIT


class Appointment(Entity):
    """A booked time. Times are aware datetimes; `duration` is in minutes."""

    status: str = ""  # FHIR appointmentstatus
    start: Maybe[datetime] = UNSET
    end: Maybe[datetime] = UNSET
    duration: int = 0
    reason: Maybe[Code] = UNSET
    cancel_reason: Maybe[Code] = UNSET
    type: Maybe[Code] = UNSET
    services: list[Code] = []
    practitioners: list[Practitioner] = []
    locations: list[Location] = []
    resources: list[Code] = []
    contact: Ref | None = None
    comments: list[str] = []
    occurrence: str = ""
    group: Identifier | None = None  # SCH-4: of the appointments that belong together
    based_on: Maybe[list[Ref]] = UNSET  # the orders that it fulfils, each with placer and filler number
    encounter: Maybe[Ref] = UNSET  # the visit that it belongs to
    prior_start: Maybe[datetime] = UNSET

    @property
    def key(self) -> str:
        """`assigner/id` (and `/occurrence` in a series), "" when no id was sent."""
        if not self.identifiers:
            return ""
        first = self.identifiers[0]
        key = f"{escape(first.assigner)}/placer/{escape(first.value)}" if first.type == "PLAC" else first.key
        return f"{key}/{escape(self.occurrence)}" if self.occurrence else key

    @property
    def id(self) -> str:
        """The identifier that the key is made of: filler, else placer."""
        return self.identifiers[0].value if self.identifiers else ""

    @property
    def location(self) -> str | UnsetType:
        """All places, in the order they were sent."""
        return ", ".join(filter(None, (item.display for item in self.locations))) or UNSET

    @property
    def title(self) -> str:
        """What the appointment is for: services, else type, else reason."""
        for code in (*self.services, self.type, self.reason):
            if isinstance(code, Code) and code.label:
                return code.label
        return "Appointment"
