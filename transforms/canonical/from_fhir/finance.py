"""Coverage, ChargeItem and Account → entities and events.

| ChargeItem.status | before | event |
|-------------------|--------|-------|
| billable, billed | none, another status, another value | charge.posted |
| aborted, entered-in-error, deleted | another status, none | charge.reversed: nothing is to be paid of it |
| planned, not-billable, unknown | | none |

| Account.status | before | event |
|----------------|--------|-------|
| active (on-hold) | none | account.opened |
| active (on-hold) | another value | account.updated |
| inactive · entered-in-error, deleted | another status, none | account.closed · purged |

Guarantee: amounts are decimal numbers as text, as they were sent. Refused (`StepError`): a charge or an account that
nothing would find again (`charge.no_identifier`, `account.no_identifier`), an account of which only a reference came
(`fhir.unresolved`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import UNSET

from engine.errors import StepError
from transforms.canonical.financial import Account, Charge, Coverage, Guarantor
from transforms.canonical.from_fhir.changes import Kind, differing
from transforms.canonical.from_fhir.people import location, organization, patient_of, practitioner
from transforms.canonical.from_fhir.reader import Reader, Resource, dict_, dicts, text
from transforms.canonical.from_fhir.visit import encounter_of
from transforms.canonical.maker import Maker
from transforms.canonical.types import Money

CHARGED = ("billable", "billed")
ENDED = ("aborted", "entered-in-error")
ACCOUNTS = {"on-hold": "active", "unknown": "active"}


def coverage(read: Reader) -> Coverage:
    """The insurance of a Coverage resource; R5 has `insurer` and identifiers where R4 has `payor` and texts."""
    data = read.data
    classes = {read.code_of(item.get("type")): item for item in reversed(dicts(data.get("class")))}
    group, plan = classes.get("group", {}), classes.get("plan", {})
    payers = dicts(data.get("insurer") or data.get("payor"))
    holder = read.resolve(data.get("subscriber"))
    birth = read.beside(holder).day(holder.get("birthDate")) if holder is not None else UNSET
    type_ = read.code(data.get("type"))
    order = data.get("order")
    plan_value = _value(plan.get("value"))
    return Coverage(
        identifiers=read.identifiers(),
        order=str(order) if type(order) is int else "",
        policy_number=_value(data.get("subscriberId")) or read.absent,
        group_number=_value(group.get("value")) or read.absent,
        group_name=read.maybe(group.get("name")),
        plan=read.code({"code": plan_value, "display": text(plan.get("name"))} if plan_value else None),
        plan_type=getattr(type_, "code", "") or getattr(type_, "label", read.absent),
        payer=organization(read, payers[0], "payer") if payers else None,
        subscriber=read.person(data.get("subscriber")),
        subscriber_birth_date=birth,
        relationship=read.code(data.get("relationship")),
        period=read.period(data.get("period")),
    )


def charges(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a ChargeItem, if anything of it changed."""
    status = "entered-in-error" if kind == "delete" else text(read.data.get("status"))
    was = text(before.data.get("status")) if before is not None else ""
    if status not in (*CHARGED, *ENDED) or (status in ENDED and was in ENDED):
        return
    on = account_of(read)
    new = _charge(read, on)
    new.status = status
    old = _charge(before, account_of(before)) if before is not None else None
    changed = differing(old, new, "identifiers") if old is not None else []
    if old is not None and status == was and not changed:
        return
    if not new.key:
        raise _unnamed("charge", "ChargeItem.identifier")
    make.event(
        "charge.posted" if status in CHARGED else "charge.reversed", "Charge", new.key,
        patient=patient_of(read, read.data.get("subject"), "subject"), charge=new, account=on,
        encounter=encounter_of(read, read.data.get("context") or read.data.get("encounter")),
        coverages=on.coverages if on is not None else [], changed=changed,
    )  # fmt: skip


def accounts(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of an Account, if anything of it changed."""
    new = account(read)
    old = account(before) if before is not None else None
    if kind == "delete":
        new.status = "entered-in-error"
    changed = differing(old, new, "identifiers") if old is not None else []
    if new.status in ("inactive", "entered-in-error"):
        action = "closed" if new.status == "inactive" else "purged"
        if old is not None and old.status == new.status:
            action = "updated" if changed else ""
    elif old is None:
        action = "updated" if kind == "update" else "opened"
    else:
        action = "updated" if changed else ""
    if not action:
        return
    if not new.key:
        raise _unnamed("account", "Account.identifier")
    subjects = [item for item in dicts(read.data.get("subject")) if read.kind(item) in ("Patient", "")]
    who = patient_of(read, subjects[0], "subject") if subjects else None
    make.event(
        f"account.{action}", "Account", new.key,
        patient=who, account=new, coverages=new.coverages, changed=changed,
    )  # fmt: skip


def account_of(read: Reader) -> Account | None:
    """The account that a charge is on. Raises StepError `fhir.unresolved`."""
    for item in dicts(read.data.get("account")):
        data = read.resolve(item)
        if data is not None:
            return account(read.beside(data))
        found = read.identified(item)
        read.need(found, "account")
        return Account(identifiers=found)
    return None


def account(read: Reader) -> Account:
    """The account of an Account resource."""
    data = read.data
    status = text(data.get("status"))
    paid = []
    for item in sorted(dicts(data.get("coverage")), key=lambda one: _place(one.get("priority"))):
        found = read.resolve(item.get("coverage"))
        if found is not None and found.get("resourceType") == "Coverage":
            paid.append(coverage(read.beside(found)))
    return Account(
        identifiers=read.identifiers(type_="AN"),
        status=ACCOUNTS.get(status, status or "active"),
        coverages=paid,
        guarantor=_guarantor(read),
        diagnoses=read.codes([item.get("condition") for item in dicts(data.get("diagnosis"))]),
        procedures=read.codes([item.get("code") for item in dicts(data.get("procedure"))]),
    )


def _guarantor(read: Reader) -> Guarantor | None:
    for item in dicts(read.data.get("guarantor")):
        party = dict_(item.get("party"))
        data = read.resolve(party)
        if data is None:
            name = read.person(party)
            return Guarantor(name=name) if name is not None else None
        beside = read.beside(data)
        addresses = beside.addresses(data.get("address"))
        return Guarantor(
            identifiers=beside.identifiers(),
            name=read.person(party),
            address=addresses[0] if addresses else None,
            phones=beside.phones(data.get("telecom")),
            relationship=beside.code(data.get("relationship")),
        )
    return None


def _charge(read: Reader, on: Account | None) -> Charge:
    data = read.data
    period = dict_(data.get("occurrencePeriod"))
    served = text(data.get("occurrenceDateTime") or period.get("start"))
    performers = [dict_(item.get("actor")) for item in dicts(data.get("performer"))]
    enterer = practitioner(read, data.get("enterer"))
    places = [item for item in performers if read.kind(item) == "Location"]
    return Charge(
        identifiers=read.identifiers(),
        status=text(data.get("status")),
        code=read.code(data.get("code")),
        procedure=read.code(_product(data)),
        description=" ".join(read.notes(data.get("note"))),
        department=read.code({"text": text(dict_(data.get("costCenter")).get("display"))}),
        quantity=decimal(dict_(data.get("quantity")).get("value")),
        unit_price=_money(dict_(data.get("unitPriceComponent")).get("amount")),
        amount=_money(data.get("priceOverride") or dict_(data.get("totalPriceComponent")).get("amount")),
        served=read.moment(served),
        served_until=read.moment(period.get("end")),
        posted=read.moment(data.get("enteredDate")),
        performers=[one for item in performers if (one := practitioner(read, item)) is not None],
        orderers=[enterer] if enterer is not None else [],
        location=(location(read, places[0]) if places else None) or read.absent,
        diagnoses=read.codes(data.get("reason")),
        account=on.key if on is not None else "",
        served_text=served,
    )


def _product(data: Resource) -> Any:
    return data.get("productCodeableConcept") or data.get("product")


def _money(found: Any) -> Money | None:
    amount = decimal(dict_(found).get("value"))
    return Money(amount=amount, currency=text(dict_(found).get("currency"))) if amount else None


def decimal(value: Any) -> str:
    """A JSON number as it is written, without an exponent; "" for anything else."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return ""
    return format(Decimal(str(value)), "f")


def _value(found: Any) -> str:
    """A text (R4), or the value of an Identifier (R5) or of the first one."""
    if isinstance(found, str):
        return found.strip()
    return next((text(item.get("value")).strip() for item in dicts(found)), "")


def _place(priority: Any) -> int:
    return priority if type(priority) is int else 99


def _unnamed(kind: str, where: str) -> StepError:
    return StepError(
        f"the {kind} has neither an identifier nor an id",
        code=f"{kind}.no_identifier",
        where=where,
        todo="ask the server's people to give it an identifier",
    )
