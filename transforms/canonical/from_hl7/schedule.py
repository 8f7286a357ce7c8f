"""SCH, TQ1, AIS, AIG, AIL, AIP and NTE → Appointment.

Guarantees: start and end come from one place, the most exact one that names a start; an end that is not after
its start is not believed; every resource group (RGS) is read. Refused (`StepError`): an appointment without an
id (`appointment.no_identifier`): it could never be found again.

| start and end, the first that names a start        | duration, when no end was sent           |
|----------------------------------------------------|------------------------------------------|
| TQ1-7, TQ1-8                                       | AIS-7/8 (of the same AIS), SCH-9/10      |
| AIS-4 (earliest) to AIS-4 + AIS-7/8 (latest)       | SCH-11.3 (`60`, `M30`, `2 hours`)        |
| SCH-11.4, SCH-11.5 (`^^60^start^end`, `^^^start`)  | AIP-9/10, AIL-9/10, AIG-11/12            |
| AIP-6, AIL-6, AIG-8                                | option `default_duration` (30 minutes)   |
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from engine.errors import StepError
from transforms.canonical.entities import Appointment, Location, Practitioner
from transforms.canonical.from_hl7.reader import Parts, Reader
from transforms.canonical.types import Code, Identifier, Maybe, Name, Ref

_DURATION = re.compile(r"([A-Za-z]?)\s*(\d{1,5})(?:\.\d+)?\s*([A-Za-z]*)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PERSON = re.compile(r"(?i)d$|doc|dr|phys|prov|prac|person|nurse|surgeon|therap")
Span = tuple[datetime, datetime | None]


def appointment(read: Reader, status: str) -> Appointment:
    """The appointment of an SIU message; `status` is what trigger and SCH-25 make of it."""
    message = read.message
    sch = message.segment("SCH")
    services = message.segments("AIS")
    people = message.segments("AIP")
    groups = message.segments("AIG")
    places = message.segments("AIL")
    start, end = _times(read, sch, services, people, groups, places)
    practitioners, resources = _people(read, people, groups)
    return Appointment(
        identifiers=_identifiers(read, sch),
        occurrence=read.plain(sch, 3),
        status=status,
        start=start,
        end=end,
        duration=int((end - start).total_seconds() // 60) if start and end else 0,
        type=read.code(read.one(sch, 8)),
        reason=read.code(read.one(sch, 7)),
        cancel_reason=read.code(read.one(sch, 6)),
        services=_unique(read.code(read.one(segment, 3)) for segment in services),
        practitioners=practitioners,
        resources=resources,
        locations=_locations(read, places),
        contact=_contact(read, sch),
        group=read.identifier(read.one(sch, 4), authority=2),
        based_on=_orders(read, sch),
        comments=[text for note in message.segments("NTE") for text in _texts(read, note)],
    )


def _identifiers(read: Reader, sch: Any) -> list[Identifier]:
    filler = read.identifier(read.one(sch, 2), "FILL", authority=2)
    placer = read.identifier(read.one(sch, 1), "PLAC", authority=2)
    order = (placer, filler) if read.options.appointment_id == "placer" else (filler, placer)
    found = [item for item in order if item is not None]
    if not found:
        raise StepError(
            "there is no appointment identifier",
            code="appointment.no_identifier",
            where="SCH-2",
            todo="ask the sender to fill SCH-2 (filler appointment id) or SCH-1",
        )
    return found


def _orders(read: Reader, sch: Any) -> Maybe[list[Ref]]:
    """SCH-26 (placer) and SCH-27 (filler order number): what stands at the same place in both is one order."""
    sent = read.all(sch, 26), read.all(sch, 27)
    nothing: Parts = []
    found = []
    for placer, filler in zip_longest(*sent, fillvalue=nothing):
        numbers = read.identifier(placer, "PLAC", authority=2), read.identifier(filler, "FILL", authority=2)
        if any(numbers):
            found.append(Ref(kind="Order", identifiers=[item for item in numbers if item is not None]))
    return found or (None if any(map(read.cleared, sent)) else UNSET)


def _times(
    read: Reader, sch: Any, services: list[Any], people: list[Any], groups: list[Any], places: list[Any]
) -> tuple[Maybe[datetime], Maybe[datetime]]:
    """Start and end by the table above; both UNSET when no segment names a start."""
    timing = read.one(sch, 11)
    spans = _from_tq1(read) or _spans(read, services, 4, 7)
    if not spans and (start := read.moment(read.text(timing, 4))):
        spans = [(start, read.moment(read.text(timing, 5)) or None)]
    for segments, at, lasts in ((people, 6, 9), (places, 6, 9), (groups, 8, 11)):
        spans = spans or _spans(read, segments, at, lasts)
    if not spans:
        return UNSET, UNSET
    start = min(first for first, _ in spans)
    ends = [last for _, last in spans if last is not None and last > start]
    if ends:
        return start, max(ends)
    seconds = _seconds(read.plain(sch, 9), read.plain(sch, 10)) or _seconds(read.text(timing, 3), "")
    for segments, lasts in ((people, 9), (places, 9), (groups, 11)):
        for segment in segments:
            seconds = seconds or _seconds(read.plain(segment, lasts), read.plain(segment, lasts + 1))
    return start, start + timedelta(seconds=seconds or read.options.default_duration * 60)


def _from_tq1(read: Reader) -> list[Span]:
    tq1 = read.message.segment("TQ1")
    start = read.instant(tq1, 7)
    return [(start, read.instant(tq1, 8) or None)] if isinstance(start, datetime) else []


def _spans(read: Reader, segments: list[Any], at: int, lasts: int) -> list[Span]:
    found: list[Span] = []
    for segment in segments:
        start = read.instant(segment, at)
        if isinstance(start, datetime):
            seconds = _seconds(read.plain(segment, lasts), read.plain(segment, lasts + 1))
            found.append((start, start + timedelta(seconds=seconds) if seconds else None))
    return found


def _seconds(amount: str, unit: str) -> int:
    """Seconds of `30` + `min`, `M30` (TQ.3), `2 hours`, `60` (minutes). 0 when it is no duration."""
    match = _DURATION.fullmatch(amount.strip())
    if match is None:
        return 0
    letter = (unit or match[3] or match[1] or "m").strip().lower()[:1]
    seconds = int(match[2]) * _SECONDS.get(letter, 60)
    return seconds if seconds <= 31 * 86400 else 0


def _people(read: Reader, people: list[Any], groups: list[Any]) -> tuple[list[Practitioner], list[Code]]:
    """Practitioners of the AIP, else of those AIG that name a person; the other AIG are resources."""
    found: list[Practitioner] = []
    for segment in people:
        role = read.code(read.one(segment, 4))
        for person in read.people(segment, 3):
            found.append(replace(person, role=role if isinstance(role, Code) else None))
    resources: list[Code] = []
    for segment in groups:
        parts = read.one(segment, 3)
        role = read.code(read.one(segment, 4))
        words = (role.code, role.display) if isinstance(role, Code) else ()
        if not (read.text(parts, 3) and len(parts) > 4) and not any(_PERSON.match(word) for word in words):
            what = read.code(parts)
            if isinstance(what, Code):
                resources.append(what)
        elif not people and (somebody := _resource_person(read, parts)) is not None:
            found.append(replace(somebody, role=role if isinstance(role, Code) else None))
    return _once(found), resources


def _resource_person(read: Reader, parts: list[str]) -> Practitioner | None:
    """AIG-3: an XCN in spite of the standard, or a code and `Family, Given`."""
    if len(parts) > 2 and read.text(parts, 3):
        return read.person(parts)
    person = read.person(parts[:1])
    text = read.text(parts, 2)
    if person is None or not text:
        return person
    family, _, given = text.partition(",")
    name = Name(family=family.strip(), given=[given.strip()]) if given.strip() else Name(text=text)
    return Practitioner(identifiers=person.identifiers, name=name)


def _once(people: list[Practitioner]) -> list[Practitioner]:
    """Each person once, in order."""
    found: dict[Any, Practitioner] = {}
    for person in people:
        found.setdefault(person.key or person.name.display, person)
    return list(found.values())


def _locations(read: Reader, places: list[Any]) -> list[Location]:
    found: dict[str, Location] = {}
    for segment in places:
        for parts in read.all(segment, 3):
            place = read.place(parts)
            if isinstance(place, Location):
                found.setdefault(place.display, place)
    return list(found.values())


def _unique(found: Any) -> list[Code]:
    return list(dict.fromkeys(code for code in found if isinstance(code, Code)))


def _contact(read: Reader, sch: Any) -> Ref | None:
    person = read.person(read.one(sch, 16)) or read.person(read.one(sch, 12))
    if person is None:
        return None
    return Ref(kind="Practitioner", identifiers=person.identifiers, display=person.name.display or person.id)


def _texts(read: Reader, note: Any) -> list[str]:
    return [text for parts in read.all(note, 3) if (text := read.text(parts, 1))]
