"""HL7 places, message types and FHIRPath in the texts of a configuration.

Guarantees: a place is told with the name that HL7 gives it (`PID-8 Administrative Sex, table 0001`); where no
version is declared, what any version has is right; Z segments are anybody's. Refuses nothing: it gives findings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from channels.lint.reading import Fault
from engine.errors import ConfigError
from engine.fhir import path_syntax
from engine.hl7 import names
from engine.hl7.paths import PathError
from engine.hl7.paths import compile as compile_path
from engine.spec.document import did_you_mean

_TRIGGERS = {
    "ADT": "A", "BAR": "P", "DFT": "P", "MDM": "T", "ORM": "O", "ORU": "RW", "SIU": "S", "SRM": "S", "VXU": "V",
}  # fmt: skip
"""Letters that the trigger events of a message code begin with (HL7 v2.5.1 appendix A, table 0003)."""
OLDEST_FIRST = ("2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2")


def named(path: str, version: str | None = None) -> str:
    """`PID-8 Administrative Sex, table 0001`; the path alone where HL7 has no such place."""
    for tried in (version or names.DEFAULT, "2.8.2", "2.3"):
        try:
            found = names.describe(path, tried)
        except (PathError, ConfigError):
            continue
        table = f", table {found.table}" if found.table else ""
        return f"{path} {found.name}{table}"
    return path


@lru_cache(maxsize=4096)
def hl7(path: str, version: str | None = None) -> tuple[Fault, ...]:
    """What is wrong with an HL7 path."""
    try:
        compiled = compile_path(path)
    except PathError as error:
        return (Fault("hl7.path", error.column - 1, f"{path!r} is no path: {error.what}", _hint(error.todo)),)
    if compiled.segment.startswith("Z"):
        return ()
    plain = f"{compiled.segment}-{compiled.field}"
    plain += "".join(f".{number}" for number in (compiled.component, compiled.sub) if number)
    having = [one for one in (version, "2.5.1", "2.8.2", *OLDEST_FIRST) if one and names.exists(plain, one)]
    if not having:
        return (_nowhere(path, plain, compiled.segment),)
    if version and version not in having:
        known = [one for one in OLDEST_FIRST if names.exists(plain, one)]
        text = f"{named(plain, known[0])} is not in HL7 {version}, which this channel speaks"
        return (Fault("hl7.version", 0, text, f"HL7 {known[0]} to {known[-1]} have it.", "warning"),)
    return ()


def _nowhere(path: str, plain: str, segment: str) -> Fault:
    having = [one for one in reversed(OLDEST_FIRST) if names.fields(segment, one)]
    if not having:
        swapped = [one for one in names.SEGMENTS if sorted(one) == sorted(segment)]
        hint = did_you_mean(segment, swapped or names.SEGMENTS)
        if swapped:
            hint = f"Did you mean {swapped[0]!r}?"
        elif not hint.startswith("Did"):
            hint = "Local segments begin with Z."
        return Fault("hl7.segment", 0, f"HL7 has no segment {segment}", hint)
    try:
        names.describe(plain, having[0])
    except PathError as error:
        code = "hl7.component" if "component" in error.what else "hl7.field"
        place = error.what.partition(" has no ")[0]
        what = error.what.replace(f" in HL7 {having[0]}", "", 1).replace(place, named(place), 1)
        return Fault(code, max(0, min(error.column - 1, len(path) - 1)), what, _hint(error.todo))
    return Fault("hl7.path", 0, f"{path!r} is no path")


def _hint(todo: str) -> str:
    return f"{todo[:1].upper()}{todo[1:]}{'' if todo.endswith('?') else '.'}" if todo else ""


_VERSIONS = ("2.5.1", "2.8.2")  # what stands in the first needs no look at the other, whose import takes time


def _in_table(code: str, table: str) -> bool:
    return any(code in names.table(table, version)[1] for version in _VERSIONS)


@lru_cache(maxsize=1024)
def message_type(name: str) -> tuple[Fault, ...]:
    """What is odd about `ADT^A01`, `ADT`, `ADT^*`: warnings, for a sender may have its own."""
    other = re.fullmatch(r"([A-Z]{3})[_. -]?([A-Z][0-9]{2})(_[A-Z0-9_]+)?", name)
    if other:
        hint = f"Did you mean '{other[1]}^{other[2]}'?"
        return (Fault("hl7.message", 0, f"no message is of the type {name!r}", hint, "warning"),)
    if not re.fullmatch(r"[A-Z][A-Z0-9]{2}(\^(\*|[A-Z][A-Z0-9]{2}))?", name) or name.startswith("Z"):
        return ()
    code, _, trigger = name.partition("^")
    if not _in_table(code, "0076"):
        codes = {one for version in _VERSIONS for one in names.table("0076", version)[1]}
        hint = did_you_mean(code, codes)
        text = f"HL7 has no message {code} (MSH-9.1 Message Code, table 0076)"
        return (Fault("hl7.message", 0, text, hint if hint.startswith("Did") else "", "warning"),)
    if trigger in ("", "*") or trigger.startswith("Z"):
        return ()
    letters = _TRIGGERS.get(code, "")
    if not _in_table(trigger, "0003") or (letters and trigger[0] not in letters):
        events = {one for version in _VERSIONS for one in names.table("0003", version)[1]}
        text = f"{code} has no trigger event {trigger} (MSH-9.2 Trigger Event, table 0003)"
        known = [one for one in sorted(events) if not letters or one[0] in letters]
        hint = f"{code} has {known[0]} to {known[-1]}." if letters else ""
        return (Fault("hl7.trigger", len(code) + 1, text, hint, "warning"),)
    return ()


def fhirpath(expression: str, types: tuple[str, ...], version: Any) -> tuple[Fault, ...]:
    """What is wrong with a FHIRPath expression."""
    return tuple(
        Fault(one.code, one.column - 1, one.text, one.hint)
        for one in path_syntax.check(expression, types, version or "R4")
    )


def path(text: str, form: Any, settings: Any, types: tuple[str, ...] = ()) -> Iterator[Fault]:
    """What is wrong with a path in `msg[...]` of a channel's format."""
    if form.name == "hl7v2":
        yield from hl7(text, getattr(settings, "version", None))
        return
    if form.name == "fhir":
        yield from fhirpath(text, types, getattr(settings, "version", "R4"))
        return
    try:
        form.check(text)
    except ConfigError as error:
        column = getattr(error, "column", 1)
        yield Fault(error.code, max(0, column - 1), error.what, _hint(error.todo))
