"""Optional validation of a message against the HL7 standard's own structures, or a profile of them, by hl7apy.

Guarantees: every problem that hl7apy finds is told once, by place and rule, without any value of the message.
It takes 15-70 ms a message, so it is a step that a channel asks for, never part of receiving. Refuses
(HL7Error) only what has no header; a message that hl7apy cannot read is a problem in the list, not an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from engine.hl7 import dates, events, names
from engine.hl7.er7 import Message
from engine.hl7.findings import (
    FOREIGN,
    LEVELS,
    MISSING,
    NOT_IN_TABLE,
    NOT_WRITTEN,
    TOO_LONG,
    TOO_MANY,
    WRONG_TYPE,
    Level,
    Problem,
)
from engine.hl7.paths import PathError
from engine.hl7.profile import Profile
from engine.hl7.segment import NAME

_RULES = (
    (re.compile(r"Missing required child (\S+)$"), MISSING),
    (re.compile(r"Child limit exceeded (\S+)$"), TOO_MANY),
    (re.compile(r"Datatype \S+ is not correct for (\S+) \(it must be .*\)$"), WRONG_TYPE),
    (re.compile(r"Exceeded max length \(\d+\) of (\S+)$"), TOO_LONG),
    (re.compile(r".* not in table (\S+) in element (\S+)$", re.DOTALL), NOT_IN_TABLE),
    (re.compile(r"Invalid children detected for <\w+ (\w+)[^>]*>: (.*)$"), FOREIGN),
    (re.compile(r"(?:Unknown|Invalid) element found: <\w+ (\w+)"), "holds an unknown element"),
)
_WRITTEN = {
    "DT": "a date",
    "TM": "a time",
    "DTM": "a date and time",
    "NM": "a number",
    "SI": "a whole number",
}
_STAMP = re.compile(
    r"(?:\d{4}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,4})?)?)?)?)?)?(?:[+-]\d{4})?)"
)


def validate(
    raw: bytes, version: str | None = None, profile: Profile | None = None, level: Level = "strict"
) -> list[Problem]:
    """What the standard of `version` (default: the profile's, else MSH-12) and the profile object to, up to `level`.

    Raises HL7Error without a header.
    """
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.exceptions import HL7apyException
    from hl7apy.parser import parse_message
    from hl7apy.validation import Validator

    message = Message(raw)
    said = version or (profile.version if profile else "") or message["MSH-12.1"]
    tables = names.nearest(said)
    problems = []
    if said not in names.versions():
        text = f"names a version without tables; checked as {tables}"
        problems.append(Problem("tables", "MSH-12", text))
    for segment in message:  # hl7apy passes over these in silence
        if not NAME.match(segment.name):
            problems.append(Problem("structure", f"segment {segment.index + 1}", "has no segment name"))
        elif segment.name[0] != "Z" and not names.fields(segment.name, tables):
            problems.append(Problem("structure", segment.name, f"is no segment of HL7 {tables}"))
    view = message.copy()
    view.set_encoded("MSH-12", tables)
    try:
        structure = events.describe(f"{message['MSH-9.1']}^{message['MSH-9.2']}^{message['MSH-9.3']}", tables)
        view.set_encoded("MSH-9.3", structure.structure)
    except PathError:
        problems.append(Problem("structure", "MSH-9", f"is no message of HL7 {tables}"))
    demanded = _demanded(profile, tables) if profile is not None else None
    if demanded is not None and view["MSH-9.3"] not in demanded:
        known = ", ".join(sorted(demanded))
        return [*problems, Problem("structure", "MSH-9", f"is none of the profile, which has {known}")]
    lines = [segment.text for segment in view]
    given = message.delimiters
    lines[0] = f"MSH{given.field}{given.encoding_characters[:4]}{given.field}" + given.field.join(
        view.segments("MSH")[0].fields[3:]
    )
    try:
        parsed = parse_message("\r".join(lines), VALIDATION_LEVEL.TOLERANT, message_profile=demanded)
        report = _report(Validator, parsed, demanded and demanded[view["MSH-9.3"]])
    except HL7apyException as error:
        return [*problems, Problem("structure", "MSH", f"hl7apy cannot read it: {type(error).__name__}")]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [*problems, Problem("structure", "MSH", f"hl7apy failed on it: {type(error).__name__}")]
    found = [*problems, *(_problem(line) for line in report)]
    if level == "strict":
        found += _written(parsed)
    counted = LEVELS[: LEVELS.index(level) + 1]
    return [one for one in dict.fromkeys(found) if one.level in counted]


def _demanded(profile: Profile, version: str) -> dict[str, Any]:
    """The profile, completed by the tables of a version."""
    from hl7apy import load_reference
    from hl7apy.exceptions import ChildNotFound

    def standard(kind: str, name: str) -> Any:
        try:
            return load_reference(name, kind, version)
        except ChildNotFound:
            return None

    return profile.complete(version, standard)


def _report(validator: Any, parsed: Any, reference: Any) -> list[str]:
    """All of hl7apy's findings: it returns only the first, and writes the others to a file.

    The file has no name and is gone when it is closed, because the lines hold values of the message.
    """
    from hl7apy.exceptions import HL7apyException

    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        with contextlib.suppress(HL7apyException):  # the first error once more; it is in the file
            validator.validate(parsed, reference, report_file=os.dup(file.fileno()))
        file.seek(0)
        text = file.read()
    return [line for line in re.split(r"\n(?=Error: |Warning: )", text.strip()) if line]


def _problem(line: str) -> Problem:
    level, _, text = line.partition(": ")
    counts: Level = "structure" if level == "Error" else "tables"
    for rule, what in _RULES:
        if found := rule.match(text):
            groups = found.groups()
            where = groups[0]
            if what == NOT_IN_TABLE:
                where, what = groups[1], f"{what} {groups[0].removeprefix('HL7')}"
            elif what == FOREIGN:
                detail = ", ".join(re.findall(r"'(\w+)'", groups[1]))
                what = f"{what}: {detail or 'unnamed elements'}"
            return Problem(counts, _place(where), what)
    return Problem(counts, "MSH", "breaks a rule of the standard")


def _written(element: Any, place: str = "") -> Iterator[Problem]:
    """Dates, times and numbers that are not written as HL7 writes them (v2.5.1 chapter 2A)."""
    for child in element.children:
        if child.classname in ("Group", "Segment"):
            yield from _written(child, child.name if child.classname == "Segment" else "")
            continue
        number = (child.name or "").rpartition("_")[2]
        if not number.isdigit() or not place or place[0] == "Z":
            continue
        inside = f"{place}-{number}" if child.classname == "Field" else f"{place}.{number}"
        kind = "DTM" if child.datatype == "TS" else child.datatype
        if kind in _WRITTEN and not (text := child.to_er7()).startswith('""'):
            if text and not _well_written(kind, text.partition("^")[0] if child.datatype == "TS" else text):
                yield Problem("strict", inside, f"{NOT_WRITTEN} {_WRITTEN[kind]}")
        elif child.datatype not in ("ST", "ID", "IS", "TX", "FT"):
            yield from _written(child, inside)


def _well_written(kind: str, text: str) -> bool:
    if kind == "NM":
        return bool(re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", text))
    if kind == "SI":
        return text.isdigit()
    if kind == "TM":
        text = f"20000101{text}"
    if kind == "DT" and len(text) > len("YYYYMMDD"):
        return False
    return bool(_STAMP.fullmatch(text)) and dates.parse(text) is not None


def _place(name: str) -> str:
    """`PID.PID_3` as `PID-3`, `PID_5.XPN_1` as `PID-5.1`."""
    parent, _, child = name.rpartition(".")
    number = child.rpartition("_")[2]
    if number.isdigit() and re.fullmatch(r"[A-Z][A-Z0-9]{2}_\d+", child) and parent in ("", child[:3]):
        return f"{child[:3]}-{number}"
    if number.isdigit() and parent:
        return f"{_place(parent)}.{number}"
    return child if parent and re.fullmatch(r"[A-Z][A-Z0-9]{2}", child) else name
