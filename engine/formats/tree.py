"""Reading and changing plain data (what JSON gives) by a list of steps: a name, an index from 0, or every item."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import orjson

from engine.formats.base import MAX_DEPTH, bad
from engine.model import ABSENT, CLEAR

EVERY: Any = object()
MISSING: Any = object()


def load(raw: bytes, what: str = "JSON") -> Any:
    """The document. Refuses what is not UTF-8 JSON, and nesting above MAX_DEPTH."""
    try:
        data = orjson.loads(raw.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise bad(f"the message is not {what} ({place})", f"send {what} in UTF-8") from None
    if _deep(data):
        raise bad(f"the message is nested deeper than {MAX_DEPTH}", "send a flatter one", "format.depth")
    return data


def _deep(data: Any) -> bool:
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += [value for value in item.values() if isinstance(value, (dict, list))]
            elif isinstance(item, list):
                below += [value for value in item if isinstance(value, (dict, list))]
        level = below
    return False


def value(found: Any) -> Any:
    """As expressions see it: nothing is ABSENT, null and empty text are CLEAR."""
    if found is MISSING:
        return ABSENT
    return CLEAR if found is None or found == "" else found


def step(node: Any, part: Any) -> Any:
    """One step down, or MISSING."""
    if isinstance(node, dict):
        return node.get(str(part), MISSING)
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return MISSING


def find(node: Any, steps: tuple[Any, ...]) -> list[Any]:
    """Every node at `steps`."""
    nodes = [node]
    for part in steps:
        if part is EVERY:
            nodes = [child for one in nodes for child in children(one)]
        else:
            nodes = [child for one in nodes if (child := step(one, part)) is not MISSING]
    return nodes


def places(node: Any, steps: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The steps of every node at `steps`; a list at the end counts as its items."""
    found: list[tuple[tuple[Any, ...], Any]] = [((), node)]
    for part in steps:
        after = []
        for way, one in found:
            if part is not EVERY:
                names = [part]
            else:
                names = (
                    list(range(len(one)))
                    if isinstance(one, list)
                    else list(one)
                    if isinstance(one, dict)
                    else []
                )
            after += [((*way, name), child) for name in names if (child := step(one, name)) is not MISSING]
        found = after
    return [
        place
        for way, one in found
        for place in ([(*way, n) for n in range(len(one))] if isinstance(one, list) else [way])
    ]


def children(node: Any) -> list[Any]:
    """The items of a list, the values of a mapping."""
    return node if isinstance(node, list) else list(node.values()) if isinstance(node, dict) else []


def put(root: Any, steps: tuple[Any, ...], new: Any) -> bool:
    """Set the node at `steps`, making what is missing on the way; MISSING removes it. False when it cannot be."""
    node = root
    for part, after in pairwise(steps):
        below = step(node, part)
        if below is MISSING or below is None:
            if new is MISSING:
                return True
            below = [] if isinstance(after, int) else {}
            if not _attach(node, part, below):
                return False
        node = below
    if new is MISSING:
        _remove(node, steps[-1])
        return True
    return _attach(node, steps[-1], new)


def _attach(node: Any, part: Any, new: Any) -> bool:
    if isinstance(node, dict):
        node[str(part)] = new
    elif isinstance(node, list) and isinstance(part, int) and part < len(node):
        node[part] = new
    elif isinstance(node, list) and (part == "-" or part == len(node)):
        node.append(new)
    else:
        return False
    return True


def _remove(node: Any, part: Any) -> None:
    if isinstance(node, dict):
        node.pop(str(part), None)
    elif isinstance(node, list) and isinstance(part, int) and part < len(node):
        del node[part]


def to_set(new: Any) -> Any:
    """What is written for a value: null for CLEAR, MISSING (removed) for ABSENT and empty text."""
    if new is CLEAR or new is None:
        return None
    if isinstance(new, str):
        return str(new) or MISSING
    return new


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value that holds no others, with its steps."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if not isinstance(node, (dict, list)):
        yield path, value(node)
    for part, below in pairs:
        yield from leaves(below, (*path, part))
