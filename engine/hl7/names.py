"""What HL7 calls a place: segments, fields, components, data types and tables of versions 2.1 to 2.8.2.

Guarantees: the tables of hl7apy are loaded on first use only (some 20 ms a version), never at engine start.
A version that they do not have is answered from the nearest one. Refuses, with PathError and "did you mean":
places and names that no version has. hl7apy knows no lengths, so neither does this module.
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import Any, NamedTuple

from engine.hl7 import paths
from engine.hl7.paths import PathError

DEFAULT = "2.5.1"
_SEARCHED = ("2.5.1", "2.8.2", "2.7", "2.6", "2.5", "2.4", "2.3.1", "2.3", "2.2", "2.1", "2.8", "2.8.1")
_KEPT_UPPER = {"Id", "Ssn", "Dob", "Mpi", "Dea", "Drg", "Icd", "Hl7", "Phi", "Url"}

SEGMENTS = {
    "ABS": "Abstract", "ACC": "Accident", "ADD": "Addendum", "AIG": "Appointment Information - General Resource",
    "AIL": "Appointment Information - Location Resource", "AIP": "Appointment Information - Personnel Resource",
    "AIS": "Appointment Information - Service", "AL1": "Patient Allergy Information",
    "APR": "Appointment Preferences", "ARQ": "Appointment Request", "ARV": "Access Restriction",
    "BHS": "Batch Header", "BTS": "Batch Trailer", "CON": "Consent", "CTD": "Contact Data",
    "DB1": "Disability", "DG1": "Diagnosis", "DRG": "Diagnosis Related Group", "DSC": "Continuation Pointer",
    "ERR": "Error", "EVN": "Event Type", "FHS": "File Header", "FT1": "Financial Transaction",
    "FTS": "File Trailer", "GT1": "Guarantor", "IN1": "Insurance", "IN2": "Insurance Additional Information",
    "IN3": "Insurance Additional Information, Certification", "MRG": "Merge Patient Information",
    "MSA": "Message Acknowledgment", "MSH": "Message Header", "NK1": "Next of Kin / Associated Parties",
    "NTE": "Notes and Comments", "OBR": "Observation Request", "OBX": "Observation/Result",
    "ORC": "Common Order", "PD1": "Patient Additional Demographic", "PDA": "Patient Death and Autopsy",
    "PID": "Patient Identification", "PR1": "Procedures", "PRB": "Problem Details", "PRD": "Provider Data",
    "PRT": "Participation Information", "PV1": "Patient Visit", "PV2": "Patient Visit - Additional Information",
    "QAK": "Query Acknowledgment", "QPD": "Query Parameter Definition", "RCP": "Response Control Parameter",
    "RF1": "Referral Information", "RGS": "Resource Group", "ROL": "Role", "RXA": "Pharmacy/Treatment Administration",
    "RXD": "Pharmacy/Treatment Dispense", "RXE": "Pharmacy/Treatment Encoded Order",
    "RXO": "Pharmacy/Treatment Order", "RXR": "Pharmacy/Treatment Route", "SCH": "Scheduling Activity Information",
    "SFT": "Software Segment", "SPM": "Specimen", "STF": "Staff Identification", "TQ1": "Timing/Quantity",
    "TXA": "Transcription Document Header", "UAC": "User Authentication Credential", "UB2": "UB92 Data",
}  # fmt: skip


class Part(NamedTuple):
    """One field, component or subcomponent."""

    number: int
    name: str
    datatype: str
    table: str  # "0001", or empty


class Description(NamedTuple):
    """What a path names in one version; `repeats` 0 means without limit."""

    path: str
    version: str
    name: str
    datatype: str
    table: str
    required: bool
    repeats: int
    within: tuple[str, ...]  # the names of what it is part of: segment, field, component
    parts: tuple[Part, ...]  # what it is made of


def versions() -> list[str]:
    """The versions that the tables know, oldest first."""
    from hl7apy import SUPPORTED_LIBRARIES

    return sorted(SUPPORTED_LIBRARIES, key=_numbers)


def nearest(version: str) -> str:
    """The version whose tables describe `version`: itself, or the last one not newer than it."""
    known = versions()
    if version in known:
        return version
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        return DEFAULT
    older = [v for v in known if _numbers(v) <= _numbers(version)]
    return older[-1] if older and _numbers(version) < (3,) else DEFAULT


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@lru_cache(maxsize=16)
def _library(version: str) -> Any:
    from hl7apy import load_library

    return load_library(version)


def _title(name: str | None) -> str:
    words = (name or "").replace("_", " ").title()
    return " ".join(word.upper() if word in _KEPT_UPPER else word for word in words.split())


def _part(number: int, reference: Any) -> Part:
    return Part(number, _title(reference[3]), reference[2] or "", (reference[4] or "").removeprefix("HL7"))


def fields(segment: str, version: str = DEFAULT) -> dict[int, Part]:
    """The fields of a segment by number; empty when the version has no such segment."""
    return {number: _part(number, ref) for number, (ref, _) in _fields(segment, nearest(version)).items()}


@lru_cache(maxsize=512)
def _fields(segment: str, version: str) -> dict[int, tuple[Any, tuple[int, int]]]:
    found = _library(version).SEGMENTS.get(segment)
    return {int(c[0].rpartition("_")[2]): (c[1], c[2]) for c in found[1]} if found else {}


def _components(reference: Any) -> dict[int, tuple[Any, tuple[int, int]]]:
    children = reference[1] if reference[0] == "sequence" else ()
    return {int(c[0].rpartition("_")[2]): (c[1], c[2]) for c in children or ()}


def describe(path: str, version: str = DEFAULT) -> Description:
    """What `path` names: `PID-3.4` or `PID` alone. Raises PathError when that version has no such place."""
    version = nearest(version)
    if re.fullmatch(r"[A-Z][A-Z0-9]{2}", path):
        known = fields(path, version)
        if not known:
            raise _unknown_segment(path, path, version)
        return Description(path, version, segment_name(path), "", "", False, 0, (), tuple(known.values()))
    compiled = paths.compile(path)
    segment = compiled.segment
    level = _fields(segment, version)
    if not level:
        raise _unknown_segment(path, segment, version)
    names = [segment_name(segment)]
    reference: Any = None
    cardinality = (0, 1)
    place = segment
    for number in (compiled.field, compiled.component, compiled.sub):
        if not number:
            break
        if reference is not None:
            names.append(_title(reference[3]))
            level = _components(reference)
            if not level and number == 1:
                continue  # PID-8.1 of a field without components is PID-8
        if number not in level:
            raise _no_place(path, segment, place, number, level, version)
        reference, cardinality = level[number]
        place += f"-{number}" if place == segment else f".{number}"
    parts = tuple(_part(n, ref) for n, (ref, _) in sorted(_components(reference).items()))
    part = _part(0, reference)
    return Description(
        path,
        version,
        part.name,
        part.datatype,
        part.table,
        cardinality[0] > 0,
        max(cardinality[1], 0),
        tuple(names),
        parts,
    )


@lru_cache(maxsize=4096)
def label(path: str, version: str = DEFAULT) -> str:
    """What people call a place, "" when it has no name: `Administrative Sex`, `Patient Name / Family Name`."""
    try:
        found = describe(re.sub(r"\[[^]]*\]", "", path), version)
    except PathError:
        return ""
    return " / ".join(dict.fromkeys((*found.within[1:], found.name)))


def exists(path: str, version: str = DEFAULT) -> bool:
    """Whether the version has this place. Z segments are anybody's: always."""
    if path.startswith("Z"):
        return True
    try:
        describe(path, version)
    except PathError:
        return False
    return True


def segment_name(segment: str) -> str:
    """`Patient Identification` for `PID`; the code itself when it has no name here."""
    return SEGMENTS.get(segment, segment)


def messages(version: str = DEFAULT) -> list[str]:
    """The message structures of a version: `ADT_A01` ..."""
    return sorted(_library(nearest(version)).MESSAGES)


def segments_of(structure: str, version: str = DEFAULT) -> list[str]:
    """The segments that a message structure may hold, groups opened, each once, in order."""
    found: list[str] = []

    def walk(reference: Any) -> None:
        for name, child, _, kind in reference[1]:
            if kind == "GRP":
                walk(child)
            elif name not in found:
                found.append(name)

    reference = _library(nearest(version)).MESSAGES.get(structure)
    if reference:
        walk(reference)
    return found


def table(number: str, version: str = DEFAULT) -> tuple[str, tuple[str, ...]]:
    """Name and codes of an HL7 table (`0001`); two empties when it is not known."""
    library = _library(nearest(version))  # 2.1 to 2.3 have no tables there: 2.3.1 has theirs
    tables = library.TABLES if hasattr(library, "TABLES") else _library("2.3.1").TABLES
    found = tables.get(f"HL7{number.removeprefix('HL7').zfill(4)}")
    return (found[0], tuple(dict.fromkeys(found[1]))) if found else ("", ())


def position(path: str, segment: str, names: list[str]) -> list[int]:
    """The numbers behind names of the tables: `["patient_name", "family_name"]` in PID is [5, 1].

    Newer versions renamed fields; every version's names are understood. Raises PathError.
    """
    tried: set[str] = set()
    missing = names[0]
    for version in _SEARCHED:
        level = _fields(segment, version)
        numbers: list[int] = []
        for name in names:
            number = int(name) if name.isdigit() else _number(name, level)
            if number not in level:
                tried.update((ref[3] or "").lower() for ref, _ in level.values())
                missing = name
                break
            numbers.append(number)
            level = _components(level[number][0])
        else:
            return numbers
    if not tried:
        raise _unknown_segment(path, segment, "any version")
    close = difflib.get_close_matches(missing.lower(), sorted(tried), 1, 0.5)
    todo = f"did you mean {close[0]}?" if close else f"`explain {segment}` lists the names"
    raise PathError(path, path.find(missing) + 1, f"nothing in {segment} is called {missing!r}", todo)


def _number(name: str, level: dict[int, tuple[Any, tuple[int, int]]]) -> int:
    wanted = name.upper()
    return next((number for number, (ref, _) in level.items() if ref[3] == wanted), -1)


def _unknown_segment(path: str, segment: str, version: str) -> PathError:
    if segment.startswith("Z"):
        return PathError(path, 1, f"{segment} is a local segment", "its sender says what its fields mean")
    known = sorted(_library(nearest(version)).SEGMENTS)
    close = difflib.get_close_matches(segment, known, 3, 0.5)
    todo = (
        f"did you mean {' or '.join(close)}?" if close else "segment names have three characters, such as PID"
    )
    return PathError(path, 1, f"HL7 {version} has no segment {segment}", todo)


def _no_place(
    path: str, segment: str, place: str, number: int, level: dict[int, Any], version: str
) -> PathError:
    what = "field" if place == segment else "component"
    if not level:
        return PathError(path, len(place) + 1, f"{place} has no components in HL7 {version}", f"use {place}")
    column = path.rfind(str(number)) + 1
    todo = f"its last is {max(level)}"
    if what == "field":
        having = [v for v in versions() if number in _fields(segment, v)]
        if having:
            todo = f"HL7 {having[0]} to {having[-1]} have it"
    return PathError(path, column, f"{place} has no {what} {number} in HL7 {version}", todo)
