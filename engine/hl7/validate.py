"""Optional validation of a message against the HL7 standard's own structures, by hl7apy.

Guarantees: every problem that hl7apy finds is told once, by place and rule, without any value of the message.
It takes 15-70 ms a message, so it is a step that a channel asks for, never part of receiving. Refuses
(HL7Error) only what has no header; a message that hl7apy cannot read is a problem in the list, not an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from typing import Any, NamedTuple

from engine.hl7 import names
from engine.hl7.er7 import Message
from engine.hl7.segment import NAME


class Problem(NamedTuple):
    """One breach of the standard. `level` is `error` or `warning` (value not in its table, too long)."""

    level: str
    where: str  # "PID-3", "PID" or "ADT_A01"
    what: str


_RULES = (
    (re.compile(r"Missing required child (\S+)$"), "is required and missing"),
    (re.compile(r"Child limit exceeded (\S+)$"), "occurs more often than allowed"),
    (re.compile(r"Datatype \S+ is not correct for (\S+) \(it must be .*\)$"), "has the wrong data type"),
    (re.compile(r"Exceeded max length \(\d+\) of (\S+)$"), "is too long"),
    (
        re.compile(r".* not in table (\S+) in element (\S+)$", re.DOTALL),
        "has a value that is not in table {}",
    ),
    (
        re.compile(r"Invalid children detected for <\w+ (\w+)[^>]*>: (.*)$"),
        "holds what does not belong there: {}",
    ),
    (re.compile(r"(?:Unknown|Invalid) element found: <\w+ (\w+)"), "holds an unknown element"),
)


def validate(raw: bytes, version: str | None = None) -> list[Problem]:
    """What the standard of `version` (default: MSH-12) objects to. Raises HL7Error without a header."""
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.exceptions import HL7apyException
    from hl7apy.parser import parse_message
    from hl7apy.validation import Validator

    message = Message(raw)
    said = version or message["MSH-12.1"]
    tables = names.nearest(said)
    problems = []
    if said not in names.versions():
        problems.append(Problem("warning", "MSH-12", f"names a version without tables; checked as {tables}"))
    for segment in message:  # hl7apy passes over these in silence
        if not NAME.match(segment.name):
            problems.append(Problem("error", f"segment {segment.index + 1}", "has no segment name"))
        elif segment.name[0] != "Z" and not names.fields(segment.name, tables):
            problems.append(Problem("error", segment.name, f"is no segment of HL7 {tables}"))
    view = message.copy()
    view.set_encoded("MSH-12", tables)
    lines = [segment.text for segment in view]
    given = message.delimiters
    lines[0] = f"MSH{given.field}{given.encoding_characters[:4]}{given.field}" + given.field.join(
        view.segments("MSH")[0].fields[3:]
    )
    try:
        parsed = parse_message("\r".join(lines), VALIDATION_LEVEL.TOLERANT)
        report = _report(Validator, parsed)
    except HL7apyException as error:
        return [*problems, Problem("error", "MSH", f"hl7apy cannot read it: {type(error).__name__}")]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        return [*problems, Problem("error", "MSH", f"hl7apy failed on it: {type(error).__name__}")]
    return problems + list(dict.fromkeys(_problem(line) for line in report))


def _report(validator: Any, parsed: Any) -> list[str]:
    """All of hl7apy's findings: it returns only the first, and writes the others to a file.

    The file has no name and is gone when it is closed, because the lines hold values of the message.
    """
    from hl7apy.exceptions import HL7apyException

    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        with contextlib.suppress(HL7apyException):  # the first error once more; it is in the file
            validator.validate(parsed, report_file=os.dup(file.fileno()))
        file.seek(0)
        text = file.read()
    return [line for line in re.split(r"\n(?=Error: |Warning: )", text.strip()) if line]


def _problem(line: str) -> Problem:
    level, _, text = line.partition(": ")
    for rule, what in _RULES:
        if found := rule.match(text):
            groups = found.groups()
            where, detail = groups[0], ""
            if "not in table" in what:
                where, detail = groups[1], groups[0].removeprefix("HL7")
            elif len(groups) > 1:
                detail = ", ".join(re.findall(r"'(\w+)'", groups[1]))
            return Problem(level.lower(), _place(where), what.format(detail or "unnamed elements"))
    return Problem(level.lower(), "MSH", "breaks a rule of the standard")


def _place(name: str) -> str:
    """`PID.PID_3` as `PID-3`, `PID_5.XPN_1` as `PID-5.1`."""
    parent, _, child = name.rpartition(".")
    number = child.rpartition("_")[2]
    if number.isdigit() and re.fullmatch(r"[A-Z][A-Z0-9]{2}_\d+", child) and parent in ("", child[:3]):
        return f"{child[:3]}-{number}"
    if number.isdigit() and parent:
        return f"{_place(parent)}.{number}"
    return child if parent and re.fullmatch(r"[A-Z][A-Z0-9]{2}", child) else name
