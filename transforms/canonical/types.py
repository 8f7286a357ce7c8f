"""The small value types of canonical entities, with FHIR R4 names and codes (FHIR R4 datatypes).

Guarantee: three values survive in every field that may be empty. `UNSET` is absent (leave the target alone),
`None` is cleared (HL7 `""`), anything else is the value. Refused: nothing; these structs check no codes.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

ASSIGNER = "urn:isthmus:assigner:"
"""What stands before the name of an assigner that has no URI, in FHIR."""
EIN = "2.16.840.1.113883.4.4"
"""OID of the US employer identification numbers, by which employers are taxed."""
T = TypeVar("T")
Maybe: TypeAlias = T | UnsetType | None
"""Absent (`UNSET`), cleared (`None`) or a value."""


class Value(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """Base of the value types: never changed once made."""


class Period(Value, frozen=True):
    """From `start` to `end`, ISO 8601, as precise as it was sent."""

    start: Maybe[str] = UNSET
    end: Maybe[str] = UNSET


class Identifier(Value, frozen=True):
    """A business identifier: `value` is unique within `assigner`; `type` is a code of HL7 table 0203."""

    value: str
    assigner: str = ""
    type: str = ""
    system: str = ""  # the assigner's universal id (CX.4.2)
    period: Period | None = None

    @property
    def key(self) -> str:
        """`assigner/value`, with `%` and `/` of both parts escaped: two different pairs never give one key."""
        return f"{escape(self.assigner)}/{escape(self.value)}"


class Code(Value, frozen=True):
    """A coded value: `code` within `system`, and how people say it."""

    code: str = ""
    display: str = ""
    system: str = ""
    text: str = ""

    @property
    def label(self) -> str:
        """What people read: the display, else the text, else the code."""
        return self.display or self.text or self.code


class Name(Value, frozen=True):
    """A person's name. `use` is a FHIR name-use code, "" when HL7 table 0200 has no counterpart."""

    family: str = ""
    given: list[str] = []
    prefix: str = ""
    suffix: str = ""
    use: str = ""
    text: str = ""

    @property
    def display(self) -> str | UnsetType:
        """`Margaret Louise Harrington Jr`: given names, family name, suffix. UNSET when there is no name."""
        parts = [*self.given, self.family, self.suffix]
        return " ".join(part for part in parts if part) or self.text or UNSET


NAMELESS = Name()


class Phone(Value, frozen=True):
    """A phone number, fax number or e-mail address. `system`: phone, fax, pager, email, url or other."""

    value: str
    system: str = "phone"
    use: str = ""  # home, work, mobile, temp, old or ""
    rank: int = 0


class Address(Value, frozen=True):
    """A postal address. `country` is ISO 3166-1 alpha-2 where it could be told, else as it was sent."""

    street: Maybe[str] = UNSET
    street2: Maybe[str] = UNSET
    city: Maybe[str] = UNSET
    district: Maybe[str] = UNSET
    state: Maybe[str] = UNSET
    postal_code: Maybe[str] = UNSET
    country: Maybe[str] = UNSET
    use: str = ""  # home, work, temp, old, billing or ""


class Contact(Value, frozen=True):
    """Who else there is to talk to: next of kin, in an emergency (NK1; FHIR Patient.contact)."""

    name: Name = NAMELESS
    relationship: Maybe[Code] = UNSET
    phones: list[Phone] = []
    address: Address | None = None

    @property
    def phone(self) -> str | UnsetType:
        """The first number for talking."""
        return next((item.value for item in self.phones if item.system == "phone"), UNSET)


class Diagnosis(Value, frozen=True):
    """A diagnosis of a visit (DG1; FHIR Encounter.diagnosis)."""

    code: Code
    type: str = ""  # HL7 table 0052: A admitting, W working, F final; of FHIR the code of its use
    rank: int = 0  # 1 is the first


class Ref(Value, frozen=True):
    """A reference to something that this event does not carry in full."""

    kind: str
    identifiers: list[Identifier] = []
    display: str = ""

    @property
    def key(self) -> str:
        """The key of the first identifier, "" when there is none."""
        return self.identifiers[0].key if self.identifiers else ""


class Money(Value, frozen=True):
    """An amount: a decimal number as text, and an ISO 4217 currency."""

    amount: str
    currency: str = ""


def tax_id(found: list[Identifier], absent: UnsetType | None = UNSET) -> Maybe[str]:
    """The tax number among the identifiers of an organization, `absent` when there is none."""
    return next(
        (item.value for item in found if item.type == "TAX" or item.system.removeprefix("urn:oid:") == EIN),
        absent,
    )


def escape(part: str) -> str:
    """Make `part` free of `/`, so that keys can be joined by it and taken apart again."""
    if "%" in part:
        part = part.replace("%", "%25")
    return part.replace("/", "%2F") if "/" in part else part
