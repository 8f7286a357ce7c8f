"""Groups of segments: the order of ORC, OBR and what follows, the charge of FT1, and the visit around them.

Guarantee: every segment after the first opener is in exactly one group, in the order of the message, whatever
structure the message claims to have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transforms.canonical.entities import Encounter, Patient
from transforms.canonical.from_hl7.patient import patient
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.from_hl7.visit import encounter
from transforms.canonical.types import Code

Group = dict[str, list[Any]]


def groups(read: Reader, *openers: str) -> Iterator[Group]:
    """The groups that begin with one of `openers`; those that come in this order share a group (ORC, TQ1,
    then its OBR)."""
    current: Group = {}
    seen = -1
    for segment in read.message.segments():
        name = segment.name
        if name in openers:
            rank = openers.index(name)
            if current and rank <= seen:
                yield current
                current = {}
            seen = rank
        elif not current:
            continue
        current.setdefault(name, []).append(segment)
    if current:
        yield current


def first(group: Group, name: str) -> Any:
    """The first segment of a name, None when there is none."""
    return group[name][0] if name in group else None


def around(read: Reader) -> tuple[Patient | None, Encounter | None]:
    """The patient and the visit that a whole message is about. Raises StepError when PID has no identifier."""
    segment = read.message.segment
    pids, pv1 = list(read.message.segments("PID")), segment("PV1")
    kin = read.message.segments("NK1") if len(pids) == 1 else ()  # of several patients nobody knows whose
    who = patient(read, pids[0], segment("PD1"), kin, whole=False) if pids else None
    return who, encounter(read, pv1, segment("PV2"), who, "") if pv1 is not None else None


def texts(read: Reader, group: Group, name: str = "NTE", field: int = 3) -> list[str]:
    """The texts of the notes of a group."""
    return [
        text
        for note in group.get(name, ())
        for parts in read.all(note, field)
        if (text := read.text(parts, 1))
    ]


def codes_of(read: Reader, segments: Any, field: int) -> list[Code]:
    """The codes of a field over segments and repetitions, each once."""
    found = (read.code(parts) for segment in segments for parts in read.all(segment, field))
    return list(dict.fromkeys(code for code in found if isinstance(code, Code)))
