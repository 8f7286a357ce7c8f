"""The FHIRPath expressions that mappings are made of, compiled to plain Python: 1 µs instead of 8 to 260.

    name[0].family     Patient.name.where(use='official').given.first()     identifier.where(system='urn:mrn').value
    extension('url').value     value.ofType(Quantity).value     subject.reference

Guarantees: what it reads is what FHIRPath reads (collections flatten, indexes count from 0, `value` finds
`valueString`). Refuses nothing: what it does not know gives None, and the whole of FHIRPath takes over.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, NamedTuple

# fmt: off
_CHOICE = frozenset({
    "Address", "Age", "Annotation", "Attachment", "Base64Binary", "Boolean", "Canonical", "Code",
    "CodeableConcept", "CodeableReference", "Coding", "ContactPoint", "Count", "Date", "DateTime",
    "Decimal", "Distance", "Duration", "Expression", "HumanName", "Id", "Identifier", "Instant",
    "Integer", "Integer64", "Markdown", "Money", "Oid", "Period", "PositiveInt", "Quantity",
    "Range", "Ratio", "Reference", "SampledData", "Signature", "String", "Time", "Timing",
    "UnsignedInt", "Uri", "Url", "Uuid",
})
# fmt: on
_NAME = r"[A-Za-z_]\w*"
_TEXT = r"'(?:[^'\\]|\\['\\/])*'"
_PART = re.compile(
    rf"(?:where\(\s*({_NAME}(?:\.{_NAME})*)\s*=\s*({_TEXT})\s*\)|(first|last)\(\)|ofType\(\s*({_NAME})\s*\)"
    rf"|extension\(\s*({_TEXT})\s*\)|({_NAME})(?!\w*\())((?:\[\d{{1,5}}\])?)(?:\.|$)"
)


class Where(NamedTuple):
    """Those items whose value at `path` is `text`."""

    path: tuple[str, ...]
    text: str


class Pick(NamedTuple):
    """One item of a collection, from 0; -1 is the last."""

    at: int


class OfType(NamedTuple):
    """Choose one type of the element that came before: `value.ofType(Quantity)`."""

    name: str


Path = tuple[Any, ...]


def compile(path: str) -> Path | None:
    """The steps of an expression, or None when it is more than this reader knows."""
    steps: list[Any] = []
    at = 0
    while at < len(path):
        found = _PART.match(path, at)
        if found is None:
            return None
        by, text, edge, kind, extension, name, index = found.groups()
        if by:
            steps.append(Where(tuple(by.split(".")), _unquote(text)))
        elif edge:
            steps.append(Pick(0 if edge == "first" else -1))
        elif kind:
            steps.append(OfType(kind))
        elif extension:
            steps += ["extension", Where(("url",), _unquote(extension))]
        else:
            steps.append(name)
        if index:
            steps.append(Pick(int(index[1:-1])))
        at = found.end()
        if at == len(path) and path[-1] == ".":
            return None
    if (
        not steps
        or isinstance(steps[0], OfType)
        or any(isinstance(one, OfType) and not isinstance(before, str) for before, one in pairwise(steps))
    ):
        return None
    return _choices(steps)


def _choices(steps: list[Any]) -> Path:
    """`value.ofType(Quantity)` as one name."""
    made: list[Any] = []
    for one in steps:
        if isinstance(one, OfType):
            made[-1] = f"{made[-1]}{one.name[:1].upper()}{one.name[1:]}"
        else:
            made.append(one)
    return tuple(made)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def read(resource: Any, path: Path) -> list[Any]:
    """The collection that the steps give."""
    nodes: list[Any] = [resource]
    for number, one in enumerate(path):
        if isinstance(one, str):
            if not number and one[:1].isupper():  # the resource's own type
                if resource.get("resourceType") not in (one,) and one not in ("Resource", "DomainResource"):
                    return []
                continue
            nodes = _children(nodes, one)
        elif isinstance(one, Pick):
            nodes = nodes[one.at : one.at + 1 or None]
        else:
            nodes = [node for node in nodes if one.text in _inside(node, one.path)]
        if not nodes:
            return nodes
    return nodes


def places(resource: Any, path: Path) -> list[str]:
    """A plain path, with indexes, for every item that the steps give."""
    nodes: list[tuple[str, Any]] = [("", resource)]
    for number, one in enumerate(path):
        if isinstance(one, str):
            if not number and one[:1].isupper():
                if not read(resource, (one,)):
                    return []
                continue
            nodes = [item for way, node in nodes if isinstance(node, dict) for item in _named(way, node, one)]
        elif isinstance(one, Pick):
            nodes = nodes[one.at : one.at + 1 or None]
        else:
            nodes = [item for item in nodes if one.text in _inside(item[1], one.path)]
    return [way for way, _ in nodes]


def _named(way: str, node: dict[str, Any], name: str) -> list[tuple[str, Any]]:
    """The items of one element, each with its path; `value` is found as `valueString`."""
    key = (
        name
        if node.get(name) is not None
        else next((key for key in node if key.startswith(name) and key[len(name) :] in _CHOICE), name)
    )
    child = node.get(key)
    here = f"{way}.{key}" if way else key
    if isinstance(child, list):
        return [(f"{here}[{n}]", item) for n, item in enumerate(child) if item is not None]
    return [] if child is None else [(here, child)]


def _inside(node: Any, path: tuple[str, ...]) -> list[Any]:
    nodes = [node]
    for name in path:
        nodes = _children(nodes, name)
    return nodes


def _children(nodes: list[Any], name: str) -> list[Any]:
    found: list[Any] = []
    for node in nodes:
        if not isinstance(node, dict):
            continue
        child = node.get(name)
        if child is None:
            child = _choice(node, name)
        if isinstance(child, list):
            found += [item for item in child if item is not None]
        elif child is not None:
            found.append(child)
    return found


def _choice(node: dict[str, Any], name: str) -> Any:
    """`value` where there is `valueQuantity`."""
    for key, value in node.items():
        if key.startswith(name) and key[len(name) :] in _CHOICE:
            return value
    return None


def put(resource: dict[str, Any], path: Path, new: Any) -> bool:
    """Set the value at `path`, making what is missing; None removes it. False when the path cannot be set."""
    node: Any = resource
    steps = list(path)
    if isinstance(steps[0], str) and steps[0][:1].isupper():
        steps.pop(0)
    if not steps or not isinstance(steps[0], str):
        return False
    for number, one in enumerate(steps):
        last = number == len(steps) - 1
        if isinstance(one, str):
            if isinstance(node, list):  # without an index: the first item
                node = _item(node, Pick(0))
            if not isinstance(node, dict):
                return False
            if last:
                _assign(node, one, new)
                return True
            after = steps[number + 1]
            if node.get(one) is None:
                if new is None:
                    return True
                node[one] = {} if isinstance(after, str) and one not in _LISTS else []
            node = node[one]
        else:
            if not isinstance(node, list):
                node = [node] if isinstance(one, Pick) and one.at == 0 else None
            if node is None:
                return False
            if last and isinstance(one, Pick):
                return _assign_item(node, one, new)
            node = _item(node, one)
            if node is None:
                return False
    return False


def _assign(node: dict[str, Any], name: str, new: Any) -> None:
    if new is None:
        node.pop(name, None)
    elif isinstance(node.get(name), list) and not isinstance(new, list):
        node[name][:1] = [new]
    else:
        node[name] = [new] if name in _LISTS and not isinstance(new, list) else new


def _assign_item(items: list[Any], pick: Pick, new: Any) -> bool:
    index = pick.at if pick.at >= 0 else max(len(items) - 1, 0)
    if index > len(items):
        return False
    items[index : index + 1] = [] if new is None else [new]
    return True


def _item(items: list[Any], one: Any) -> Any:
    """The item that a step names, appended when it is the next one."""
    if isinstance(one, Where):
        for item in items:
            if one.text in _inside(item, one.path):
                return item
        made: dict[str, Any] = {}
        inner = made
        for name in one.path[:-1]:
            inner[name] = [{}] if name in _LISTS else {}
            inner = inner[name][0] if name in _LISTS else inner[name]
        inner[one.path[-1]] = one.text
        items.append(made)
        return made
    index = one.at if one.at >= 0 else max(len(items) - 1, 0)
    if index == len(items):
        items.append({})
    return items[index] if index < len(items) else None


# fmt: off
_LISTS = frozenset({
    "identifier", "given", "prefix", "suffix", "telecom", "line", "coding", "category", "extension",
    "modifierExtension", "contact", "communication", "link", "generalPractitioner", "participant",
    "reasonCode", "note", "performer", "component", "entry", "name", "address", "location",
})
# fmt: on
"""Elements that repeat wherever they are, so that a path without an index makes a list of them. (`name` and
`address` are single on some resources; what is there already keeps its shape.)"""
