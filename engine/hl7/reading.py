"""Several paths of one message, read together: what a compiled template or expression does for each message.

Guarantees: gives for each path exactly what `message[path]` gives, in the order of the paths; a segment is looked up
once for all paths into it, and what most fields are, plain text without escapes in one repetition, is cut where
it stands. Reading never fails.
Refuses a path that cannot be (PathError) when it is made.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.hl7 import paths
from engine.hl7.er7 import Message
from engine.hl7.paths import Path
from engine.hl7.segment import HEADERS, NULL
from engine.model import ABSENT, CLEAR

_Plain = dict[int, list[tuple[int, int, Path]]]  # by field: position, component, path
_Other = list[tuple[int, Path]]


class Reader:
    """Reads its paths of a message."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._nothing = [ABSENT] * len(wanted)
        segments: dict[tuple[str, int], tuple[_Plain, _Other]] = {}
        for position, text in enumerate(wanted):
            path = paths.compile(text)
            plain, other = segments.setdefault((path.segment, path.occurrence or 1), ({}, []))
            if path.sub or path.repetition > 1 or path.where is not None or path.segment in HEADERS:
                other.append((position, path))
            else:
                plain.setdefault(path.field, []).append((position, path.component, path))
        self._segments = [
            (name, occurrence, list(plain.items()), other)
            for (name, occurrence), (plain, other) in segments.items()
        ]

    def read(self, message: Message) -> list[str]:
        """The values, one for each path."""
        values = self._nothing.copy()
        _, between, repeat, escape, *_ = message.delimiters
        for name, occurrence, plain, other in self._segments:
            if other:
                segment = message.segment(name, occurrence)
                if segment is None:
                    continue
                for position, path in other:
                    values[position] = segment.value(path)
            fields = message.fields(name, occurrence) if plain else None
            if fields is None:
                continue
            count = len(fields)
            for field, items in plain:
                if field >= count or not (text := fields[field]):
                    continue
                if escape in text:
                    for position, _, path in items:
                        values[position] = message.segment(name, occurrence).value(path)  # type: ignore[union-attr]
                    continue
                if text != NULL and repeat in text:
                    text = text.partition(repeat)[0]
                if text == NULL:
                    for position, _, _ in items:
                        values[position] = CLEAR
                elif between in text:
                    parts = text.split(between)
                    for position, component, _ in items:
                        if not component:
                            values[position] = text
                        elif component <= len(parts) and (part := parts[component - 1]):
                            values[position] = CLEAR if part == NULL else part
                elif text:
                    for position, component, _ in items:
                        if component < 2:
                            values[position] = text
        return values
