"""An HL7 message as a tree: segments, fields, repetitions, components and subcomponents, by their names.

Guarantees: each part has the path that channels read it by (`OBX[2]-5`, `PID-3[2].4.1`); a view has `PARTS` parts at
most, says what it leaves out, and where it goes on; without `reveal` it holds no value but those of headers.
Refuses nothing: what is no HL7 message has no tree.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from console.masking import DOT, OPEN_SEGMENTS, masked_line
from engine.errors import HL7Error
from engine.hl7 import names
from engine.hl7.er7 import Message
from engine.hl7.segment import HEADERS, Segment

PARTS = 2_000  # in one view: a segment that has begun is shown to its end, as far as there are parts left
LONGEST = 1_000  # characters of a value; the text beside has the rest


class Node(msgspec.Struct):
    """One part. `at`: its segment, field, repetition, component and subcomponent, counted from 1. `left`: so many parts
    more are in it, which the view has no room for."""

    path: str
    name: str
    value: str
    at: tuple[int, ...]
    children: list[Node] = []
    left: int = 0


class Tree(msgspec.Struct):
    """Part of a message: from segment `first` of `segments` on; `next` is where the following view begins.

    `lines` are its segments as text, `marks` what separates fields, repetitions, components and subcomponents.
    """

    nodes: list[Node] = []
    lines: list[str] = []
    marks: str = ""
    first: int = 1
    next: int | None = None
    segments: int = 0


class _Writer:
    def __init__(self, version: str, reveal: bool) -> None:
        self.version = version
        self.reveal = reveal
        self.room = PARTS

    def node(self, segment: Segment, label: str, place: str, at: tuple[int, ...], text: str) -> Node:
        """A part without what is in it. `place` is its path without numbers of segments and repetitions."""
        self.room -= 1
        shown = segment.part(text, 0, 0) if self.reveal or segment.name in OPEN_SEGMENTS else DOT
        if len(shown) > LONGEST:
            shown = f"{shown[:LONGEST]}… ({len(shown):,} characters)"
        return Node(label, _named(place, self.version), shown, at)

    def segment(self, segment: Segment, number: int, occurrence: int) -> Node:
        name = segment.name
        label = name if occurrence == 1 else f"{name}[{occurrence}]"
        self.room -= 1
        made = Node(label, _named(name, self.version), "", (number,))
        for field, text in enumerate(segment.fields[1:], 1):
            if not text:
                continue
            if self.room <= 0:
                made.left += 1
                continue
            made.children.append(
                self.field(segment, f"{label}-{field}", f"{name}-{field}", (number, field), text)
            )
        return made

    def field(self, segment: Segment, label: str, place: str, at: tuple[int, ...], text: str) -> Node:
        made = self.node(segment, label, place, at, text)
        texts = segment.texts(at[1])
        if at[1] <= 2 and segment.name in HEADERS:
            return made
        if len(texts) == 1:
            self.within(segment, made, label, place, (*at, 1), texts[0])
            return made
        for repetition, one in enumerate(texts, 1):
            if self.room <= 0:
                made.left = len(texts) - repetition + 1
                break
            if one:
                numbered, where = f"{label}[{repetition}]", (*at, repetition)
                child = self.node(segment, numbered, place, where, one)
                self.within(segment, child, numbered, place, where, one)
                made.children.append(child)
        return made

    def within(
        self, segment: Segment, made: Node, label: str, place: str, at: tuple[int, ...], text: str
    ) -> None:
        """The components of a repetition, or the subcomponents of a component."""
        delimiters = segment.wording.delimiters
        separator = delimiters.component if len(at) == 3 else delimiters.subcomponent
        if not separator or separator not in text:
            if len(at) == 3 and delimiters.subcomponent and delimiters.subcomponent in text:
                self.within(segment, made, f"{label}.1", f"{place}.1", (*at, 1), text)
            return
        parts = text.split(separator)
        for number, one in enumerate(parts, 1):
            if self.room <= 0:
                made.left = len(parts) - number + 1
                break
            if one:
                where = (*at, number)
                child = self.node(segment, f"{label}.{number}", f"{place}.{number}", where, one)
                if len(where) == 4:
                    self.within(segment, child, child.path, f"{place}.{number}", where, one)
                made.children.append(child)


def tree(raw: bytes | None, reveal: bool, first: int = 1) -> Tree:
    """The parts of an HL7 message from segment `first` on; an empty one for anything else."""
    if raw is None:
        return Tree()
    try:
        message = Message(raw)
    except HL7Error:
        return Tree()
    writer = _Writer(message["MSH-12.1"] or names.DEFAULT, reveal)
    found = Tree(first=first)
    counted: dict[str, int] = {}
    for number, segment in enumerate(message, 1):
        found.segments = number
        name = segment.name
        counted[name] = counted.get(name, 0) + 1
        if number < first:
            continue
        if writer.room <= 0:
            found.next = found.next or number
            continue
        delimiters = segment.wording.delimiters
        found.marks = (
            delimiters.field + delimiters.repetition + delimiters.component + (delimiters.subcomponent or "")
        )
        found.nodes.append(writer.segment(segment, number, counted[name]))
        found.lines.append(segment.text if reveal else masked_line(segment))
    return found


@lru_cache(8192)
def _named(path: str, version: str) -> str:
    try:
        if "-" not in path:
            return names.segment_name(path)
        return names.describe(path, version).name
    except Exception:  # places that no version has
        return ""
