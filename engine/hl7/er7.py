r"""A lossless, lazy view over the bytes of one HL7v2 message (ER7, HL7 v2.5.1 chapter 2.5-2.7).

Guarantees: `raw` never changes; `bytes(message)` is `raw`, byte for byte, until something is set, and after that
only the segments that were set differ. Reading never fails once the view was made: what is not there is ABSENT,
`""` is CLEAR, anything else is text with its escapes resolved. Every path gives the whole text of what it names:
`PID-8` the first repetition with its component separators, `PID-8.1` its first component.
Refuses (HL7Error): bytes without an MSH header, UTF-16/32; to set MSH-1/MSH-2; text that the message's
character set does not have.

Design note. The whole message is decoded once (escape bytes of GB18030, Big5 or Shift JIS may look like
delimiters, so bytes must not be split), cut into lines once, and a line is cut into fields when it is first
read. Lines are never renumbered: a line of the text is the same line of the bytes, because CR and LF are
never part of another character in any character set that is accepted. So writing puts new bytes in the place
of the lines that were set and copies the others.

| input                                  | what happens                                          |
|----------------------------------------|-------------------------------------------------------|
| CR, LF, CRLF, mixed, blank lines       | read alike; kept as they are                          |
| BOM, VT, FS, blanks around a segment   | not seen by readers; kept                             |
| a line that is not a segment           | kept; a Segment with an odd name; a warning           |
| wrong or unknown MSH-18                | decoded by what fits; a warning                       |
| odd MSH-2                              | read by `delimiters`; a warning                       |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import overload

from engine.errors import HL7Error
from engine.hl7 import charset as charsets
from engine.hl7 import paths
from engine.hl7.delimiters import BLANK, LEADING, NEVER, Delimiters, delimiters, locate
from engine.hl7.escapes import escape, unescape
from engine.hl7.paths import Path
from engine.model import ABSENT, CLEAR

NULL = '""'
_LINE_END = re.compile("(\r\n|\r|\n)")
_LINE_END_BYTES = re.compile(rb"(\r\n|\r|\n)")
_ODD = re.compile("[\n\x0b\x1c\ufeff]|\r[\r \t\x0c]|^[ \t\x0c]")
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}\Z")
_HEADERS = ("MSH", "FHS", "BHS")
_absolute = paths._absolute


class Repetition:
    """One repetition of a field: `rep[1]` its first component, `rep[1, 2]` a subcomponent of that."""

    __slots__ = ("_segment", "text")

    def __init__(self, segment: Segment, text: str) -> None:
        self._segment = segment
        self.text = text  # as in the message, escapes not resolved

    def __getitem__(self, place: int | tuple[int, int]) -> str:
        component, sub = place if isinstance(place, tuple) else (place, 0)
        return self._segment.message._part(self.text, component, sub)

    @property
    def value(self) -> str:
        """The whole repetition, its escapes resolved."""
        return self._segment.message._part(self.text, 0, 0)

    def __repr__(self) -> str:
        return f"<repetition of {self._segment.name}>"


class Segment:
    """One segment, read by relative paths: `seg["3.1"]`, `seg["3[2].1"]`, `seg[3]`."""

    __slots__ = ("_changed", "_fields", "_line", "index", "message")

    def __init__(self, message: Message, index: int, line: str) -> None:
        self.message = message
        self.index = index  # 0-based, among the segments of the message
        self._line = line
        self._fields: list[str] | None = None
        self._changed = False

    @property
    def name(self) -> str:
        """The segment's name; of a line that is no segment, its first field."""
        return self.fields[0]

    @property
    def fields(self) -> list[str]:
        """The fields as in the message, escapes not resolved; `fields[n]` is field n, `fields[0]` the name."""
        fields = self._fields
        if fields is None:
            separator = self.message.delimiters.field
            fields = self._fields = self._line.split(separator)
            if fields[0] in _HEADERS:
                fields.insert(1, separator)
        return fields

    @property
    def text(self) -> str:
        """The segment as it is now, without terminator."""
        if not self._changed:
            return self._line
        fields = self.fields
        separator = self.message.delimiters.field
        if fields[0] in _HEADERS:
            return fields[0] + separator + separator.join(fields[2:])
        return separator.join(fields)

    def repetitions(self, field: int) -> list[Repetition]:
        """The repetitions of a field, in order; none when the field is empty."""
        fields = self.fields
        text = fields[field] if field < len(fields) else ""
        if not text:
            return []
        if field <= 2 and fields[0] in _HEADERS:
            return [Repetition(self, text)]
        return [Repetition(self, part) for part in text.split(self.message.delimiters.repetition)]

    def __getitem__(self, path: str | int) -> str:
        return self.message._value(self, paths.relative(path))

    def __setitem__(self, path: str | int, value: str) -> None:
        self.message._set(self, paths.relative(path), value)

    def get(self, path: str | int, default: str = "") -> str:
        """The value, or `default` when it is absent."""
        value = self[path]
        return default if value is ABSENT else value

    def all(self, path: str | int) -> list[str]:
        """The value in every repetition, in order; absent ones left out."""
        return self.message._values(self, paths.relative(path))

    def __repr__(self) -> str:
        return f"<segment {self.index + 1}: {self.name if _NAME.match(self.name) else 'not a segment'}>"


class Message:
    """One HL7v2 message as bytes, read and changed by paths. See the module's guarantees.

    `charset` is the channel's override (a name of HL7 table 0211 or a Python codec) and beats MSH-18.
    """

    __slots__ = (
        "_added",
        "_changed",
        "_codec",
        "_index",
        "_lines",
        "_override",
        "_segments",
        "_text",
        "_warning",
        "delimiters",
        "raw",
    )

    def __init__(self, raw: bytes, *, charset: str | None = None) -> None:
        self.raw = raw
        start = locate(raw)
        if start < 0:
            charsets.refuse_wide(raw)
            raise HL7Error(
                "the message is empty" if not raw.strip(BLANK) else "there is no MSH segment",
                code="hl7.no_header",
                where="MSH",
                todo="an HL7v2 message begins with MSH and its separators, such as MSH|^~\\&|",
                ack="AR",
                condition="100",
            )
        self._override = charset
        self._warning = ""
        self._codec = ""
        separator = raw[start + 3 : start + 4]
        if charset is None and raw.isascii() and charsets.ESC not in raw:
            text = raw.decode("ascii")
        else:
            text, self._codec, self._warning = charsets.decode(raw, self._msh18(start), charset=charset)
        at = raw.find(separator, start + 4)
        end = _LINE_END_BYTES.search(raw, start)
        if at < 0 or (end and end.start() < at):
            at = end.start() if end else len(raw)
        self.delimiters: Delimiters = delimiters(
            separator.decode("ascii"), raw[start + 4 : at].decode("latin-1").rstrip("\x1c")
        )
        self._text = text
        if _ODD.search(text):
            lines = text.replace("\r\n", "\r").replace("\n", "\r").split("\r")
            self._lines = [line for line in map(_tidy, lines) if line]
        else:
            self._lines = text.split("\r")
            if not self._lines[-1]:
                self._lines.pop()
        self._index: dict[str, list[int]] | None = None
        self._segments: dict[int, Segment] = {}
        self._added = 0
        self._changed = False

    def _msh18(self, start: int) -> str:
        fields = _LINE_END_BYTES.split(self.raw[start:], 1)[0].split(self.raw[start + 3 : start + 4], 18)
        return fields[17].decode("latin-1") if len(fields) > 17 else ""

    # Reading

    @property
    def codec(self) -> str:
        """The Python codec of the bytes: what they were read with, and what is set is written with."""
        if not self._codec:
            msh18 = self._msh18(locate(self.raw))
            self._codec = charsets.declared(msh18) or "utf_8"
            if self._codec == "ascii":
                self._codec = "utf_8" if not msh18 else "ascii"
        return self._codec

    @property
    def warnings(self) -> list[str]:
        """What had to be assumed in reading, and lines that are no segments. No patient data."""
        found = [text for text in (self.delimiters.warning, self._warning) if text]
        for number, segment in enumerate(self.segments(), 1):
            if not _NAME.match(segment.name):
                known = segment.name.upper()
                hint = f"; did you mean {known}?" if _NAME.match(known) and known in _KNOWN else ""
                found.append(f"segment {number} has no segment name{hint}")
        return found

    def segment(self, name: str, occurrence: int = 1) -> Segment | None:
        """The nth segment of that name, or None."""
        index = self._index
        if index is None:
            index = self._index = self._find()
        places = index.get(name)
        if places is None or occurrence > len(places):
            return None
        return self._at(places[occurrence - 1])

    def segments(self, name: str | None = None) -> list[Segment]:
        """The segments in order: all, or those of one name."""
        if name is None:
            return [self._at(place) for place in range(len(self._lines))]
        if self._index is None:
            self._index = self._find()
        return [self._at(place) for place in self._index.get(name, ())]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments())

    def _at(self, place: int) -> Segment:
        segment = self._segments.get(place)
        if segment is None:
            segment = self._segments[place] = Segment(self, place, self._lines[place])
        return segment

    def _find(self) -> dict[str, list[int]]:
        separator = self.delimiters.field
        index: dict[str, list[int]] = {}
        for place, line in enumerate(self._lines):
            name = line[:3] if line[3:4] == separator else line.split(separator, 1)[0]
            if name in index:
                index[name].append(place)
            else:
                index[name] = [place]
        return index

    def __getitem__(self, path: str) -> str:
        compiled = _absolute.get(path) or paths.compile(path)
        segment = self.segment(compiled.segment, compiled.occurrence or 1)
        return ABSENT if segment is None else self._value(segment, compiled)

    def get(self, path: str, default: str = "") -> str:
        """The value, or `default` when it is absent (CLEAR is not absent)."""
        value = self[path]
        return default if value is ABSENT else value

    def __contains__(self, path: str) -> bool:
        return self[path] is not ABSENT

    def all(self, path: str) -> list[str]:
        """Every value that `path` names, over all segments and repetitions it leaves open; no absent ones."""
        compiled = paths.compile(path)
        if compiled.occurrence:
            one = self.segment(compiled.segment, compiled.occurrence)
            return self._values(one, compiled) if one else []
        return [v for segment in self.segments(compiled.segment) for v in self._values(segment, compiled)]

    def encoded(self, path: str) -> str:
        """What stands in the message at `path`: delimiters and escapes as they are, empty when absent."""
        compiled = paths.compile(path)
        segment = self.segment(compiled.segment, compiled.occurrence or 1)
        texts = self._texts(segment, compiled) if segment else []
        return self._cut(texts[0], compiled.component, compiled.sub) if texts else ""

    def _texts(self, segment: Segment, path: Path) -> list[str]:
        """The repetitions that the path names, as in the message."""
        fields = segment.fields
        if path.field >= len(fields):
            return []
        text = fields[path.field]
        if not text:
            return []
        if text == NULL or (path.field <= 2 and fields[0] in _HEADERS):
            return [text]
        repetitions = text.split(self.delimiters.repetition)
        if path.where is not None:
            component, sub, wanted = path.where
            return [r for r in repetitions if self._part(r, component, sub) == wanted]
        if path.repetition:
            return repetitions[path.repetition - 1 : path.repetition]
        return repetitions

    def _value(self, segment: Segment, path: Path) -> str:
        fields = segment.fields
        field = path.field
        if field >= len(fields):
            return ABSENT
        text = fields[field]
        if not text:
            return ABSENT
        if text == NULL:
            return CLEAR
        if field <= 2 and fields[0] in _HEADERS:
            return text
        if self.delimiters.repetition in text or path.repetition > 1 or path.where is not None:
            texts = self._texts(segment, path)
            if not texts:
                return ABSENT
            text = texts[0]
        return self._part(text, path.component, path.sub)

    def _values(self, segment: Segment, path: Path) -> list[str]:
        if path.field <= 2 and segment.fields[0] in _HEADERS:
            value = self._value(segment, path)
            return [] if value is ABSENT else [value]
        found = (self._part(text, path.component, path.sub) for text in self._texts(segment, path))
        return [value for value in found if value is not ABSENT]

    def _part(self, text: str, component: int, sub: int) -> str:
        """A component of one repetition as a value."""
        if component and text != NULL:
            text = self._cut(text, component, sub)
        if not text:
            return ABSENT
        if text == NULL:
            return CLEAR
        delimiters = self.delimiters
        return unescape(text, delimiters, self.codec) if delimiters.escape in text else text

    def _cut(self, text: str, component: int, sub: int) -> str:
        if component:
            delimiters = self.delimiters
            if component > 1 or delimiters.component in text:
                parts = text.split(delimiters.component, component)
                text = parts[component - 1] if component <= len(parts) else ""
            if sub and text != NULL:
                parts = text.split(delimiters.subcomponent, sub)
                text = parts[sub - 1] if sub <= len(parts) else ""
        return text

    # Writing

    def __setitem__(self, path: str, value: str) -> None:
        compiled = paths.compile(path)
        self._set(self._segment_to_set(compiled), compiled, value)

    def set_encoded(self, path: str, text: str) -> None:
        """Put `text` at `path` as it is, delimiters and escapes included. CR and LF are refused."""
        if "\r" in text or "\n" in text or self.delimiters.field in text:
            raise HL7Error(
                "encoded text must not hold a segment or field separator", code="hl7.set", where=path
            )
        compiled = paths.compile(path)
        self._put(self._segment_to_set(compiled), compiled, text)

    def _segment_to_set(self, path: Path) -> Segment:
        occurrence = path.occurrence or 1
        segment = self.segment(path.segment, occurrence)
        if segment is not None:
            return segment
        have = len(self.segments(path.segment))
        if occurrence > have + 1:
            raise HL7Error(
                f"there are {have} {path.segment} segments",
                code="hl7.set",
                where=path.text,
                todo=f"the next one is {path.segment}[{have + 1}]",
            )
        assert self._index is not None
        self._lines.append(path.segment)
        self._added += 1
        self._changed = True
        self._index.setdefault(path.segment, []).append(len(self._lines) - 1)
        return self._at(len(self._lines) - 1)

    def _set(self, segment: Segment, path: Path, value: str) -> None:
        if value is CLEAR:
            text = NULL
        elif value == NULL:  # a value of two quotes must not be read as CLEAR
            text = f"{self.delimiters.escape}X2222{self.delimiters.escape}"
        else:
            text = escape(str(value), self.delimiters, self.codec)
        self._put(segment, path, text)

    def _put(self, segment: Segment, path: Path, text: str) -> None:
        fields = segment.fields
        if path.field < 1 or (path.field <= 2 and fields[0] in _HEADERS):
            raise HL7Error("the separators of a message cannot be set", code="hl7.set", where=path.text)
        try:
            text.encode(self.codec)
        except UnicodeEncodeError:
            raise HL7Error(
                f"the text has characters that the message's character set ({self.codec}) does not have",
                code="hl7.charset.encode",
                where=path.text,
                todo="set the channel's charset, or replace these characters first",
            ) from None
        delimiters = self.delimiters
        _grow(fields, path.field + 1)
        old = fields[path.field]
        if not (path.component or path.repetition or path.where) and text in ("", NULL):
            new = text  # the whole field, with all repetitions
        else:
            repetitions = [] if old in ("", NULL) else old.split(delimiters.repetition)
            place = self._repetition_to_set(repetitions, path)
            repetitions[place] = self._replaced(repetitions[place], path, text)
            new = self._join(delimiters.repetition, repetitions, path)
        if new != old:
            fields[path.field] = new
            segment._changed = self._changed = True

    def _repetition_to_set(self, repetitions: list[str], path: Path) -> int:
        if path.where is None:
            _grow(repetitions, path.repetition or 1)
            return (path.repetition or 1) - 1
        component, sub, wanted = path.where
        for place, text in enumerate(repetitions):
            if self._part(text, component, sub) == wanted:
                return place
        named = Path(path.text, "", 0, path.field, 0, None, component, sub)
        repetitions.append(self._replaced("", named, escape(wanted, self.delimiters, self.codec)))
        return len(repetitions) - 1

    def _replaced(self, text: str, path: Path, value: str) -> str:
        """One repetition with the path's component set to `value`."""
        if not path.component:
            return value
        components = text.split(self.delimiters.component) if text != NULL else [""]
        _grow(components, path.component)
        if path.sub:
            whole = components[path.component - 1]
            subs = whole.split(self.delimiters.subcomponent) if whole != NULL else [""]
            _grow(subs, path.sub)
            subs[path.sub - 1] = value
            value = self._join(self.delimiters.subcomponent, subs, path)
        components[path.component - 1] = value
        return self._join(self.delimiters.component, components, path)

    def _join(self, separator: str, parts: list[str], path: Path) -> str:
        if separator == NEVER and len(parts) > 1:
            raise HL7Error(
                "MSH-2 of this message names no separator for this", code="hl7.set", where=path.text
            )
        return separator.join(parts)

    def __bytes__(self) -> bytes:
        if not self._changed:
            return self.raw
        pieces = _LINE_END.split(self._text)
        output = _LINE_END_BYTES.split(self.raw)
        codec = self.codec
        number = last = 0
        for place in range(0, len(pieces), 2):
            line = _tidy(pieces[place])
            if not line:
                continue
            segment = self._segments.get(number)
            number += 1
            last = place
            if segment is not None and segment._changed:
                before, _, after = pieces[place].partition(line)
                output[place] = (before + segment.text + after).encode(codec)
        end = pieces[last + 1] if last + 1 < len(pieces) else (pieces[1] if len(pieces) > 1 else "\r")
        new = [
            self._at(n).text.encode(codec) for n in range(len(self._lines) - self._added, len(self._lines))
        ]
        if new:
            terminator = end.encode("ascii")
            if last + 1 < len(output):
                output[last + 1] += b"".join(line + terminator for line in new)
            else:
                output[last] += b"".join(terminator + line for line in new)
        return b"".join(output)

    def copy(self) -> Message:
        """The message as it is now, to be changed on its own."""
        return Message(bytes(self), charset=self._override)

    @overload
    def __eq__(self, other: Message) -> bool: ...
    @overload
    def __eq__(self, other: object) -> bool: ...
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and bytes(self) == bytes(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<HL7 message, {len(self.raw)} bytes, {len(self._lines)} segments>"


_KNOWN = frozenset(
    "MSH EVN PID PD1 NK1 PV1 PV2 DB1 OBX AL1 DG1 DRG PR1 ROL GT1 IN1 IN2 IN3 ACC UB1 UB2 MRG SCH TQ1 NTE RGS "
    "AIS AIG AIL AIP ORC OBR MSA ERR SFT UAC FT1 TXA RXA RXR RXE RXO SPM ARV CON BHS BTS FHS FTS".split()
)


def _tidy(line: str) -> str:
    """A line without what surrounds a segment: BOM, MLLP bytes, blanks before it."""
    return line.lstrip(LEADING).rstrip("\x1c\x0b")


def _grow(parts: list[str], length: int) -> None:
    while len(parts) < length:
        parts.append("")
