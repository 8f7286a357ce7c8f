"""REF and RRI → referral events. RF1-1 (table 0283) says more than the trigger when it says anything.

| trigger | event | status |
|---------|-------|--------|
| REF I12 | referral.requested | active |
| REF I13 | referral.modified | active |
| REF I14 | referral.cancelled | revoked |
| REF I15 | referral.status_requested | active |
| RRI, and REF I13, with RF1-1 of A, R, P or E | referral.accepted, rejected, pending, expired | the same |
| RRI without RF1-1 | referral.answered | active |

Refused (`StepError`): a referral without a number (`referral.no_identifier`).
"""

from __future__ import annotations

from typing import Any

from engine.errors import StepError
from transforms.canonical.clinical import Order
from transforms.canonical.entities import Organization, Practitioner
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.finance import coverages
from transforms.canonical.from_hl7.groups import around, codes_of
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.orders import PRIORITY
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.types import Code, Identifier, Maybe

TRIGGERS = {
    "I12": ("referral.requested", "active"),
    "I13": ("referral.modified", "active"),
    "I14": ("referral.cancelled", "revoked"),
    "I15": ("referral.status_requested", "active"),
}
ANSWERS = {"A": "accepted", "R": "rejected", "P": "pending", "E": "expired"}
REQUESTS, TAKES = frozenset({"RP", "PP"}), frozenset({"RT"})
"""PRD-1, HL7 table 0286: who refers (else the primary care provider), and to whom."""


def ref(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The event of a REF message."""
    return _referral(read, make, trigger, answer=False)


def rri(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The event of an RRI message, which answers a referral."""
    return _referral(read, make, trigger, answer=True)


def _referral(read: Reader, make: Maker, trigger: str, answer: bool) -> list[Event]:
    if trigger not in TRIGGERS:
        return []
    who, visit = around(read)
    order = _order(read)
    type_, order.status = TRIGGERS[trigger]
    said = ANSWERS.get(read.plain(read.message.segment("RF1"), 1).upper(), "")
    if said and (answer or trigger == "I13"):
        type_, order.status = f"referral.{said}", said
    elif answer:
        type_ = "referral.answered"
    make.event(
        type_, "Referral", order.key, patient=who, encounter=visit, order=order, coverages=coverages(read)
    )
    return make.events


def _order(read: Reader) -> Order:
    message = read.message
    rf1, aut = message.segment("RF1"), message.segment("AUT")
    sent = ((read.one(rf1, 6), "PLAC"), (read.one(rf1, 11), "FILL"))
    found = [
        item for parts, type_ in sent if (item := read.identifier(parts, type_, authority=2)) is not None
    ]
    if not found:
        raise StepError(
            "the referral has no number",
            code="referral.no_identifier",
            where="RF1-6",
            todo="ask the sender to fill RF1-6 (originating referral identifier) or RF1-11",
        )
    services = codes_of(read, message.segments("OBR"), 4) or codes_of(read, message.segments("PR1"), 3)
    reasons = [
        *codes_of(read, [rf1] if rf1 is not None else [], 10),
        *codes_of(read, message.segments("DG1"), 3),
    ]
    providers = message.segments("PRD")
    notes = [
        text for nte in message.segments("NTE") for parts in read.all(nte, 3) if (text := read.text(parts, 1))
    ]
    kind = read.code(read.one(rf1, 3))
    return Order(
        kind="referral",
        identifiers=found,
        priority=_priority(read, rf1),
        code=services[0] if services else kind,
        requester=_provider(read, providers, REQUESTS),
        performer=_provider(read, providers, TAKES),
        referred_to=_organization(read, providers),
        authored_on=read.instant(rf1, 7),
        expires=read.instant(rf1, 8),
        reasons=reasons,
        authorization=read.identifier(read.one(aut, 6), "AUT", authority=2),
        authorized_from=read.day(aut, 4),
        authorized_to=read.day(aut, 5),
        notes=notes,
        ext={"type": kind.code} if isinstance(kind, Code) and services else {},
    )


def _priority(read: Reader, rf1: Any) -> Maybe[str]:
    found = read.field(rf1, 2)
    return PRIORITY.get(found.upper(), found) if isinstance(found, str) else found


def _provider(read: Reader, providers: list[Any], roles: frozenset[str]) -> Practitioner | None:
    """The person of the first PRD in one of these roles (PRD-1, PRD-2, PRD-7), RP before PP."""
    chosen = [prd for prd in providers if any(read.text(parts, 1) in roles for parts in read.all(prd, 1))]
    chosen.sort(key=lambda prd: not any(read.text(parts, 1) == "RP" for parts in read.all(prd, 1)))
    for prd in chosen:
        names = read.names(read.all(prd, 2))
        numbers = _numbers(read, prd)
        if names or numbers:
            role = read.code(read.one(prd, 1))
            made = Practitioner(identifiers=numbers, role=role if isinstance(role, Code) else None)
            made.name = names[0] if names else made.name
            return made
    return None


def _numbers(read: Reader, prd: Any) -> list[Identifier]:
    """PRD-7 (PLN: number, type, state). An NPI is unique in itself, any other number within its type and sender."""
    found = []
    for parts in read.all(prd, 7):
        value, type_ = read.text(parts, 1), read.text(parts, 2)
        if value:
            assigner = "NPI" if type_ == "NPI" else read.assigner(read.text(parts, 3))
            found.append(Identifier(value=value, assigner=assigner, type=type_))
    return found


def _organization(read: Reader, providers: list[Any]) -> Organization | None:
    """Where the patient is referred to: PRD-4 of the provider in role RT."""
    for prd in providers:
        if any(read.text(parts, 1) in TAKES for parts in read.all(prd, 1)):
            place = read.place(read.one(prd, 4))
            if place:
                return Organization(name=place.display, kind="provider")
    return None
