"""The path language for HL7v2: `PID-5.1`, `PID-3[2].1`, `PID-3[5=MR].1`, `OBX[3]-5`, `PID-5.1.2`, `PID.5.1`.

Guarantees: one text, one compiled and cached `Path`; numbers count from 1 as HL7 counts them (MSH-1 is the
separator itself). Names of hl7apy's tables are numbers written longer: `PID.patient_name.family_name`.
Refuses, with the position inside the path and a suggestion: anything else.

    SEG[occurrence]-field[repetition].component.subcomponent       every [..] and .n after the field optional
    SEG-field[component.subcomponent=text]                         the first repetition that has this text
"""

from __future__ import annotations

import re

from engine.errors import ConfigError

_NUMBERS = re.compile(
    r"(?:([A-Z][A-Z0-9]{2})(?:\[(\d{1,4})\])?[-.])?(\d{1,3})"
    r"(?:\[(?:(\d{1,4})|(\d{1,3})(?:\.(\d{1,3}))?=(\"[^\"]*\"|'[^']*'|[^\]]*))\])?"
    r"(?:\.(\d{1,3})(?:\.(\d{1,3}))?)?"
)
_NAME = r"(\d+|[A-Za-z]\w*)"
_NAMED = re.compile(
    rf"([A-Z][A-Z0-9]{{2}})((?:\[\d+\])?)[-.]{_NAME}((?:\[[^\]]*\])?)(?:\.{_NAME})?(?:\.{_NAME})?", re.ASCII
)
_CACHED = 4096


class PathError(ConfigError):
    """A path that cannot be: `column` is the 1-based position inside it."""

    code = "hl7.path"

    def __init__(self, path: str, column: int, what: str, todo: str = "") -> None:
        super().__init__(what, where=f"path {path!r}, column {column}", todo=todo)
        self.path = path
        self.column = column


class Path:
    """A compiled path. 0 means: not given."""

    __slots__ = ("component", "field", "occurrence", "repetition", "segment", "sub", "text", "where")

    def __init__(
        self,
        text: str,
        segment: str,
        occurrence: int,
        field: int,
        repetition: int,
        where: tuple[int, int, str] | None,
        component: int,
        sub: int,
    ) -> None:
        self.text = text
        self.segment = segment
        self.occurrence = occurrence
        self.field = field
        self.repetition = repetition
        self.where = where  # (component, subcomponent, text): which repetition
        self.component = component
        self.sub = sub

    def __repr__(self) -> str:
        return f"Path({self.text!r})"


known: dict[str, Path] = {}
"""Absolute paths compiled before: what the hot path asks first."""
_relative: dict[str, Path] = {}


def compile(path: str) -> Path:
    """The compiled form of a path that begins with a segment name. Raises PathError."""
    found = known.get(path)
    if found is None:
        found = _parse(path)
        if not found.segment:
            raise PathError(path, 1, "a path begins with a segment name", f"did you mean PID-{path}?")
        _keep(known, path, found)
    return found


def relative(path: str | int) -> Path:
    """The compiled form of a path inside a segment: `3`, `3.1`, `3[2].1`. Raises PathError."""
    path = str(path)
    found = _relative.get(path)
    if found is None:
        found = _parse(path)
        if found.segment:
            raise PathError(path, 1, "the segment is given already", f"did you mean {path[4:]}?")
        _keep(_relative, path, found)
    return found


def _keep(cache: dict[str, Path], path: str, found: Path) -> None:
    if len(cache) >= _CACHED:  # paths made at run time must not fill the memory
        cache.clear()
    cache[path] = found


def _parse(path: str) -> Path:
    match = _NUMBERS.fullmatch(path)
    if match is None:
        return _diagnose(path)
    for group in (2, 3, 4, 5, 6, 8, 9):
        if match[group] and int(match[group]) == 0:
            raise PathError(path, match.start(group) + 1, "HL7 counts from 1", "write 1 for the first")
    segment, occurrence, field, repetition, by, by_sub, text, component, sub = match.groups(default="")
    if text[:1] in ("'", '"') and text[-1:] == text[:1] and len(text) > 1:
        text = text[1:-1]
    where = (int(by), int(by_sub or 0), text) if by else None
    return Path(
        path,
        segment,
        int(occurrence or 0),
        int(field),
        int(repetition or 0),
        where,
        int(component or 0),
        int(sub or 0),
    )


def _diagnose(path: str) -> Path:
    """A path that is not made of numbers: resolve its names, or say what is wrong with it."""
    named = _NAMED.fullmatch(path)
    if named and not all(part.isdigit() for part in named.group(3, 5, 6) if part):
        from engine.hl7.names import position

        numbers = position(path, named[1], [n for n in (named[3], named[5], named[6]) if n])
        rest = "".join(f".{n}" for n in numbers[1:])
        found = _parse(f"{named[1]}{named[2]}-{numbers[0]}{named[4]}{rest}")
        found.text = path
        return found
    raise _error(path)


def _error(path: str) -> PathError:
    if not path:
        return PathError(path, 1, "the path is empty", "write a path such as PID-5.1")
    upper = path[:3].upper() + path[3:]
    if upper != path and _NUMBERS.fullmatch(upper):
        return PathError(path, 1, "segment names are upper case", f"did you mean {upper}?")
    blank = re.search(r"\s", path)
    if blank and (path.strip() != path or blank.start() < len(path.partition("[")[0])):
        tight = "".join(path.split())
        todo = f"did you mean {tight}?" if _NUMBERS.fullmatch(tight) else "write a path such as PID-5.1"
        return PathError(path, blank.start() + 1, "a path has no blanks", todo)
    if re.fullmatch(r"[A-Z][A-Z0-9]{2}(\[\d+\])?", path):
        return PathError(path, len(path) + 1, "the field is missing", f"did you mean {path}-1?")
    dashes = re.fullmatch(r"([A-Z][A-Z0-9]{2}(?:\[\d+\])?)[-.](\d+(?:\[[^\]]*\])?)((?:[-.^]\d+){1,2})", path)
    if dashes:
        better = f"{dashes[1]}-{dashes[2]}{re.sub('[-^]', '.', dashes[3])}"
        return PathError(
            path, dashes.start(3) + 1, "components follow after a dot", f"did you mean {better}?"
        )
    column, good = 1, ""
    for end in range(len(path), 0, -1):
        if _NUMBERS.fullmatch(path[:end]):
            column, good = end + 1, path[:end]
            break
    todo = f"did you mean {good}?" if good else "write a path such as PID-5.1, PID-3[5=MR].1 or OBX[3]-5"
    return PathError(path, column, f"cannot read {path[column - 1 :]!r}", todo)
