"""PV1 and PV2 → Encounter.

Guarantee: a visit is named by PV1-19, else by PID-18 (the account), else not at all; nothing is made up.
"""

from __future__ import annotations

from typing import Any

from transforms.canonical import codes
from transforms.canonical.entities import Encounter, Patient
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.types import Identifier, Maybe


def encounter(read: Reader, pv1: Any, pv2: Any, who: Patient | None, status: str) -> Encounter:
    """The visit of a PV1 segment; `status` is what the trigger makes of it ("" says nothing)."""
    class_: Maybe[str] = read.field(pv1, 2)
    if isinstance(class_, str):
        class_ = codes.ENCOUNTER_CLASS.get(class_, class_)
    return Encounter(
        identifiers=_identifiers(read, pv1, who),
        status=status,
        class_=class_,
        type=read.code(read.one(pv1, 4)),
        start=read.instant(pv1, 44),
        end=read.instant(pv1, 45),
        expected_start=read.instant(pv2, 8),
        expected_end=read.instant(pv2, 9),
        location=read.place(read.one(pv1, 3)),
        prior_location=read.place(read.one(pv1, 6)),
        attending=read.people(pv1, 7),
        referring=read.people(pv1, 8),
        consulting=read.people(pv1, 9),
        admitting=read.people(pv1, 17),
        admit_source=read.field(pv1, 14),
        discharge_disposition=read.field(pv1, 36),
        reason=read.code(read.one(pv2, 3)),
        hospital_service=read.field(pv1, 10),
    )


def prior(read: Reader, mrg: Any) -> Encounter | None:
    """The visit (MRG-5) or the account (MRG-3) that a merge or move takes away."""
    for field, type_ in ((5, "VN"), (3, "AN")):
        item = read.identifier(read.one(mrg, field), type_)
        if item is not None:
            return Encounter(identifiers=[item])
    return None


def _identifiers(read: Reader, pv1: Any, who: Patient | None) -> list[Identifier]:
    found = [read.identifier(read.one(pv1, 19), "VN")]
    if found[0] is None and who is not None and isinstance(who.account_number, Identifier):
        found = [who.account_number]
    found.append(read.identifier(read.one(pv1, 50)))
    return [item for item in found if item is not None]
