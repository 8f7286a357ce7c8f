"""Canonical entities of money: coverages, charges and payments, accounts (FHIR R4 codes where it has some).

Guarantee: as in `transforms.canonical.entities`. Amounts are decimal numbers as text, exactly as they were sent.
"""

# ruff: noqa: RUF012  (msgspec copies the empty lists)

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import UNSET

from transforms.canonical.entities import Entity, Location, Organization, Practitioner
from transforms.canonical.types import Address, Code, Identifier, Maybe, Money, Name, Period, Phone, escape


class Coverage(Entity):
    """An insurance of a patient (IN1, IN2; FHIR Coverage)."""

    order: str = ""  # IN1-1: 1 is billed first
    policy_number: Maybe[str] = UNSET
    group_number: Maybe[str] = UNSET
    group_name: Maybe[str] = UNSET
    plan: Maybe[Code] = UNSET
    plan_type: Maybe[str] = UNSET
    payer: Organization | None = None
    subscriber: Name | None = None
    subscriber_birth_date: Maybe[str] = UNSET
    relationship: Maybe[Code] = UNSET
    period: Period | None = None
    authorization: Maybe[str] = UNSET

    @property
    def key(self) -> str:
        """`payer/policy number`, else the identifier of the coverage, else ""."""
        payer = self.payer.key if self.payer is not None else ""
        if payer and self.policy_number:
            return f"{payer}/{escape(self.policy_number)}"
        return self.identifiers[0].key if self.identifiers else ""


class Guarantor(Entity):
    """Who pays what insurances do not (GT1)."""

    name: Name | None = None
    address: Address | None = None
    phones: list[Phone] = []
    relationship: Maybe[Code] = UNSET

    @property
    def key(self) -> str:
        """`assigner/guarantor number`, "" when none was sent."""
        return self.identifiers[0].key if self.identifiers else ""


class Charge(Entity):
    """A line of an account (FT1): a charge, a credit, an adjustment or a payment."""

    kind: str = "charge"  # charge, credit, adjustment, payment or copay
    status: str = "billable"  # billable, billed, aborted (also of a credit) or entered-in-error
    n: int = 1  # FT1-1, else its place in the message
    batch: str = ""
    code: Maybe[Code] = UNSET
    procedure: Maybe[Code] = UNSET
    modifiers: list[Code] = []
    description: str = ""
    department: Maybe[Code] = UNSET
    quantity: str = ""
    unit_price: Money | None = None
    amount: Money | None = None
    served: Maybe[datetime] = UNSET
    served_until: Maybe[datetime] = UNSET
    posted: Maybe[datetime] = UNSET
    performers: list[Practitioner] = []
    orderers: list[Practitioner] = []
    location: Maybe[Location] = UNSET
    diagnoses: list[Code] = []
    plan: Maybe[Code] = UNSET
    order: Identifier | None = None
    account: str = ""  # key of the account that it is on
    served_text: str = ""  # the service date as it was sent, for keys

    @property
    def key(self) -> str:
        """`assigner/transaction id`. Without one, account, service date, code and number: the same line of the same
        message again; "" when there is no account either."""
        if self.identifiers:
            return self.identifiers[0].key
        code = self.code.code or self.code.label if isinstance(self.code, Code) else ""
        if not self.account:
            return ""
        return f"{self.account}/{escape(self.served_text)}/{escape(code)}/{self.n}"

    @property
    def title(self) -> str:
        """What people read on the line."""
        for text in (self.description, self.code, self.procedure):
            label = text.label if isinstance(text, Code) else text
            if isinstance(label, str) and label:
                return label
        return self.kind.capitalize()

    @property
    def units(self) -> float:
        """The quantity as a number; 1 when none was sent or it is none."""
        return _number(self.quantity) or 1.0

    @property
    def price(self) -> float:
        """The price of one: FT1-12, else FT1-11 divided by the quantity, else FT1-22, else 0."""
        if self.unit_price is not None:
            return _number(self.unit_price.amount)
        return round(_number(self.amount.amount) / self.units, 6) if self.amount is not None else 0.0

    @property
    def currency(self) -> str:
        """ISO 4217, "" when none was sent."""
        return next((item.currency for item in (self.unit_price, self.amount) if item and item.currency), "")


class Account(Entity):
    """What a patient's charges are collected on (PID-18, else the visit; FHIR Account)."""

    status: str = "active"  # active, inactive or entered-in-error
    coverages: list[Coverage] = []
    guarantor: Guarantor | None = None
    diagnoses: list[Code] = []
    procedures: list[Code] = []

    @property
    def key(self) -> str:
        """`assigner/account number`, "" when none was sent."""
        return self.identifiers[0].key if self.identifiers else ""

    @property
    def number(self) -> str:
        """The account number."""
        return self.identifiers[0].value if self.identifiers else ""


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return 0.0
