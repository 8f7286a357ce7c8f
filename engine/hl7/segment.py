"""One segment of a message and its repetitions: reading by relative paths, group by group.

Guarantees: a segment is cut into fields when it is first read; every path gives the whole text of what it
names; a field that is exactly `""` is CLEAR under every path into it. Reading never fails.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from engine.hl7 import paths
from engine.hl7.delimiters import Delimiters
from engine.hl7.escapes import unescape
from engine.hl7.paths import Path
from engine.model import ABSENT, CLEAR

NULL = '""'
HEADERS = ("MSH", "FHS", "BHS")
MANY = 16  # repetitions
NAME = re.compile(r"[A-Z][A-Z0-9]{2}\Z")


class Repetition:
    """One repetition of a field: `rep[1]` its first component, `rep[1, 2]` a subcomponent of that."""

    __slots__ = ("_segment", "text")

    def __init__(self, segment: Segment, text: str) -> None:
        self._segment = segment
        self.text = text  # as in the message, escapes not resolved

    def __getitem__(self, place: int | tuple[int, int]) -> str:
        component, sub = place if isinstance(place, tuple) else (place, 0)
        return self._segment.part(self.text, component, sub)

    @property
    def value(self) -> str:
        """The whole repetition, its escapes resolved."""
        return self._segment.part(self.text, 0, 0)

    def __repr__(self) -> str:
        return f"<repetition of {self._segment!r}>"


class Wording:
    """How a message is written: its delimiters and character set. Shared by its segments, so that these need
    not point back to the message: a message and its segments are freed at once, however large they are."""

    __slots__ = ("_codec", "_declared", "changed", "delimiters")

    def __init__(self, delimiters: Delimiters, codec: str, declared: Callable[[], str | None]) -> None:
        self.delimiters = delimiters
        self._codec = codec
        self._declared = declared
        self.changed = False  # something was set

    @property
    def codec(self) -> str:
        """The Python codec of the bytes: what they were read with, and what is set is written with."""
        if not self._codec:
            self._codec = self._declared() or "utf_8"
        return self._codec


class Segment:
    """One segment, read by relative paths: `seg["3.1"]`, `seg["3[2].1"]`, `seg[3]`."""

    __slots__ = ("_apart", "_fields", "_line", "changed", "index", "wording")

    def __init__(self, wording: Wording, index: int, line: str) -> None:
        self.wording = wording
        self.index = index  # 0-based, among the segments of the message
        self.changed = False
        self._line = line
        self._fields: list[str] | None = None
        self._apart: tuple[str, list[str]] | None = None  # the last long field that was taken apart

    @property
    def name(self) -> str:
        """The segment's name; of a line that is no segment, its first field."""
        return self.fields[0]

    @property
    def fields(self) -> list[str]:
        """The fields as in the message: `fields[n]` is field n, `fields[0]` the name. Not to be changed."""
        fields = self._fields
        if fields is None:
            separator = self.wording.delimiters.field
            fields = self._fields = self._line.split(separator)
            if fields[0] in HEADERS:
                fields.insert(1, separator)
        return fields

    @property
    def text(self) -> str:
        """The segment as it is now, without terminator."""
        if not self.changed:
            return self._line
        fields = self.fields
        separator = self.wording.delimiters.field
        if fields[0] in HEADERS:
            return fields[0] + separator + separator.join(fields[2:])
        return separator.join(fields)

    def __getitem__(self, path: str | int) -> str:
        return self.value(paths.relative(path))

    def __setitem__(self, path: str | int, value: str) -> None:
        from engine.hl7.edit import write

        write(self, paths.relative(path), value)

    def get(self, path: str | int, default: str = "") -> str:
        """The value, or `default` when it is absent."""
        value = self[path]
        return default if value is ABSENT else value

    def all(self, path: str | int) -> list[str]:
        """The value in every repetition that the path leaves open, in order; absent ones left out."""
        return self.values(paths.relative(path))

    def repetitions(self, field: int) -> list[Repetition]:
        """The repetitions of a field, in order; none when the field is empty."""
        return [Repetition(self, text) for text in self.texts(field)]

    def texts(self, field: int) -> list[str]:
        """The repetitions of a field as in the message. Not to be changed."""
        fields = self.fields
        text = fields[field] if field < len(fields) else ""
        if not text:
            return []
        if text == NULL or (field <= 2 and fields[0] in HEADERS):
            return [text]
        if self._apart is not None and self._apart[0] is text:
            return self._apart[1]
        texts = text.split(self.wording.delimiters.repetition)
        if len(texts) > MANY:  # they are likely to be read one after the other
            self._apart = text, texts
        return texts

    def named(self, path: Path) -> list[str]:
        """The repetitions that a path names, as in the message."""
        texts = self.texts(path.field)
        if texts and texts[0] == NULL and len(texts) == 1:
            return texts
        if path.where is not None:
            component, sub, wanted = path.where
            return [text for text in texts if self.part(text, component, sub) == wanted]
        return texts[path.repetition - 1 : path.repetition] if path.repetition else texts

    def value(self, path: Path) -> str:
        """The first value that a path names."""
        fields = self.fields
        field = path.field
        if field >= len(fields):
            return ABSENT
        text = fields[field]
        if not text:
            return ABSENT
        if text == NULL:
            return CLEAR
        if field <= 2 and fields[0] in HEADERS:
            return text
        if path.repetition > 1 or path.where is not None or self.wording.delimiters.repetition in text:
            texts = self.named(path)
            if not texts:
                return ABSENT
            text = texts[0]
        return self.part(text, path.component, path.sub)

    def values(self, path: Path) -> list[str]:
        """All values that a path names; absent ones left out."""
        if path.field <= 2 and self.fields[0] in HEADERS:
            one = self.value(path)
            return [] if one is ABSENT else [one]
        found = [self.part(text, path.component, path.sub) for text in self.named(path)]
        return [value for value in found if value is not ABSENT]

    def part(self, text: str, component: int, sub: int) -> str:
        """A component or subcomponent of one repetition (0: all of it) as a value."""
        delimiters = self.wording.delimiters
        if component and (sub or component > 1 or delimiters.component in text) and text != NULL:
            text = self.cut(text, component, sub)
        if not text:
            return ABSENT
        if text == NULL:
            return CLEAR
        if delimiters.escape in text:
            return unescape(text, delimiters, self.wording.codec) or ABSENT
        return text

    def cut(self, text: str, component: int, sub: int) -> str:
        """A component or subcomponent of one repetition, as in the message."""
        if not component:
            return text
        delimiters = self.wording.delimiters
        if component > 1 or delimiters.component in text:
            parts = text.split(delimiters.component, component)
            text = parts[component - 1] if component <= len(parts) else ""
        if sub and text != NULL:
            parts = text.split(delimiters.subcomponent, sub)
            text = parts[sub - 1] if sub <= len(parts) else ""
        return text

    def __repr__(self) -> str:
        return f"<segment {self.index + 1}: {self.name if NAME.match(self.name) else 'not a segment'}>"
