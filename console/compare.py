"""Two messages side by side: segments in line with each other, and the fields that differ, by their names.

Guarantees: every difference of values is told once, at its path and by the name of its message's version; absent,
`""` and a value stay three things; a segment that moved is removed here and added there. Without `reveal` no value of
the message is told, only that it differs. What is not HL7 is compared by its places (JSON) or by its lines.
Refuses nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

import msgspec
import orjson

from console.masking import DOT, OPEN_SEGMENTS
from engine.errors import HL7Error
from engine.hl7 import leaves, names
from engine.hl7.er7 import Message, Segment
from engine.hl7.segment import HEADERS, NAME

LONGEST = 3000  # lines or segments that are put in line by what they say; more are paired in their order
MOST = 2000  # differences that are told


class Difference(msgspec.Struct):
    """One place. `kind`: changed, added, removed; an absent value is None, a cleared one two quotes."""

    path: str
    name: str
    kind: str
    old: str | None
    new: str | None


class Part(msgspec.Struct):
    """A segment of both messages, or of one. `kind`: same, changed, added, removed."""

    path: str
    name: str
    kind: str
    differences: list[Difference] = []


class Comparison(msgspec.Struct):
    """Two messages. `same`: nothing differs; `cut`: there were more differences than are told."""

    same: bool
    revealed: bool
    cut: bool
    parts: list[Part]


def compare(old: bytes, new: bytes, reveal: bool) -> Comparison:
    """What differs from one to the other."""
    try:
        parts = _messages(Message(old), Message(new), reveal)
    except HL7Error:
        parts = _others(old, new, reveal)
    left, cut = MOST, False
    for part in parts:
        cut = cut or len(part.differences) > left
        del part.differences[left:]
        left -= len(part.differences)
    return Comparison(old == new, reveal, cut, parts)


def _messages(old: Message, new: Message, reveal: bool) -> list[Part]:
    parts = []
    labels = (_labels(old), _labels(new))
    versions = [message["MSH-12.1"] or names.DEFAULT for message in (old, new)]
    before, after = old.segments(), new.segments()
    for a, b in _in_line([one.text for one in before], [one.text for one in after], _name):
        first = before[a] if a is not None else None
        second = after[b] if b is not None else None
        here, side = (second, 1) if second is not None else (first, 0)
        assert here is not None
        label = labels[side][here.index]
        part = Part(label, names.segment_name(here.name) if NAME.match(here.name) else "", "same")
        if first is None or second is None:
            part.kind = "added" if first is None else "removed"
        elif first.text != second.text or old.delimiters != new.delimiters:
            part.kind = "changed"
        if part.kind != "same":
            open_ = reveal or here.name in OPEN_SEGMENTS
            part.differences = list(_fields(first, second, label, versions[side], open_))
            if part.kind == "changed" and not part.differences:
                part.kind = "same"
        parts.append(part)
    return parts


def _name(text: str) -> str:
    return text[:3]


def _labels(message: Message) -> list[str]:
    """`OBX[2]` for each segment, `PID` for the only one of its name; a line that is no segment by its number."""
    segments = message.segments()
    total = Counter(one.name for one in segments)
    seen: Counter[str] = Counter()
    found = []
    for one in segments:
        seen[one.name] += 1
        label = f"{one.name}[{seen[one.name]}]" if total[one.name] > 1 else one.name
        found.append(label if NAME.match(one.name) else f"line {one.index + 1}")
    return found


def _in_line(
    old: Sequence[str], new: Sequence[str], key: Any = None
) -> Iterator[tuple[int | None, int | None]]:
    """Places of both in their order: what is equal, then what is alike by `key`, then what is in one alone."""
    if max(len(old), len(new)) > LONGEST:
        for a, b in zip_longest(range(len(old)), range(len(new))):
            yield a, b
        return
    for kind, a, a_end, b, b_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            yield from zip(range(a, a_end), range(b, b_end), strict=True)
        elif key is None:
            yield from zip_longest(range(a, a_end), range(b, b_end))
        else:
            some = [key(text) for text in old[a:a_end]], [key(text) for text in new[b:b_end]]
            inner = SequenceMatcher(None, *some, autojunk=False).get_opcodes()
            for alike, i, i_end, j, j_end in inner:
                if alike == "equal":
                    yield from zip(range(a + i, a + i_end), range(b + j, b + j_end), strict=True)
                    continue
                yield from ((at, None) for at in range(a + i, a + i_end))
                yield from ((None, at) for at in range(b + j, b + j_end))


def _fields(
    old: Segment | None, new: Segment | None, label: str, version: str, open_: bool
) -> Iterator[Difference]:
    before, after = (dict(_values(segment, label)) for segment in (old, new))
    for path in [*before, *(path for path in after if path not in before)]:
        a, b = before.get(path), after.get(path)
        if a != b:
            yield _difference(path, names.label(path, version), a, b, open_)


def _values(segment: Segment | None, label: str) -> Iterator[tuple[str, str]]:
    if segment is None:
        return
    if not NAME.match(segment.name):
        yield label, segment.text
        return
    for number in range(3 if segment.name in HEADERS else 1, len(segment.fields)):
        for path, value in leaves.field(segment, f"{label}-{number}", number):
            yield path, str(value) or '""'


def _difference(path: str, name: str, old: str | None, new: str | None, open_: bool) -> Difference:
    kind = "added" if old is None else "removed" if new is None else "changed"
    shown = [value if open_ or value in (None, '""') else DOT for value in (old, new)]
    return Difference(path, name, kind, *shown)


def _others(old: bytes, new: bytes, reveal: bool) -> list[Part]:
    """JSON place by place, anything else line by line; one part."""
    try:
        before, after = dict(_places(orjson.loads(old))), dict(_places(orjson.loads(new)))
        found = [
            _difference(path, "", before.get(path), after.get(path), reveal)
            for path in [*before, *(path for path in after if path not in before)]
            if before.get(path) != after.get(path)
        ]
    except orjson.JSONDecodeError:
        lines = [data.decode("utf-8", "replace").splitlines() for data in (old, new)]
        found = []
        for a, b in _in_line(*lines):
            first = lines[0][a] if a is not None else None
            second = lines[1][b] if b is not None else None
            if first != second:
                at = b if b is not None else a
                assert at is not None
                found.append(_difference(f"line {at + 1}", "", first, second, reveal))
    return [Part("", "", "changed" if found else "same", found)]


def _places(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _places(item, f"{path}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list) and value:
        for number, item in enumerate(value):
            yield from _places(item, f"{path}/{number}")
    else:
        yield path, value if isinstance(value, str) and value else orjson.dumps(value).decode()
