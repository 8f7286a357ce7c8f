"""ORU → result events, one for each OBR. OBR-25 (table 0123) says how far the result is, else its OBX-11 (0085).

| OBR-25 | event | status |
|--------|-------|--------|
| F | result.available | final |
| C | result.corrected | corrected |
| X | result.cancelled | cancelled |
| P, A, R, I, S, O, … | result.preliminary | preliminary, partial (A), registered (I, S, O) |
| none | result.available when every OBX-11 is final (F, U, C), else result.preliminary | |
"""

from __future__ import annotations

from typing import Any

from transforms.canonical.clinical import Observation, Result
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.finance import coverages
from transforms.canonical.from_hl7.groups import Group, around, first, groups, texts
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.orders import numbers
from transforms.canonical.from_hl7.reader import NULL, Reader
from transforms.canonical.types import Maybe

FINAL = frozenset("FUC")
REPORT = {"F": "final", "C": "corrected", "X": "cancelled", "A": "partial"} | dict.fromkeys(
    "ISO", "registered"
)
EVENTS = {"final": "result.available", "corrected": "result.corrected", "cancelled": "result.cancelled"}
VALUES = {
    "C": "corrected",
    "X": "cancelled",
    **dict.fromkeys("FU", "final"),
    **dict.fromkeys("PRS", "preliminary"),
}
VALUES |= dict.fromkeys("DW", "entered-in-error") | dict.fromkeys("INO", "registered")


def oru(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The events of an ORU message."""
    who, visit = around(read)
    paid = coverages(read)
    for group in groups(read, "ORC", "OBR"):
        if "OBR" not in group:
            continue
        result = _result(read, group)
        type_ = EVENTS.get(result.status, "result.preliminary")
        make.event(type_, "Result", result.key, patient=who, encounter=visit, result=result, coverages=paid)
    return make.events


def _result(read: Reader, group: Group) -> Result:
    obr, orc = group["OBR"][0], first(group, "ORC")
    found = numbers(read, orc, obr)
    found.sort(key=lambda item: item.type != "FILL")
    requesters = read.people(obr, 16) or read.people(orc, 12)
    principal = read.person(read.one(obr, 32)) if not read.text(read.one(obr, 32), 1, 2) else None
    return Result(
        identifiers=found,
        status=_status(read, obr, group),
        code=read.code(read.one(obr, 4)),
        issued=read.instant(obr, 22),
        observed=read.instant(obr, 7),
        performer=principal,
        requester=requesters[0] if requesters else None,
        observations=[_observation(read, obx) for obx in group.get("OBX", ())],
        notes=texts(read, group),
    )


def _status(read: Reader, obr: Any, group: Group) -> str:
    sent = read.plain(obr, 25).upper()
    if sent:
        return REPORT.get(sent, "preliminary")
    values = {read.plain(obx, 11).upper() for obx in group.get("OBX", ())}
    return "final" if values and values <= FINAL else "preliminary"


def _observation(read: Reader, obx: Any) -> Observation:
    return Observation(
        code=read.code(read.one(obx, 3)),
        value=_value(read, obx),
        unit=read.text(read.one(obx, 6), 2) or read.plain(obx, 6),
        range=read.plain(obx, 7),
        flag=read.plain(obx, 8),
        status=VALUES.get(read.plain(obx, 11).upper(), ""),
        at=read.instant(obx, 14),
        sub_id=read.plain(obx, 4),
    )


def _value(read: Reader, obx: Any) -> Maybe[str]:
    """OBX-5 as people read it: the display of a code, `> 10`, the lines of a text. Data (ED, RP) is left out."""
    kind, found = read.plain(obx, 2), read.all(obx, 5)
    if found == [[NULL]]:
        return None
    if kind in ("ED", "RP"):
        return ""
    if kind in ("CE", "CWE", "CNE", "CF"):
        words = (read.text(parts, 2) or read.text(parts, 1) or read.text(parts, 9) for parts in found)
        return "\n".join(filter(None, words))
    if kind == "SN":
        return " ".join(text for parts in found for n in (1, 2, 3, 4) if (text := read.text(parts, n)))
    return "\n".join(read.text(parts, 1) for parts in found)
