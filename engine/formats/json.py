"""JSON messages, read and changed by JSON pointer (RFC 6901) or dotted names.

    /patient/name/0/family     patient.name[0].family     /items/*/code (every item)

Guarantees: numbers, booleans, lists and mappings keep their type; null and `""` are CLEAR; what is not there is
ABSENT; `bytes` is the message itself until something is set, and compact JSON after. Refuses (FormatError): what is
not UTF-8 JSON, nesting above 100. Indexes count from 0, as in RFC 6901.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from engine.errors import StepError
from engine.formats import tree
from engine.formats.base import Header, Identity, JsonAnswers, PathError, cached, identify, reading
from engine.formats.tree import EVERY, MISSING
from engine.model import ABSENT

_PART = re.compile(r"([^.\[\]/]+)((?:\[(?:\d{1,6}|\*)\])*)(?:\.|$)")
_compiled: dict[str, tuple[Any, ...]] = {}


def compile(path: str) -> tuple[Any, ...]:
    """The steps of a path. Raises PathError."""
    return _compiled.get(path) or cached(_compiled, path, _parse)


def _parse(path: str) -> tuple[Any, ...]:
    if path.startswith("/"):
        return tuple(_token(part) for part in path[1:].split("/"))
    steps: list[Any] = []
    at = 0
    while at < len(path) or not steps:
        found = _PART.match(path, at)
        if found is None:
            raise PathError(path, at + 1, f"cannot read {path[at:]!r}", "write /a/0/b or a[0].b")
        steps.append(_token(found[1]))
        steps += [EVERY if n == "*" else int(n) for n in re.findall(r"\[(\d+|\*)\]", found[2])]
        at = found.end()
        if at == len(path) and path[-1] == ".":
            raise PathError(path, at, "a name is missing after the dot", "write /a/0/b or a[0].b")
    return tuple(steps)


def _token(part: str) -> Any:
    if part == "*":
        return EVERY
    if part.isdigit() and part.isascii() and len(part) < 7:
        return int(part)
    return part.replace("~1", "/").replace("~0", "~")


class Document:
    """One JSON message. See the module's guarantees."""

    __slots__ = ("changed", "data", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.data = tree.load(raw)
        self.changed = False

    def __getitem__(self, path: str) -> Any:
        node = self.data
        for part in compile(path):
            if part is EVERY:
                return next(iter(self.all(path)), ABSENT)
            node = tree.step(node, part)
            if node is MISSING:
                return ABSENT
        return tree.value(node)

    def __contains__(self, path: str) -> bool:
        return self[path] is not ABSENT

    def all(self, path: str) -> list[Any]:
        """Every value at `path`; a list at its end counts as its items."""
        found = tree.find(self.data, compile(path))
        items = [item for one in found for item in (one if isinstance(one, list) else [one])]
        return [tree.value(item) for item in items]

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every value that holds no others: its JSON pointer, and it."""
        for steps, value in tree.leaves(self.data):
            yield "/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in steps), value

    def __setitem__(self, path: str, value: Any) -> None:
        steps = compile(path)
        if EVERY in steps or not tree.put(self.data, steps, tree.to_set(value)):
            raise StepError("nothing can be set here", code="format.set", where=path)
        self.changed = True

    def places(self, path: str) -> list[str]:
        """A pointer for every value at `path`; a list at its end counts as its items."""
        return [_pointer(way) for way in tree.places(self.data, compile(path))]

    def split(self, path: str) -> list[bytes]:
        """The document once for each item of the list at `path`, with this item alone in the list."""
        steps = compile(path)
        found = tree.find(self.data, steps)
        items = found[0] if len(found) == 1 and isinstance(found[0], list) else []
        made = []
        for item in items if len(items) > 1 else ():
            whole = _without(self.data, steps)
            tree.put(whole, steps, [item])
            made.append(orjson.dumps(whole))
        return made

    def __bytes__(self) -> bytes:
        return orjson.dumps(self.data) if self.changed else self.raw

    def __repr__(self) -> str:
        return f"<JSON message, {len(self.raw)} bytes>"


def _pointer(steps: tuple[Any, ...]) -> str:
    return "".join("/" + str(one).replace("~", "~0").replace("/", "~1") for one in steps)


def _without(data: Any, steps: tuple[Any, ...]) -> Any:
    """A copy of `data` down to `steps`, sharing everything beside the way."""
    if not steps:
        return data
    below = _without(tree.step(data, steps[0]), steps[1:])
    if isinstance(data, dict):
        return {**data, str(steps[0]): below}
    return [*data[: steps[0]], below, *data[steps[0] + 1 :]]


class Json(JsonAnswers):
    """The format `json` of one channel; the paths are what identifies a message."""

    name = "json"
    ordering_key = ""
    typed = True

    def __init__(
        self, control_id: str = "", kind: str = "", sender: str = "", mrn: str = "", visit: str = "",
        lines: bool = False,
    ) -> None:  # fmt: skip
        self.paths = control_id, kind, sender
        self.mrn, self.visit, self.lines = mrn, visit, lines
        for path in filter(None, (*self.paths, mrn, visit)):
            self.check(path)

    def parse(self, raw: bytes) -> Document:
        """The view of a message."""
        return Document(raw)

    def peek(self, raw: bytes) -> Header:
        """Control id, type and sender by their paths."""
        view = Document(raw)
        return Header(view, *(reading(view, path) for path in self.paths))

    def identify(self, raw: bytes, header: Header, path: str) -> Identity:
        """By the paths of the settings."""
        return identify(header.view, self.mrn, self.visit, path or self.mrn)

    def parts(self, raw: bytes) -> list[bytes]:
        """With `lines`, one message a line (NDJSON)."""
        if not self.lines:
            return [raw]
        return [line for line in raw.splitlines() if line.strip()] or [raw]

    def check(self, path: str) -> None:
        """Raises PathError."""
        compile(path)
