"""IN1, GT1, FT1 → coverages, guarantors, charges; DFT and BAR → events.

| message | FT1-6 or trigger | event |
|---------|------------------|-------|
| DFT P03, P11 | CG, none | charge.posted |
|         | CD | charge.reversed |
|         | AJ | charge.adjusted |
|         | PY, CO | payment.received |
| BAR     | P01 | account.opened |
|         | P02 | account.purged |
|         | P05, P10, P12 | account.updated |
|         | P06 | account.closed |

Guarantee: one event for each FT1, in their order; amounts are kept as they were sent, and what is no decimal number
is left out. Refused (`StepError`): a charge that nothing would find again (`charge.no_identifier`), an account
without a number (`account.no_identifier`).
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET

from engine.errors import StepError
from transforms.canonical.entities import Encounter, Organization, Patient
from transforms.canonical.events import Event
from transforms.canonical.financial import Account, Charge, Coverage, Guarantor
from transforms.canonical.from_hl7.groups import around, codes_of, groups
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.types import Identifier, Money, Period, tax_id

KINDS = {"CG": "charge", "CD": "credit", "AJ": "adjustment", "PY": "payment", "CO": "copay", "": "charge"}
CHARGED = {
    "charge": "charge.posted",
    "credit": "charge.reversed",
    "adjustment": "charge.adjusted",
    "payment": "payment.received",
    "copay": "payment.received",
}
ACCOUNTS = {
    "P01": ("account.opened", "active"),
    "P02": ("account.purged", "entered-in-error"),
    "P05": ("account.updated", "active"),
    "P06": ("account.closed", "inactive"),
    "P10": ("account.updated", "active"),
    "P12": ("account.updated", "active"),
}
_AMOUNT = re.compile(r"[-+]?\d{1,15}(?:\.\d{0,6})?")


def dft(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The events of a DFT message: one for each FT1."""
    if trigger not in ("P03", "P11"):
        return []
    who, visit = around(read)
    paid = coverages(read)
    on = account(read, who, visit, "active", paid)
    for place, group in enumerate(groups(read, "FT1"), 1):
        charge = _charge(read, group["FT1"][0], place, on)
        if not charge.key:
            raise StepError(
                "the charge has no transaction id, and no account or visit that it is on",
                code="charge.no_identifier",
                where="FT1-2",
                todo="ask the sender to fill FT1-2 (transaction id), or PID-18 or PV1-19",
            )
        make.event(
            CHARGED[charge.kind], "Charge", charge.key,
            patient=who, encounter=visit, charge=charge, account=on, coverages=paid,
        )  # fmt: skip
    return make.events


def bar(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The event of a BAR message."""
    if trigger not in ACCOUNTS:
        return []
    who, visit = around(read)
    type_, status = ACCOUNTS[trigger]
    paid = coverages(read)
    on = account(read, who, visit, status, paid)
    if on is None:
        raise StepError(
            "there is no account number",
            code="account.no_identifier",
            where="PID-18",
            todo="ask the sender to fill PID-18 (account number) or PV1-19 (visit number)",
        )
    make.event(type_, "Account", on.key, patient=who, encounter=visit, account=on, coverages=paid)
    return make.events


def account(
    read: Reader, who: Patient | None, visit: Encounter | None, status: str, paid: list[Coverage]
) -> Account | None:
    """The account: PID-18, else the visit; None when neither has a number."""
    number = who.account_number if who is not None and isinstance(who.account_number, Identifier) else None
    found = [number] if number else visit.identifiers[:1] if visit is not None else []
    if not found:
        return None
    segments = read.message.segments
    return Account(
        identifiers=found,
        status=status,
        coverages=paid,
        guarantor=_guarantor(read, read.message.segment("GT1")),
        diagnoses=codes_of(read, segments("DG1"), 3),
        procedures=codes_of(read, segments("PR1"), 3),
    )


def coverages(read: Reader) -> list[Coverage]:
    """The insurances of a message, in the order in which they are billed."""
    found = [_coverage(read, in1) for in1 in read.message.segments("IN1")]
    return sorted(found, key=lambda item: int(item.order) if item.order.isdecimal() else 99)


def _coverage(read: Reader, in1: Any) -> Coverage:
    names = read.names(read.all(in1, 16))
    start, end = read.day(in1, 12), read.day(in1, 13)
    plan = read.code(read.one(in1, 2))
    member = read.identifier(read.one(in1, 49), "MB")
    return Coverage(
        identifiers=[member] if member is not None else [],
        order=read.plain(in1, 1),
        policy_number=read.field(in1, 36) or (member.value if member is not None else read.field(in1, 36)),
        group_number=read.field(in1, 8),
        group_name=read.field(in1, 9),
        plan=plan,
        plan_type=read.field(in1, 15),
        payer=_payer(read, in1),
        subscriber=names[0] if names else None,
        subscriber_birth_date=read.day(in1, 18),
        relationship=read.code(read.one(in1, 17)),
        period=None if start is UNSET and end is UNSET else Period(start=start, end=end),
        authorization=read.field(in1, 14),
    )


def _payer(read: Reader, in1: Any) -> Organization | None:
    """IN1-3 to IN1-7. Its ids are those of the sender, unless they say whose they are."""
    found = [item for parts in read.all(in1, 3) if (item := read.identifier(parts)) is not None]
    name = read.plain(in1, 4)
    if not found and not name:
        return None
    addresses = [read.address(parts, False) for parts in read.all(in1, 5) if any(parts)]
    phones = [phone for parts in read.all(in1, 7) if (phone := read.phone(parts, "work")) is not None]
    return Organization(
        identifiers=found,
        name=name,
        kind="payer",
        address=addresses[0] if addresses else None,
        phones=phones,
        tax_id=tax_id(found),
    )


def _guarantor(read: Reader, gt1: Any) -> Guarantor | None:
    if gt1 is None:
        return None
    names = read.names(read.all(gt1, 3))
    addresses = [read.address(parts, False) for parts in read.all(gt1, 5) if any(parts)]
    return Guarantor(
        identifiers=[item for parts in read.all(gt1, 2) if (item := read.identifier(parts)) is not None],
        name=names[0] if names else None,
        address=addresses[0] if addresses else None,
        phones=[phone for parts in read.all(gt1, 6) if (phone := read.phone(parts, "home")) is not None],
        relationship=read.code(read.one(gt1, 11)),
    )


def _charge(read: Reader, ft1: Any, place: int, on: Account | None) -> Charge:
    number = read.identifier(read.one(ft1, 2), "", authority=2)
    order = read.identifier(read.one(ft1, 23), "FILL", authority=2)
    served = read.one(ft1, 4)
    n = read.plain(ft1, 1)
    kind = KINDS.get(read.plain(ft1, 6).upper(), "charge")
    return Charge(
        identifiers=[number] if number is not None else [],
        kind=kind,
        status="aborted" if kind == "credit" else "billable",
        n=int(n) if n.isdecimal() and len(n) < 10 else place,
        batch=read.plain(ft1, 3),
        code=read.code(read.one(ft1, 7)),
        procedure=read.code(read.one(ft1, 25)),
        modifiers=codes_of(read, [ft1], 26),
        description=read.plain(ft1, 8),
        department=read.code(read.one(ft1, 13)),
        quantity=_decimal(read.plain(ft1, 10)),
        unit_price=_money(read, ft1, 12) or _money(read, ft1, 22),
        amount=_money(read, ft1, 11),
        served=read.moment(read.text(served, 1)),
        served_until=read.moment(read.text(served, 2)),
        posted=read.instant(ft1, 5),
        performers=read.people(ft1, 20),
        orderers=read.people(ft1, 21),
        location=read.place(read.one(ft1, 16)),
        diagnoses=codes_of(read, [ft1], 19),
        plan=read.code(read.one(ft1, 14)),
        order=order,
        account=on.key if on is not None else "",
        served_text=read.text(served, 1),
    )


def _money(read: Reader, segment: Any, field: int) -> Money | None:
    """CP: the amount is CP.1.1, its currency CP.1.2; None when it is no decimal number."""
    parts = read.one(segment, field)
    amount = _decimal(read.text(parts, 1))
    return Money(amount=amount, currency=read.text(parts, 1, 2)) if amount else None


def _decimal(text: str) -> str:
    return text if _AMOUNT.fullmatch(text) else ""
