"""PV1, PV2 and DG1 → Encounter.

Guarantee: a visit is named by PV1-19, else by PID-18 (the account), else not at all; nothing is made up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transforms.canonical import codes
from transforms.canonical.entities import Encounter, Location, Patient
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.types import Code, Diagnosis, Identifier, Maybe


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
        location=place(read, pv1, 3, 40),
        prior_location=read.place(read.one(pv1, 6)),
        attending=read.people(pv1, 7),
        referring=read.people(pv1, 8),
        consulting=read.people(pv1, 9),
        admitting=read.people(pv1, 17),
        admit_source=read.field(pv1, 14),
        discharge_disposition=read.field(pv1, 36),
        reason=read.code(read.one(pv2, 3)),
        hospital_service=read.field(pv1, 10),
        financial_class=read.field(pv1, 20),
        vip=read.field(pv1, 16),
    )


def place(read: Reader, segment: Any, field: int, bed_status: int) -> Maybe[Location]:
    """The place of a field (PV1-3, NPU-1); of a room or a bed with its status (PV1-40, NPU-2)."""
    found = read.place(read.one(segment, field))
    if isinstance(found, Location) and (found.room or found.bed):
        found.bed_status = read.field(segment, bed_status)
    return found


def diagnoses(read: Reader, segments: Iterable[Any]) -> list[Diagnosis]:
    """Those of DG1: DG1-3 (what it is, or only its words in DG1-4), DG1-6 and DG1-15."""
    found = []
    for segment in segments:
        code = read.code(read.one(segment, 3))
        said = read.plain(segment, 4)
        if not isinstance(code, Code):
            code = Code(text=said) if said else None
        if code is not None:
            rank = read.plain(segment, 15)
            ranked = int(rank) if rank.isascii() and rank.isdigit() and len(rank) < 4 else 0
            found.append(Diagnosis(code=code, type=read.plain(segment, 6), rank=ranked))
    return found


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
