r"""A lossless, lazy view over the bytes of one HL7v2 message (ER7, HL7 v2.5.1 chapter 2.5-2.7).

Guarantees: `raw` never changes; `bytes(message)` is `raw`, byte for byte, until something is set, and after
that only the fields that were set differ. Reading never fails once the view was made: what is not there is
ABSENT, `""` is CLEAR, anything else is text with its escapes resolved. Every path gives the whole text of
what it names: `PID-8` the first repetition with its component separators, `PID-8.1` its first component.
Refuses (HL7Error): bytes without an MSH header, UTF-16/32; to set MSH-1 or MSH-2; text that the message's
character set does not have.

Design note. The whole message is decoded once (bytes of GB18030, Big5 or Shift JIS may look like delimiters,
so bytes must not be split), cut into lines once, and a line is cut into fields when it is first read. A line
of the text is the same line of the bytes, because CR and LF are never part of another character in any
character set that is accepted. So writing puts new bytes in the place of the lines that were set and copies
the others. In a character set with several byte forms of one text (ISO 2022) the other fields of a line that
was set keep their text, not always their bytes.

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
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from engine.errors import HL7Error
from engine.hl7 import charset as charsets
from engine.hl7 import edit, paths
from engine.hl7.delimiters import BLANK, BOM, LEADING, MLLP, Delimiters, delimiters, locate
from engine.hl7.paths import Path
from engine.hl7.segment import NAME, Segment, Wording
from engine.model import ABSENT, CLEAR

__all__ = ["Message", "Segment"]

_LINE_END = re.compile("(\r\n|\r|\n)")
_LINE_END_BYTES = re.compile(rb"(\r\n|\r|\n)")
_LEAD = re.compile(rb"(?:[ \t\r\n\x0b\x0c\x1c]*\xef\xbb\xbf)+")
_AROUND = ("\n", "\x1c", "\x0b", "\x0c", "\ufeff")
_compiled = paths.known


class Message:
    """One HL7v2 message as bytes, read and changed by paths. See the module's guarantees.

    `charset` is the channel's override (a name of HL7 table 0211 or a Python codec) and beats MSH-18.
    """

    __slots__ = (
        "_index",
        "_lead",
        "_lines",
        "_override",
        "_segments",
        "_start",
        "_text",
        "_warning",
        "_wording",
        "delimiters",
        "raw",
    )

    def __init__(self, raw: bytes, *, charset: str | None = None) -> None:
        self.raw = raw
        start = self._start = locate(raw)
        if start < 0:
            raise no_header(raw)
        self._override = charset
        self._warning = ""
        codec = ""
        self._lead = 0  # bytes before the text: a byte order mark is in UTF-8 whatever the message is in
        if raw[:1] != b"M" and (lead := _LEAD.match(raw)):
            self._lead = lead.end()
        body = raw[self._lead :] if self._lead else raw
        if charset is None and body.isascii() and charsets.ESC not in body:
            text = body.decode("ascii")
        else:
            text, codec, self._warning = charsets.decode(body, _msh18(raw, start), charset=charset)
        separator = raw[start + 3 : start + 4]
        end = len(raw)
        for stop in (separator, b"\r", b"\n"):
            found = raw.find(stop, start + 4, end)
            end = found if found >= 0 else end
        self.delimiters: Delimiters = delimiters(
            separator.decode("ascii"), raw[start + 4 : end].rstrip(MLLP).decode("latin-1")
        )
        self._text = text
        self._lines = _lines(text)
        self._index: dict[str, list[int]] | None = None
        self._segments: dict[int, Segment] = {}
        self._wording = Wording(self.delimiters, codec, partial(_declared, raw, start, self.delimiters))

    @property
    def codec(self) -> str:
        """The Python codec of the bytes: what they were read with, and what is set is written with."""
        return self._wording.codec

    @property
    def warnings(self) -> list[str]:
        """What had to be assumed in reading, and lines that are no segments. No patient data."""
        found = [text for text in (self.delimiters.warning, self._warning) if text]
        for segment in self.segments():
            name = segment.name
            if not NAME.match(name):
                hint = (
                    f"; did you mean {name.upper()}?" if NAME.match(name.upper()) and name.isalnum() else ""
                )
                found.append(f"segment {segment.index + 1} has no segment name{hint}")
        return found

    # Reading

    def segment(self, name: str, occurrence: int = 1) -> Segment | None:
        """The nth segment of that name, counted from 1, or None."""
        places = (self._index or self._find()).get(name)
        if places is None or occurrence > len(places):
            return None
        return self._at(places[occurrence - 1])

    def fields(self, name: str, occurrence: int) -> list[str] | None:
        """The fields of `segment(name, occurrence)`, which is no header (MSH, FHS, BHS). Not to be changed."""
        places = (self._index or self._find()).get(name)
        if places is None or occurrence > len(places):
            return None
        place = places[occurrence - 1]
        segment = self._segments.get(place)
        return segment.fields if segment is not None else self._lines[place].split(self.delimiters.field)

    def segments(self, name: str | None = None) -> list[Segment]:
        """The segments in order: all, or those of one name."""
        if name is None:
            return [self._at(place) for place in range(len(self._lines))]
        return [self._at(place) for place in (self._index or self._find()).get(name, ())]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments())

    def _at(self, place: int) -> Segment:
        segment = self._segments.get(place)
        if segment is None:
            segment = self._segments[place] = Segment(self._wording, place, self._lines[place])
        return segment

    def _find(self) -> dict[str, list[int]]:
        """Where the segments of each name are; made once, when first asked for."""
        separator = self.delimiters.field
        index: dict[str, list[int]] = {}
        self._index = index
        for place, line in enumerate(self._lines):
            name = line[:3] if line[3:4] == separator else line.split(separator, 1)[0]
            if name in index:
                index[name].append(place)
            else:
                index[name] = [place]
        return index

    def __getitem__(self, path: str) -> str:
        compiled = _compiled.get(path) or paths.compile(path)
        places = (self._index or self._find()).get(compiled.segment)
        occurrence = compiled.occurrence or 1
        if places is None or occurrence > len(places):
            return ABSENT
        place = places[occurrence - 1]
        return (self._segments.get(place) or self._at(place)).value(compiled)

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
            return one.values(compiled) if one else []
        return [value for segment in self.segments(compiled.segment) for value in segment.values(compiled)]

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Every place that holds something: its path and its value."""
        from engine.hl7.leaves import leaves

        return leaves(self)

    def places(self, path: str) -> list[str]:
        """A path of its own for each repetition that `path` leaves open, over all segments it leaves open."""
        compiled = paths.compile(path)
        wanted = (
            [compiled.occurrence]
            if compiled.occurrence
            else range(1, len(self.segments(compiled.segment)) + 1)
        )
        found = []
        for number in wanted:
            segment = self.segment(compiled.segment, number)
            if segment is None:
                continue
            texts = segment.texts(compiled.field)
            named = set(segment.named(compiled) if compiled.where is not None else texts)
            parts = "".join(f".{n}" for n in (compiled.component, compiled.sub) if n)
            found += [
                f"{compiled.segment}[{number}]-{compiled.field}[{repetition}]{parts}"
                for repetition, text in enumerate(texts, 1)
                if text in named and compiled.repetition in (0, repetition)
            ]
        return found

    def change(self, path: str, new: Callable[[str], str]) -> bool:
        """Put `new(value)` in the place of every value that `path` names (`places`), the last one first."""
        compiled = paths.compile(path)
        return sum(edit.change(segment, compiled, new) for segment in self._backwards(compiled)) > 0

    def fill(self, path: str, value: str, beside: Sequence[str]) -> bool:
        """Put `value` at `path` in every repetition that it leaves open, has nothing there, and has something at one
        of the paths `beside`, which are into the same field; True when there is any."""
        compiled, others = paths.compile(path), [paths.compile(other) for other in beside]
        return sum(edit.fill(segment, compiled, value, others) for segment in self._backwards(compiled)) > 0

    def _backwards(self, path: Path) -> Iterator[Segment]:
        """The segments that a path names, the last one first."""
        segments = self.segments(path.segment)
        if path.occurrence:
            segments = segments[path.occurrence - 1 : path.occurrence]
        return reversed(segments)

    def split(self, path: str) -> list[bytes]:
        """One message for each group that begins with the segment `path` (`OBR`): what stands before the first,
        and the group. None when there are fewer than two."""
        marks = [segment.index for segment in self.segments(path)]
        if len(marks) < 2:
            return []
        lines = [segment.text for segment in self.segments()]
        ends = [*marks[1:], len(lines)]
        return [
            "".join(f"{line}\r" for line in lines[: marks[0]] + lines[start:end]).encode(self.codec)
            for start, end in zip(marks, ends, strict=True)
        ]

    def encoded(self, path: str) -> str:
        """What stands in the message at `path`, delimiters and escapes as they are; empty when absent."""
        compiled = paths.compile(path)
        segment = self.segment(compiled.segment, compiled.occurrence or 1)
        texts = segment.named(compiled) if segment else []
        return segment.cut(texts[0], compiled.component, compiled.sub) if segment and texts else ""

    # Writing

    def __setitem__(self, path: str, value: str) -> None:
        compiled = paths.compile(path)
        if (
            value == ""
            and value is not CLEAR
            and self.segment(compiled.segment, compiled.occurrence or 1) is None
        ):
            return  # nothing is there to be emptied
        edit.write(self._to_set(compiled), compiled, value)

    def set_encoded(self, path: str, text: str) -> None:
        """Put `text` at `path` as it is, delimiters and escapes included."""
        if "\r" in text or "\n" in text or self.delimiters.field in text:
            raise HL7Error(
                "encoded text must not hold a field separator or a line end", code="hl7.set", where=path
            )
        compiled = paths.compile(path)
        edit.write_encoded(self._to_set(compiled), compiled, text)

    def _to_set(self, path: Path) -> Segment:
        """The path's segment; made at the end of the message when it is the next one of its name."""
        occurrence = path.occurrence or 1
        segment = self.segment(path.segment, occurrence)
        if segment is not None:
            return segment
        assert self._index is not None
        places = self._index.setdefault(path.segment, [])
        if occurrence > len(places) + 1:
            raise HL7Error(
                f"there are {len(places)} {path.segment} segments",
                code="hl7.set",
                where=path.text,
                todo=f"the next one is {path.segment}[{len(places) + 1}]",
            )
        places.append(len(self._lines))
        self._lines.append(path.segment)
        self._wording.changed = True
        return self._at(places[-1])

    def __bytes__(self) -> bytes:
        if not self._wording.changed:
            return self.raw
        codec = self.codec
        pieces = _LINE_END.split(self._text)  # line, end, line, end, ..., line
        output = _LINE_END_BYTES.split(self.raw[self._lead :])
        number = last = 0
        for place in range(0, len(pieces), 2):
            line = _tidy(pieces[place])
            if not line:
                continue
            segment = self._segments.get(number)
            number, last = number + 1, place
            if segment is not None and segment.changed:
                before, _, after = pieces[place].partition(line)
                output[place] = (before + segment.text + after).encode(codec)
        added = [self._at(place).text.encode(codec) for place in range(number, len(self._lines))]
        if added and last + 1 < len(output):
            end = output[last + 1]
            output[last + 1] += b"".join(line + end for line in added)
        elif added:
            end = output[1] if len(output) > 1 else b"\r"
            closed = output[last].rstrip(b"\x1c")
            output[last] = b"".join([closed, *(end + line for line in added), output[last][len(closed) :]])
        return self.raw[: self._lead] + b"".join(output)

    def copy(self) -> Message:
        """The message as it is now, to be changed on its own."""
        return Message(bytes(self), charset=self._override)

    def __repr__(self) -> str:
        return f"<HL7 message, {len(self.raw)} bytes, {len(self._lines)} segments>"


def _msh18(raw: bytes, start: int) -> str:
    line = _LINE_END_BYTES.split(raw[start:], maxsplit=1)[0]
    fields = line.split(line[3:4], 18)
    return fields[17].decode("latin-1") if len(fields) > 17 else ""


def _declared(raw: bytes, start: int, given: Delimiters) -> str | None:
    return charsets.declared(_msh18(raw, start), given.repetition)


def no_header(raw: bytes) -> HL7Error:
    """Why bytes without a plausible MSH are refused (HL7 table 0357 in `condition`)."""
    if form := charsets.wide(raw):
        return HL7Error(
            f"the message is encoded in {form}",
            code="hl7.charset.wide",
            where="MSH-18",
            todo="send it as UTF-8 and say UNICODE UTF-8 in MSH-18",
            ack="AR",
            condition="102",
        )
    empty = not raw.replace(BOM, b"").strip(BLANK)
    return HL7Error(
        "the message is empty" if empty else "there is no MSH segment",
        code="hl7.empty" if empty else "hl7.no_header",
        where="MSH",
        todo="an HL7v2 message begins with MSH and its separators",
        ack="AR",
        condition="100",
    )


def _lines(text: str) -> list[str]:
    for odd in _AROUND:
        if odd in text:
            return _odd_lines(text)
    lines = text.lstrip(LEADING).removeprefix("\r").split("\r")
    if not lines[-1]:
        lines.pop()
    if lines and min(lines) < "!":  # one is empty or begins with a blank
        return _odd_lines(text)
    return lines


def _odd_lines(text: str) -> list[str]:
    lines = text.replace("\r\n", "\r").replace("\n", "\r").split("\r")
    return [line for line in map(_tidy, lines) if line]


def _tidy(line: str) -> str:
    """A line without what surrounds a segment: BOM, MLLP bytes, blanks before it."""
    return line.lstrip(LEADING).rstrip("\x1c\x0b")
