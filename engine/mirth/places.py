"""Where a script of Mirth looks: `msg['PID']['PID.3'][1]['PID.3.1']` is `PID-3[2].1` here.

Mirth counts segments, repetitions and elements from 0 and names each level of HL7 in full; Isthmus counts as the
format does (docs/formats.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.mirth.syntax import Call, Literal, Member, Name, Node, Unreadable

_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_NAME = re.compile(r"[A-Za-z_][\w-]*")
_TEMPLATE_HINT = "build the message that goes out with `set` or `python`, or as text with `jinja`"


@dataclass(frozen=True)
class Place:
    """A path of the channel's format; `whole_field` when it names a field of HL7 without its component."""

    path: str
    whole_field: bool = False
    fixed: bool = False  # the separators of HL7, which cannot be set

    def __str__(self) -> str:
        return self.path


def place(node: Node, form: str = "hl7v2") -> Place | None:
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
    read = _FORMATS.get(form)
    if read is None:
        raise Unreadable(node.line, "a message of this data type has no fields here")
    if not keys:
        raise Unreadable(node.line, "the message as a whole", "a filter or step here names fields")
    return read(keys, node.line)


def _root(node: Node) -> str:
    while isinstance(node, (Member, Call)):
        node = node.of
    return node.name if isinstance(node, Name) else ""


def _hl7(keys: list[str | int], line: int) -> Place:
    """`["PID", "PID.3", 1, "PID.3.1"]`."""
    names = [key for key in keys if isinstance(key, str)]
    segment = names[0] if names else ""
    if not _SEGMENT.fullmatch(segment):
        raise Unreadable(line, f"`{segment}` is not the name of an HL7 segment")
    if len(names) == 1:
        raise Unreadable(line, f"the segment {segment} as a whole", f"name a field, such as {segment}-1")
    numbers: list[int] = []
    for depth, name in enumerate(names[1:], 1):
        wanted = re.fullmatch(re.escape(segment) + r"((?:\.\d{1,3}){" + str(depth) + r"})", name)
        if wanted is None or depth > 3:
            raise Unreadable(line, f"`{name}` is not a place in {segment}")
        numbers = [int(number) for number in wanted[1].strip(".").split(".")]
    occurrence, repetition = (f"[{n}]" if (n := _index(keys, level)) > 1 else "" for level in (0, 1))
    inside = "".join(f".{number}" for number in numbers[1:])
    fixed = segment == "MSH" and numbers[0] < 3
    return Place(f"{segment}{occurrence}-{numbers[0]}{repetition}{inside}", len(numbers) == 1, fixed)


def _index(keys: list[str | int], level: int) -> int:
    """The number after the name of a level, counted from 1; 0 when there is none."""
    seen = -1
    for key in keys:
        if isinstance(key, str):
            seen += 1
        elif seen == level:
            return key + 1
    return 0


def _json(keys: list[str | int], line: int) -> Place:
    """`["name", 0, "family"]` as `name[0].family`."""
    if isinstance(keys[0], str) and all(isinstance(key, int) or _NAME.fullmatch(key) for key in keys):
        dotted = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
        return Place(dotted.removeprefix("."))
    return Place("".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys))


def _xml(keys: list[str | int], line: int) -> Place:
    """`["row", 1, "name"]` as `row[2]/name`, from the root on, which `msg` is."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key + 1}]" if key and path else ""
        elif _NAME.fullmatch(key.removeprefix("@")):
            path += f"/{key}"
        else:
            raise Unreadable(line, f"`{key}` is not the name of an element")
    return Place(path.removeprefix("/"))


def _delimited(keys: list[str | int], line: int) -> Place:
    """`["row", "column2"]` as `2`; every row is a message of its own."""
    names = [key for key in keys if isinstance(key, str)]
    if len(names) != 2 or names[0] != "row" or _index(keys, 0) > 1:
        raise Unreadable(line, "a place that is not a column of the first row")
    return Place(re.sub(r"^column(\d+)$", r"\1", names[1]))


_FORMATS = {"hl7v2": _hl7, "json": _json, "xml": _xml, "delimited": _delimited}
