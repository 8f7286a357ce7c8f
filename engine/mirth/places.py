"""Where a script of Mirth looks: `msg['PID']['PID.3'][1]['PID.3.1']` is `PID-3[2].1` here.

Mirth counts segments and repetitions from 0 and names each level in full; Isthmus counts from 1 as HL7 does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.mirth.syntax import Call, Literal, Member, Name, Node, Unreadable

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_TEMPLATE_HINT = "build the message that goes out with `set` or `python`, or as text with `jinja`"


@dataclass(frozen=True)
class Place:
    """A place in an HL7 message; 0 means: not given."""

    segment: str
    occurrence: int
    field: int
    repetition: int
    component: int
    sub: int

    def __str__(self) -> str:
        occurrence = f"[{self.occurrence}]" if self.occurrence > 1 else ""
        repetition = f"[{self.repetition}]" if self.repetition > 1 else ""
        parts = "".join(f".{number}" for number in (self.component, self.sub) if number)
        return f"{self.segment}{occurrence}-{self.field}{repetition}{parts}"

    @property
    def whole_field(self) -> bool:
        """Whether no component is named: as a text, Mirth gives XML then."""
        return not self.component


def place(node: Node) -> Place | None:
    """The place that `msg[...]` names; None when `node` does not begin with `msg`. Raises Unreadable."""
    keys: list[str | int] = []
    found = node
    while isinstance(found, Member):
        if not isinstance(found.key, Literal) or not isinstance(found.key.value, (str, int)):
            if _root(found) in ("msg", "tmp"):
                raise Unreadable(node.line, "the place is computed", "write a `python` step")
            return None
        keys.append(found.key.value)
        found = found.of
    if not isinstance(found, Name) or found.name not in ("msg", "tmp"):
        return None
    if found.name == "tmp":
        raise Unreadable(node.line, "`tmp`, the message of the outbound template", _TEMPLATE_HINT)
    keys.reverse()
    return _read(keys, node.line)


def _root(node: Node) -> str:
    while isinstance(node, (Member, Call)):
        node = node.of
    return node.name if isinstance(node, Name) else ""


def _read(keys: list[str | int], line: int) -> Place:
    """`["PID", "PID.3", 1, "PID.3.1"]` as a place."""
    names = [key for key in keys if isinstance(key, str)]
    if not names:
        raise Unreadable(line, "the message as a whole", "a filter or step here names fields")
    segment = names[0]
    if not _SEGMENT.fullmatch(segment):
        raise Unreadable(line, f"`{segment}` is not the name of an HL7 segment")
    if len(names) == 1:
        raise Unreadable(line, f"the segment {segment} as a whole", f"name a field, such as {segment}-1")
    numbers = []
    for depth, name in enumerate(names[1:], 1):
        wanted = re.fullmatch(re.escape(segment) + r"((?:\.\d{1,3}){" + str(depth) + r"})", name)
        if wanted is None or depth > 3:
            raise Unreadable(line, f"`{name}` is not a place in {segment}")
        numbers = [int(number) for number in wanted[1].strip(".").split(".")]
    numbers += [0] * (3 - len(numbers))
    return Place(segment, _index(keys, 0), numbers[0], _index(keys, 1), numbers[1], numbers[2])


def _index(keys: list[str | int], level: int) -> int:
    """The number after the name of a level, counted from 1; 0 when there is none."""
    seen = -1
    for key in keys:
        if isinstance(key, str):
            seen += 1
        elif seen == level:
            return key + 1
    return 0
