"""Plain data as YAML in the form of the shipped files, with a comment at each place that has one.

Guarantees: what is written is read back as the same data by `engine.spec.document`, but for `${NAME}`, which
it takes from the environment; comments are single lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_/$][\w ./^$*@-]*(?:[:-][\w/.-]+)*|\d+[smhd]", re.ASCII)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_HIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class Said:
    """A value with a comment above it."""

    def __init__(self, value: Any, comment: str) -> None:
        self.value = value
        self.comment = comment


class Remark(str):
    """A comment on its own, equal to nothing: an item of a list, or a key of a mapping whose value does not count."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def render(data: Mapping[Any, Any], indent: int = 0) -> list[str]:
    """The lines of a mapping."""
    lines: list[str] = []
    space = " " * indent
    for key, value in data.items():
        if isinstance(key, Remark):
            lines += _comment(key, indent)
            continue
        if isinstance(value, Said):
            lines += _comment(value.comment, indent)
            value = value.value
        lines += _entry(f"{space}{scalar(str(key))}:", value, indent + 2)
    return lines


def _entry(start: str, value: Any, indent: int) -> list[str]:
    short = _flow(value)
    if short is not None and len(start) + len(short) < WIDTH:
        return [f"{start} {short}"]
    if isinstance(value, Mapping):
        return [start, *render(value, indent)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [start, *_list(value, indent)]
    return [f"{start} {scalar(value)}"]


def _list(items: Sequence[Any], indent: int) -> list[str]:
    lines: list[str] = []
    for item in items:
        if isinstance(item, Remark):
            lines += _comment(item, indent)
            continue
        if isinstance(item, Said):
            lines += _comment(item.comment, indent)
            item = item.value
        if isinstance(item, Mapping) and len(item) == 1 and not isinstance(next(iter(item)), Remark):
            ((key, value),) = item.items()
            lines += _entry(f"{' ' * indent}- {scalar(str(key))}:", value, indent + 4)
        else:
            lines += _entry(f"{' ' * indent}-", item, indent + 2)
    return lines


def _comment(text: str, indent: int) -> list[str]:
    words, line, lines = " ".join(_HIDDEN.sub("?", text).split()).split(" "), "", []
    for word in words:
        if line and indent + len(line) + len(word) > WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return [f"{' ' * indent}# {one}" for one in [*lines, line]]


def _flow(value: Any) -> str | None:
    """`{a: 1}` or `[a, b]` for what has no comments inside and no mapping of mappings; None for the rest."""
    if isinstance(value, Mapping):
        parts = []
        for key, inner in value.items():
            text = None if isinstance(key, Remark) else _flow(inner)
            if text is None or (isinstance(inner, Mapping) and len(inner) > 1):
                return None
            parts.append(f"{scalar(str(key), True)}: {text}")
        return "{" + ", ".join(parts) + "}"
    if isinstance(value, (Said, Remark)):
        return None
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [None if isinstance(item, Mapping) else _flow(item) for item in value]
        return None if None in items else "[" + ", ".join(filter(None, items)) + "]"
    return scalar(value, True)


def scalar(value: Any, flow: bool = False) -> str:
    """One value as YAML writes it."""
    if isinstance(value, bool) or value is None or isinstance(value, (int, float)):
        return json.dumps(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and text == text.strip():
        return text
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))
