"""ORM, OMB, OMD, OMG, OMI, OML, OMN, OMP, OMS and RDE → order events, one for each ORC.

ORC-1 (HL7 table 0119) says what happened.

| ORC-1 | event | status |
|-------|-------|--------|
| NW, SN | order.placed | active |
| RO, RP, RU, RQ | order.replaced | RO active, else revoked |
| XO, XX, XR, PA | order.modified | by ORC-5, else active |
| CA, OC, CR | order.cancelled | revoked |
| DC, DR, OD | order.discontinued | revoked |
| HD, HR, OH | order.held | on-hold |
| RL, OE, OR | order.released | active |
| UA, UC, UD, UF, UH, UM, UR, UX | order.rejected | revoked |
| others, none | order.status_changed (none, with an OBR: order.placed) | by ORC-5, else "" |

Refused (`StepError`): an order without placer and filler number (`order.no_identifier`).
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from engine.errors import StepError
from transforms.canonical.clinical import Order
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.finance import coverages
from transforms.canonical.from_hl7.groups import Group, around, codes_of, first, groups, texts
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.types import Code, Identifier, Maybe

DETAILS = ("OBR", "RXO", "RQD", "ODS", "ODT", "RXE")
CONTROL = {
    **dict.fromkeys(("NW", "SN"), ("order.placed", "active")),
    "RO": ("order.replaced", "active"),
    **dict.fromkeys(("RP", "RU", "RQ"), ("order.replaced", "revoked")),
    **dict.fromkeys(("XO", "XX", "XR", "PA"), ("order.modified", "active")),
    **dict.fromkeys(("CA", "OC", "CR"), ("order.cancelled", "revoked")),
    **dict.fromkeys(("DC", "DR", "OD"), ("order.discontinued", "revoked")),
    **dict.fromkeys(("HD", "HR", "OH"), ("order.held", "on-hold")),
    **dict.fromkeys(("RL", "OE", "OR"), ("order.released", "active")),
    **dict.fromkeys(("UA", "UC", "UD", "UF", "UH", "UM", "UR", "UX"), ("order.rejected", "revoked")),
}
STATUS = {
    "A": "active",
    "IP": "active",
    "SC": "active",
    "CA": "revoked",
    "DC": "revoked",
    "RP": "revoked",
    "CM": "completed",
    "HD": "on-hold",
    "ER": "entered-in-error",
}
"""ORC-5, HL7 table 0038."""
PRIORITY = {
    "S": "stat",
    "A": "asap",
    "R": "routine",
    "U": "urgent",
    "P": "urgent",
    "C": "urgent",
    "T": "urgent",
}
"""TQ1-9 and OBR-5, HL7 table 0485."""


def orders(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The events of an order message."""
    who, visit = around(read)
    paid = coverages(read)
    for group in groups(read, "ORC", *DETAILS):
        order = of_group(read, group)
        type_, status = CONTROL.get(order.control, ("order.status_changed", ""))
        if not order.control:
            type_, status = "order.placed", "active"
        sent = STATUS.get(read.plain(first(group, "ORC"), 5), "")
        order.status = (
            sent if type_ in ("order.modified", "order.status_changed") and sent else status or sent
        )
        if not order.identifiers:
            raise StepError(
                "the order has no number",
                code="order.no_identifier",
                where="ORC-2",
                todo="ask the sender to fill ORC-2 (placer order number) or ORC-3 (filler order number)",
            )
        make.event(type_, "Order", order.key, patient=who, encounter=visit, order=order, coverages=paid)
    return make.events


def numbers(read: Reader, orc: Any, obr: Any) -> list[Identifier]:
    """Placer (ORC-2, OBR-2), then filler number (ORC-3, OBR-3)."""
    found = []
    for field, type_ in ((2, "PLAC"), (3, "FILL")):
        item = read.identifier(read.one(orc, field), type_, authority=2)
        item = item or read.identifier(read.one(obr, field), type_, authority=2)
        if item is not None:
            found.append(item)
    return found


def of_group(read: Reader, group: Group) -> Order:
    """The order of one ORC with its details; also of an OBR alone."""
    orc, tq1 = first(group, "ORC"), first(group, "TQ1")
    detail = next((first(group, name) for name in DETAILS if name in group), None)
    obr = detail if detail is not None and detail.name == "OBR" else None
    requesters = read.people(orc, 12) or read.people(obr, 16)
    return Order(
        identifiers=numbers(read, orc, obr),
        control=read.plain(orc, 1),
        priority=_priority(read, tq1, orc, obr),
        code=_code(read, detail),
        group=read.identifier(read.one(orc, 4), "GROUP", authority=2),
        requester=requesters[0] if requesters else None,
        authored_on=read.instant(orc, 9),
        start=read.instant(tq1, 7) or read.moment(read.text(read.one(orc, 7), 4)) or read.instant(obr, 36),
        reasons=codes_of(read, [obr] if obr is not None else [], 31)
        or codes_of(read, group.get("DG1", ()), 3),
        quantity=read.text(read.one(tq1, 2), 1) or read.text(read.one(orc, 7), 1),
        notes=texts(read, group),
    )


def _code(read: Reader, detail: Any) -> Maybe[Code]:
    """What is ordered: OBR-4, RXO-1, RXE-2, RQD-2 to 4, ODS-3, ODT-2."""
    if detail is None:
        return UNSET
    for field in {"OBR": (4,), "RXO": (1,), "RXE": (2,), "RQD": (2, 3, 4), "ODS": (3,), "ODT": (2,)}[
        detail.name
    ]:
        found = read.code(read.one(detail, field))
        if found is not UNSET:
            return found
    return UNSET


def _priority(read: Reader, tq1: Any, orc: Any, obr: Any) -> Maybe[str]:
    for segment, field, component in ((tq1, 9, 1), (orc, 7, 6), (obr, 5, 1), (obr, 27, 6)):
        text = read.text(read.one(segment, field), component)
        if text:
            return PRIORITY.get(text[:1].upper(), text) if len(text) == 1 else text
    return UNSET
