"""VXU V04 → vaccination events, one for each RXA. RXA-20 (table 0322) and RXA-21 (table 0323) say what happened.

| RXA-21 | RXA-20 | event | status |
|--------|--------|-------|--------|
| D | any | vaccination.deleted | entered-in-error |
| A, U, none | RE, NA | vaccination.refused | not-done |
| U | CP, PA, none | vaccination.updated | completed |
| A, none | CP, PA, none | vaccination.recorded | completed |
"""

from __future__ import annotations

from typing import Any

from transforms.canonical.clinical import Vaccination
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.groups import Group, around, first, groups
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.orders import numbers
from transforms.canonical.from_hl7.reader import Reader


def vxu(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The events of a VXU message."""
    if trigger != "V04":
        return []
    who, visit = around(read)
    for group in groups(read, "ORC", "RXA"):
        rxa = first(group, "RXA")
        if rxa is None:
            continue
        action = read.plain(rxa, 21).upper()
        type_, status = "vaccination.updated" if action == "U" else "vaccination.recorded", "completed"
        if read.plain(rxa, 20).upper() in ("RE", "NA"):
            type_, status = "vaccination.refused", "not-done"
        if action == "D":
            type_, status = "vaccination.deleted", "entered-in-error"
        given = _vaccination(read, group, rxa, status)
        make.event(type_, "Vaccination", given.key, patient=who, encounter=visit, vaccination=given)
    return make.events


def _vaccination(read: Reader, group: Group, rxa: Any, status: str) -> Vaccination:
    rxr = first(group, "RXR")
    found = numbers(read, first(group, "ORC"), None)
    found.sort(key=lambda item: item.type != "FILL")
    people = read.people(rxa, 10)
    amount = read.plain(rxa, 6)
    return Vaccination(
        identifiers=found,
        status=status,
        code=read.code(read.one(rxa, 5)),
        at=read.instant(rxa, 3),
        amount="" if amount in ("999", "0") else amount,  # 999: not known (CDC's implementation guide)
        unit=read.plain(rxa, 7),
        lot=read.plain(rxa, 15),
        expires=read.day(rxa, 16),
        manufacturer=read.code(read.one(rxa, 17)),
        refusal=read.code(read.one(rxa, 18)),
        route=read.code(read.one(rxr, 1)),
        site=read.code(read.one(rxr, 2)),
        performer=people[0] if people else None,
    )
