"""ServiceRequest → event: an order, or a referral when its category (or code) says so.

| status | before | order | referral |
|--------|--------|-------|----------|
| active | none, draft | order.placed | referral.requested |
| active | on-hold | order.released | referral.modified |
| active | active, another value | order.modified | referral.modified |
| on-hold | another status, none | order.held | referral.modified |
| revoked, entered-in-error, deleted | another status, none | order.cancelled | referral.cancelled |
| completed | another status, none | order.status_changed | referral.modified |
| draft, and every intent that is no order (proposal, plan, directive, option) | | none | none |

Refused (`StepError`): a patient who cannot be told (`fhir.unresolved`).
"""

from __future__ import annotations

from typing import Any

from transforms.canonical.clinical import Order
from transforms.canonical.from_fhir.changes import Kind, differing
from transforms.canonical.from_fhir.finance import coverage
from transforms.canonical.from_fhir.people import organization, patient_of, practitioner
from transforms.canonical.from_fhir.reader import Reader, dict_, dicts, text
from transforms.canonical.from_fhir.visit import encounter_of
from transforms.canonical.maker import Maker

INTENTS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order", ""})
REFERRAL_CODES = frozenset({"3457005", "306206005", "308447003", "REF", "referral"})
"""SNOMED CT: patient referral, referral to service, referral by; and what people write."""
REACHED = {
    "active": ("placed", "requested"),
    "on-hold": ("held", "modified"),
    "revoked": ("cancelled", "cancelled"),
    "entered-in-error": ("cancelled", "cancelled"),
    "completed": ("status_changed", "modified"),
}


def orders(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a ServiceRequest, if anything of it changed."""
    if text(read.data.get("intent")) not in INTENTS:
        return
    new = order(read)
    old = order(before) if before is not None else None
    if kind == "delete":
        new.status = "entered-in-error"
    reached = REACHED.get(new.status)
    if reached is None:
        return
    changed = differing(old, new, "identifiers") if old is not None else []
    if old is not None and old.status == new.status and kind != "delete":
        if not changed:
            return
        reached = ("modified", "modified") if new.status == "active" else ("status_changed", "modified")
    elif old is not None and old.status == "on-hold" and new.status == "active":
        reached = ("released", "modified")
    elif old is None and kind == "update" and new.status == "active":
        reached = ("modified", "modified")
    action = reached[new.kind == "referral"]
    who = patient_of(read, read.data.get("subject"), "subject")
    make.event(
        f"{new.kind}.{action}", new.kind.capitalize(), new.key, patient=who, order=new,
        encounter=encounter_of(read, read.data.get("encounter")), coverages=_paid(read), changed=changed,
    )  # fmt: skip


def order(read: Reader) -> Order:
    """The order of a resource."""
    data = read.data
    categories = read.codes(data.get("category"))
    code: Any = read.code(data.get("code"))
    referral = any(
        item.code in REFERRAL_CODES or "referral" in item.label.lower()
        for item in (*categories, *([code] if code else []))
    )
    group = read.identifier(dict_(data.get("requisition")), "GROUP")
    performers = dicts(data.get("performer"))
    requester = practitioner(read, data.get("requester"))
    period = dict_(data.get("occurrencePeriod"))
    quantity = dict_(data.get("quantityQuantity")).get("value")
    return Order(
        kind="referral" if referral else "order",
        identifiers=read.numbers("PLAC", "FILL"),
        status=text(data.get("status")),
        priority=read.maybe(data.get("priority")),
        code=code,
        group=group,
        requester=requester,
        performer=next((one for item in performers if (one := _person(read, item))), None),
        referred_to=next((one for item in performers if (one := _place(read, item))), None),
        authored_on=read.moment(data.get("authoredOn")),
        start=read.moment(data.get("occurrenceDateTime") or period.get("start")),
        expires=read.moment(period.get("end")),
        reasons=read.codes(data.get("reasonCode"), data.get("reason")),
        quantity=str(quantity) if isinstance(quantity, (int, float)) else "",
        notes=[*read.notes(data.get("note")), *read.notes(data.get("patientInstruction"))],
    )


def _person(read: Reader, reference: Any) -> Any:
    kind = read.kind(reference)
    return practitioner(read, reference) if kind in ("Practitioner", "PractitionerRole") else None


def _place(read: Reader, reference: Any) -> Any:
    return organization(read, reference, "provider") if read.kind(reference) == "Organization" else None


def _paid(read: Reader) -> list[Any]:
    found = (read.resolve(item) for item in dicts(read.data.get("insurance")))
    return [coverage(read.beside(one)) for one in found if one and one.get("resourceType") == "Coverage"]
