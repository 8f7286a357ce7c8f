"""ADT → events. Which trigger means what stands in `TRIGGERS` and `MERGES`; docs/canonical.md tells it to people.

Guarantees: one message gives its events in order (the patient's first, then the visit's); every PID of a message
with several patients (A17, A40 …) gives its own; A20 tells of a bed and no patient. A trigger that is not listed
gives no event.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from transforms.canonical.entities import Encounter, Location, Patient
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.patient import no_prior, patient, retired
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.from_hl7.visit import diagnoses, encounter, place, prior

EXPIRED = frozenset({"20", "40", "41", "42"})  # HL7 table 0112


class Trigger(msgspec.Struct, frozen=True):
    """What a trigger event means: a patient event, a visit event, the visit's status."""

    patient: str = ""
    encounter: str = ""
    status: str = ""
    changed: tuple[str, ...] = ()
    needs_visit: bool = False  # the visit event only when PV1 names a visit


TRIGGERS = {
    "A01": Trigger("registered", "admitted", "in-progress"),
    "A02": Trigger("", "transferred", "in-progress", ("location",)),
    "A03": Trigger("", "discharged", "finished", ("status", "end")),
    "A04": Trigger("registered", "registered", "in-progress"),
    "A05": Trigger("registered", "planned", "planned"),
    "A06": Trigger("", "class_changed", "in-progress", ("class",)),
    "A07": Trigger("", "class_changed", "in-progress", ("class",)),
    "A08": Trigger("updated", "updated", "", (), True),
    "A09": Trigger("", "location_tracked", "", ("location",)),
    "A10": Trigger("", "arrived", "arrived", ("status", "location")),
    "A11": Trigger("", "cancelled", "cancelled", ("status",)),
    "A12": Trigger("", "transfer_cancelled", "in-progress", ("location",)),
    "A13": Trigger("", "discharge_cancelled", "in-progress", ("status", "end")),
    "A14": Trigger("", "planned", "planned"),
    "A15": Trigger("", "transfer_pending", ""),
    "A16": Trigger("", "discharge_pending", ""),
    "A17": Trigger("", "transferred", "in-progress", ("location",)),
    "A21": Trigger("", "leave_started", "onleave", ("status",)),
    "A22": Trigger("", "leave_ended", "in-progress", ("status",)),
    "A23": Trigger("", "deleted", "entered-in-error", ("status",)),
    "A24": Trigger("linked"),
    "A25": Trigger("", "discharge_pending_cancelled", ""),
    "A26": Trigger("", "transfer_pending_cancelled", ""),
    "A27": Trigger("", "cancelled", "cancelled", ("status",)),
    "A28": Trigger("registered"),
    "A29": Trigger("deleted"),
    "A31": Trigger("updated"),
    "A37": Trigger("unlinked"),
    "A38": Trigger("", "cancelled", "cancelled", ("status",)),
    "A52": Trigger("", "leave_cancelled", "in-progress", ("status",)),
    "A53": Trigger("", "leave_end_cancelled", "onleave", ("status",)),
    "A54": Trigger("", "updated", "", ("attending",)),
    "A55": Trigger("", "updated", "", ("attending",)),
    "A61": Trigger("", "updated", "", ("consulting",)),
    "A62": Trigger("", "updated", "", ("consulting",)),
}

MERGES = {
    "A18": "patient.merged",
    "A30": "patient.merged",
    "A34": "patient.merged",
    "A36": "patient.merged",
    "A39": "patient.merged",
    "A40": "patient.merged",
    "A46": "patient.identifier_changed",
    "A47": "patient.identifier_changed",
    "A48": "patient.identifier_changed",
    "A43": "patient.identifier_moved",
    "A35": "account.merged",
    "A41": "account.merged",
    "A44": "account.moved",
    "A49": "account.number_changed",
    "A42": "encounter.merged",
    "A45": "encounter.moved",
    "A50": "encounter.number_changed",
    "A51": "encounter.number_changed",
}


def adt(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The events of an ADT message."""
    if trigger in MERGES:
        return _merges(read, make, MERGES[trigger])
    if trigger == "A20":
        return _bed(read, make)
    meaning = TRIGGERS.get(trigger)
    if meaning is None:
        return []
    if trigger in ("A17", "A24", "A37"):
        for pid, pd1, pv1, pv2, _ in _groups(read):
            _events(read, make, trigger, meaning, (pid, pd1, pv1, pv2, (), ()))
    else:
        one, all_ = read.message.segment, read.message.segments
        found = *map(one, ("PID", "PD1", "PV1", "PV2")), all_("NK1"), all_("DG1")
        _events(read, make, trigger, meaning, found)
    return make.events


def _bed(read: Reader, make: Maker) -> list[Event]:
    """The status of a bed or a room (NPU); of none that is named, nothing."""
    where = place(read, read.message.segment("NPU"), 1, 2)
    if isinstance(where, Location) and where.key and where.bed_status is not UNSET:
        make.event("location.status_changed", "Location", where.key, location=where, changed=["bed_status"])
    return make.events


def _events(read: Reader, make: Maker, trigger: str, meaning: Trigger, segments: tuple[Any, ...]) -> None:
    pid, pd1, pv1, pv2, nk1, dg1 = segments
    who = patient(read, pid, pd1, nk1)
    if meaning.patient:
        make.event(f"patient.{meaning.patient}", "Patient", who.key, patient=who)
    if not meaning.encounter:
        return
    visit = encounter(read, pv1, pv2, who, meaning.status)
    if meaning.needs_visit and not visit.identifiers:
        return
    _times(visit, trigger, make.time)
    visit.diagnoses = diagnoses(read, dg1)
    if trigger == "A03" and visit.discharge_disposition in EXPIRED and who.deceased is UNSET:
        who.deceased = True
    make.event(
        f"encounter.{meaning.encounter}",
        "Encounter",
        visit.key,
        patient=who,
        encounter=visit,
        changed=list(meaning.changed),
    )


def _times(visit: Encounter, trigger: str, happened: datetime) -> None:
    """What the trigger itself says of start and end, where PV1-44 and PV1-45 do not."""
    if trigger in ("A01", "A04") and not visit.start:
        visit.start = happened
    elif trigger == "A03" and not visit.end:
        visit.end = happened
    elif trigger == "A13" and visit.end is UNSET:
        visit.end = None


def _groups(read: Reader) -> Iterator[tuple[Any, Any, Any, Any, list[Any]]]:
    """`(PID, PD1, PV1, PV2, [(MRG, PV1) …])` for each PID of the message, in order.

    A45 has a PV1 after each MRG, elsewhere it is one for the patient: the first.
    """
    current: list[Any] = []
    merges: list[Any] = []
    places = {"PD1": 1, "PV1": 2, "PV2": 3}
    for segment in read.message.segments():
        name = segment.name
        if name == "PID":
            if current:
                yield (*current, merges)
            current, merges = [segment, None, None, None], []
        elif current and name == "MRG":
            merges.append([segment, None])
        elif merges and name == "PV1" and merges[-1][1] is None:
            merges[-1][1] = segment
            current[2] = current[2] or segment
        elif current and name in places and current[places[name]] is None:
            current[places[name]] = segment
    if current:
        yield (*current, merges)


def _merges(read: Reader, make: Maker, type_: str) -> list[Event]:
    """One event for each PID with its MRG; a message without PID fails as every ADT without a patient does."""
    groups = list(_groups(read)) or [(None, None, None, None, [])]
    for pid, pd1, pv1, pv2, merges in groups:
        survivor = patient(read, pid, pd1)
        if type_.startswith("patient."):
            gone = _retired(read, [mrg for mrg, _ in merges], survivor)
            make.event(type_, "Patient", survivor.key, patient=survivor, retired=gone)
            continue
        if not merges:
            raise no_prior("MRG")
        for mrg, own in merges:
            visit = encounter(read, own or pv1, pv2, survivor, "")
            kind = "Account" if type_.startswith("account.") else "Encounter"
            key = visit.key
            make.event(type_, kind, key, patient=survivor, encounter=visit, prior=prior(read, mrg))
    return make.events


def _retired(read: Reader, merges: list[Any], survivor: Patient) -> list[Patient]:
    """Who is merged away; not the survivor itself. Without any MRG the merge has no sense, and fails."""
    found: dict[str, Patient] = {}
    for mrg in merges or [None]:
        gone = retired(read, mrg, survivor)
        if gone.key != survivor.key:
            found.setdefault(gone.key, gone)
    return list(found.values())
