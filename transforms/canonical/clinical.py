"""Canonical entities of care beside visits: orders, referrals, results, documents, vaccinations (FHIR R4 codes).

Guarantee: as in `transforms.canonical.entities`: UNSET, None and a value are absent, cleared and valued; no key is
made up. A document's content is described, not carried: size, type and hash, and text up to MAX_TEXT characters.
"""

# ruff: noqa: RUF012  (msgspec copies the empty lists)

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET

from transforms.canonical.entities import Entity, Organization, Practitioner
from transforms.canonical.types import Code, Identifier, Maybe, Value, escape

MAX_TEXT = 20_000


class Order(Entity):
    """An order or a referral (FHIR ServiceRequest)."""

    kind: str = "order"  # or referral
    control: str = ""  # ORC-1, HL7 table 0119
    status: str = ""  # draft, active, on-hold, revoked, completed, entered-in-error; of referrals also
    # accepted, rejected, pending, expired
    priority: Maybe[str] = UNSET  # routine, urgent, asap, stat, or as it was sent
    code: Maybe[Code] = UNSET  # what is ordered
    group: Identifier | None = None
    requester: Practitioner | None = None
    performer: Practitioner | None = None  # who shall do it; of a referral, who is referred to
    referred_to: Organization | None = None
    authored_on: Maybe[datetime] = UNSET
    start: Maybe[datetime] = UNSET  # when it shall be done
    expires: Maybe[datetime] = UNSET
    reasons: list[Code] = []
    authorization: Identifier | None = None
    authorized_from: Maybe[str] = UNSET
    authorized_to: Maybe[str] = UNSET
    quantity: str = ""
    notes: list[str] = []

    @property
    def key(self) -> str:
        """`assigner/placer number`, else `assigner/filler/number`, else ""."""
        return key_of(self.identifiers, "PLAC", "filler")

    @property
    def id(self) -> str:
        """The number that the key is made of."""
        return self.identifiers[0].value if self.identifiers else ""

    @property
    def title(self) -> str:
        """What it is for: the code, else the first reason."""
        for code in (self.code, *self.reasons):
            if isinstance(code, Code) and code.label:
                return code.label
        return "Referral" if self.kind == "referral" else "Order"


class Observation(Value, frozen=True):
    """One value of a result (OBX)."""

    code: Maybe[Code] = UNSET
    value: Maybe[str] = UNSET
    unit: str = ""
    range: str = ""
    flag: str = ""  # HL7 table 0078
    status: str = ""  # preliminary, final, amended, cancelled …
    at: Maybe[datetime] = UNSET
    sub_id: str = ""


class Result(Entity):
    """A report on an order (OBR with its OBX; FHIR DiagnosticReport)."""

    status: str = ""  # registered, partial, preliminary, final, corrected or cancelled
    code: Maybe[Code] = UNSET
    issued: Maybe[datetime] = UNSET
    observed: Maybe[datetime] = UNSET
    performer: Practitioner | None = None
    requester: Practitioner | None = None
    observations: list[Observation] = []
    notes: list[str] = []

    @property
    def key(self) -> str:
        """`assigner/filler number`, else `assigner/placer/number`, else ""; with the code, which tells the reports
        of one order apart."""
        base = key_of(self.identifiers, "FILL", "placer")
        code = self.code.code or self.code.label if isinstance(self.code, Code) else ""
        return f"{base}/{escape(code)}" if base and code else base

    @property
    def abnormal(self) -> list[Observation]:
        """The values that are flagged, but for normal ones."""
        return [item for item in self.observations if item.flag not in ("", "N")]


class Content(Value, frozen=True):
    """A part of a document: what it is, not what it says, unless it is plain text."""

    content_type: str = ""
    encoding: str = ""
    size: int = 0  # bytes, decoded
    sha256: str = ""
    text: str = ""


class Document(Entity):
    """A document (TXA; FHIR DocumentReference)."""

    type: Maybe[Code] = UNSET
    title: str = ""
    status: str = "current"  # current, superseded or entered-in-error
    completion: str = ""  # TXA-17, HL7 table 0271: AU authenticated, LA legally, IP in progress …
    availability: str = ""  # TXA-19, HL7 table 0273
    confidentiality: str = ""  # TXA-18, HL7 table 0272
    created: Maybe[datetime] = UNSET
    activity: Maybe[datetime] = UNSET
    authors: list[Practitioner] = []
    relates: str = ""  # replaces, appends or ""
    parent: Identifier | None = None
    content: list[Content] = []

    @property
    def key(self) -> str:
        """`assigner/unique document number`, "" when none was sent."""
        return self.identifiers[0].key if self.identifiers else ""


class Vaccination(Entity):
    """A vaccination that was given, or was not (RXA; FHIR Immunization)."""

    status: str = "completed"  # completed, not-done or entered-in-error
    code: Maybe[Code] = UNSET
    at: Maybe[datetime] = UNSET
    amount: str = ""
    unit: str = ""
    lot: str = ""
    expires: Maybe[str] = UNSET
    manufacturer: Maybe[Code] = UNSET
    refusal: Maybe[Code] = UNSET
    route: Maybe[Code] = UNSET
    site: Maybe[Code] = UNSET
    performer: Practitioner | None = None

    @property
    def key(self) -> str:
        """`assigner/filler number`, else `assigner/placer/number`, else ""."""
        return key_of(self.identifiers, "FILL", "placer")


def key_of(identifiers: list[Identifier], first: str, other: str) -> str:
    """The key of the first identifier; one of another type than `first` has `other` in it, lest two be one."""
    if not identifiers:
        return ""
    item = identifiers[0]
    return item.key if item.type == first else f"{escape(item.assigner)}/{other}/{escape(item.value)}"
