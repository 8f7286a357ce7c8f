"""Putting text into one segment at a path, and nothing else: what er7.Message writes with.

Guarantees: fields, repetitions and components that are missing are made; all others stay as they are.
Refuses (HL7Error): to change the separators of a header, and a repetition or component in a message whose
MSH-2 names no separator for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.errors import HL7Error
from engine.hl7.delimiters import NEVER
from engine.hl7.escapes import escape
from engine.hl7.paths import Path
from engine.hl7.segment import HEADERS, NULL, Segment
from engine.model import ABSENT, CLEAR

SEPARATORS = "the separators of a message cannot be set"


def write(segment: Segment, path: Path, value: str) -> None:
    """Write a value: escaped; CLEAR as `""`, ABSENT and empty text as nothing."""
    write_encoded(segment, path, _escaped(segment, value))


def change(segment: Segment, path: Path, new: Callable[[str], str]) -> bool:
    """Write `new(value)` in the place of every value that `path` names, the last one first; True when any differs."""

    def made(text: str) -> str | None:
        value = segment.part(text, path.component, path.sub)
        if value is ABSENT:
            return None
        wanted = new(value)
        if wanted is value or (wanted == value and value is not CLEAR):
            return None
        return _replaced(segment, text, path, _fitting(segment, path, _escaped(segment, wanted)))

    return _each(segment, path, made)


def fill(segment: Segment, path: Path, value: str, beside: Sequence[Path]) -> bool:
    """Write `value` at `path` in every repetition that has nothing there, and something at one of the places `beside`
    in it; True when there is any."""

    def made(text: str) -> str | None:
        if segment.part(text, path.component, path.sub) is not ABSENT:
            return None
        if not any(segment.part(text, other.component, other.sub) for other in beside):
            return None
        return _replaced(segment, text, path, _fitting(segment, path, _escaped(segment, value)))

    return _each(segment, path, made)


def _each(segment: Segment, path: Path, made: Callable[[str], str | None]) -> bool:
    """Put what `made` gives, if anything, in the place of every repetition that `path` names, the last one first.

    The field is taken apart and put together once, however many repetitions it has.
    """
    fields, texts = segment.fields, segment.texts(path.field)
    named = set(segment.named(path)) if path.where is not None else None
    changed = False
    repetitions = list(texts)
    for place in reversed(range(len(texts))):
        if path.repetition not in (0, place + 1) or (named is not None and texts[place] not in named):
            continue
        text = made(texts[place])
        if text is not None:
            repetitions[place] = text
            changed = True
    if not changed:
        return False
    if path.field <= 2 and fields[0] in HEADERS:
        raise HL7Error(SEPARATORS, code="hl7.set", where=path.text)
    fields[path.field] = _join(segment.wording.delimiters.repetition, repetitions, path)
    segment.changed = segment.wording.changed = True
    return True


def _escaped(segment: Segment, value: str) -> str:
    wording = segment.wording
    if value is CLEAR:
        return NULL
    if value == NULL:  # a value of two quotes must not be read as CLEAR
        return f"{wording.delimiters.escape}X{NULL.encode(wording.codec).hex()}{wording.delimiters.escape}"
    return escape(str(value), wording.delimiters)


def write_encoded(segment: Segment, path: Path, text: str) -> None:
    """Write `text`, delimiters and escapes as they are; it must fit the message's character set."""
    if put(segment, path, _fitting(segment, path, text)):
        segment.wording.changed = True


def _fitting(segment: Segment, path: Path, text: str) -> str:
    wording = segment.wording
    try:
        text.encode(wording.codec)
    except UnicodeEncodeError:
        raise HL7Error(
            f"the text has characters that the message's character set ({wording.codec}) does not have",
            code="hl7.charset.encode",
            where=path.text,
            todo="set the channel's charset, or replace these characters first",
        ) from None
    return text


def put(segment: Segment, path: Path, text: str) -> bool:
    """Write `text`, delimiters and escapes as they are, at `path`; True when that changed anything.

    Without a repetition in the path the first one is written, as the first one is read; emptying or clearing
    (`` or `""`) a whole field empties all of its repetitions.
    """
    fields = segment.fields
    if path.field <= 2 and fields[0] in HEADERS:
        raise HL7Error(SEPARATORS, code="hl7.set", where=path.text)
    old = fields[path.field] if path.field < len(fields) else ""
    partial = bool(path.component or path.repetition or path.where)
    if not partial and text in ("", NULL):
        new = text
    elif not text and (old == NULL or not any(_there(segment, path))):
        return False  # nothing is there to be emptied
    else:
        separator = segment.wording.delimiters.repetition
        repetitions = [] if old in ("", NULL) else old.split(separator)
        place = _place(segment, repetitions, path)
        repetitions[place] = _replaced(segment, repetitions[place], path, text)
        new = _join(separator, repetitions, path)
    if new == old:
        return False
    _grow(fields, path.field + 1)
    fields[path.field] = new
    segment.changed = True
    return True


def _there(segment: Segment, path: Path) -> list[str]:
    return [segment.cut(text, path.component, path.sub) for text in segment.named(path)[:1]]


def _place(segment: Segment, repetitions: list[str], path: Path) -> int:
    if path.where is None:
        _grow(repetitions, path.repetition or 1)
        return (path.repetition or 1) - 1
    component, sub, wanted = path.where
    for place, text in enumerate(repetitions):
        if segment.part(text, component, sub) == wanted:
            return place
    chosen = Path(path.text, "", 0, path.field, 0, None, component, sub)
    repetitions.append(_replaced(segment, "", chosen, escape(wanted, segment.wording.delimiters)))
    return len(repetitions) - 1


def _replaced(segment: Segment, text: str, path: Path, value: str) -> str:
    """One repetition with the path's component set to `value`."""
    if not path.component:
        return value
    delimiters = segment.wording.delimiters
    components = [""] if text == NULL else text.split(delimiters.component)
    _grow(components, path.component)
    if path.sub:
        whole = components[path.component - 1]
        subs = [""] if whole == NULL else whole.split(delimiters.subcomponent)
        _grow(subs, path.sub)
        subs[path.sub - 1] = value
        value = _join(delimiters.subcomponent, subs, path)
    components[path.component - 1] = value
    return _join(delimiters.component, components, path)


def _join(separator: str, parts: list[str], path: Path) -> str:
    if separator == NEVER and len(parts) > 1:
        raise HL7Error("MSH-2 of this message names no separator for this", code="hl7.set", where=path.text)
    return separator.join(parts)


def _grow(parts: list[str], length: int) -> None:
    while len(parts) < length:
        parts.append("")
