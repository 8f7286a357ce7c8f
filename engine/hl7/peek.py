r"""The MSH alone, in a few microseconds: what an ACK, a duplicate check and an ordering key need.

Guarantees: a `Header` for everything whose message type can be known, whatever version, character set or
separators; nothing is invented (an empty MSH-10 stays empty). Refuses with `HeaderError`, which carries what
the answer must say, and the header when there is enough of it to name the sender's own MSA-2:

| input                                          | code             | MSA-1 | ERR-3 | header |
|------------------------------------------------|------------------|-------|-------|--------|
| nothing but blanks and MLLP bytes              | hl7.empty        | AR    | 100   | no     |
| UTF-16, UTF-32                                 | hl7.charset.wide | AR    | 102   | no     |
| no line begins with MSH and a separator        | hl7.no_header    | AR    | 100   | no     |
| `MSH|^~\&` and fewer than 9 fields             | hl7.header_short | AR    | 101   | yes    |
| something else before MSH                      | hl7.no_header    | AR    | 100   | yes    |
| MSH-9 empty                                    | hl7.no_type      | AR    | 101   | yes    |

MSH errors are rejections (AR): HL7 v2.5.1 chapter 2.9.2.2 has the receiver check the header before it takes
the message. ERR-3 is HL7 table 0357.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, NamedTuple

from engine.errors import HL7Error
from engine.hl7 import charset as charsets
from engine.hl7 import paths
from engine.hl7.delimiters import MLLP, Delimiters, delimiters, locate
from engine.hl7.er7 import Message, no_header
from engine.hl7.header import Header, Kind, header_of

__all__ = ["Header", "HeaderError", "count_headers", "header_of", "marks", "peek", "value", "values"]

MOST_KINDS: Final = 1000  # kept at once
LONGEST_KIND: Final = 512  # bytes of a header line that is kept
_LINE_END = re.compile(rb"[\r\n]")
_MARKS = re.compile(rb"\r[ \t\x0c]*(MSH|PID|MRG)")
_BATCH_HEADERS = re.compile(rb"(?:[ \t\r\n\x0b\x0c\x1c]|\xef\xbb\xbf|(?:FHS|BHS)[^\r\n]*[\r\n])*")


class HeaderError(HL7Error):
    """A message whose header cannot be used; `header` is what could be read of it, or None."""

    def __init__(
        self, what: str, *, code: str, where: str, todo: str, condition: str, header: Header | None = None
    ) -> None:
        super().__init__(what, code=code, where=where, todo=todo, ack="AR", condition=condition)
        self.header = header


_kinds: dict[bytes, Kind] = {}


def _known(raw: bytes) -> Header | None:
    """The header when this kind of message has been seen before; None: it must be read."""
    end = raw.find(b"\r")
    fields = raw[: end if end >= 0 else len(raw)].split(raw[3:4])
    if len(fields) < 10:
        return None
    datetime, control = fields[6], fields[9]
    fields[6] = fields[9] = b""
    kind = _kinds.get(raw[3:4].join(fields))
    if kind is None:
        return None
    try:
        header = Header(kind, control.decode("ascii"), datetime.decode("ascii"))
    except UnicodeDecodeError:
        return None
    return header if header.control.isprintable() and header.datetime.isprintable() else None


def _remember(line: bytes, header: Header) -> None:
    """Know this kind of message from now on."""
    if header.kind.plain and len(line) <= LONGEST_KIND:
        if len(_kinds) >= MOST_KINDS:  # senders are few; hostile ones must not fill the memory
            _kinds.clear()
        fields = line.split(line[3:4])
        fields[6] = b""
        if len(fields) > 9:
            fields[9] = b""
            _kinds[line[3:4].join(fields)] = header.kind


def peek(raw: bytes) -> Header:
    """The header of a message. Raises HeaderError, see the module's table."""
    if raw[:3] == b"MSH" and len(raw) > 3:
        header = _known(raw)
        if header is not None:
            return header
    start = locate(raw)
    if start < 0:
        raise _no_header(raw)
    found = _LINE_END.search(raw, start)
    line = (raw[start : found.start()] if found else raw[start:]).rstrip(MLLP)
    separator = line[3:4].decode("ascii")
    codec = ""
    if line.isascii() and charsets.ESC not in line:
        text = line.decode("ascii")
    else:
        split = line.split(line[3:4], 18)
        text, codec, _ = charsets.decode(line, split[17].decode("latin-1") if len(split) > 17 else "")
    fields = text.split(separator)
    plain = text.isascii() and text.isprintable()
    encoding = (
        line[4:].partition(line[3:4])[0].rstrip(MLLP).decode("latin-1")
    )  # bytes: MSH-18 is not for MSH-2
    header = header_of(fields, delimiters(separator, encoding), codec, plain)
    if start and not _BATCH_HEADERS.fullmatch(raw, 0, start):
        raise HeaderError(
            "there is something before the MSH segment",
            code="hl7.no_header",
            where="MSH",
            todo="an HL7v2 message begins with MSH",
            condition="100",
            header=header,
        )
    if len(fields) < 9:
        raise HeaderError(
            f"the MSH segment ends after field {len(fields)}",
            code="hl7.header_short",
            where="MSH-9",
            todo="send at least MSH-1 to MSH-12",
            condition="101",
            header=header,
        )
    if not header.message_code:
        raise HeaderError(
            "MSH-9 message type is empty",
            code="hl7.no_type",
            where="MSH-9",
            todo="send the message type, such as ADT^A01",
            condition="101",
            header=header,
        )
    if not start:
        _remember(line, header)
    return header


def _no_header(raw: bytes) -> HeaderError:
    error = no_header(raw)
    return HeaderError(
        error.what, code=error.code, where=error.where, todo=error.todo, condition=error.condition
    )


def marks(raw: bytes) -> list[bytes] | None:
    """The names MSH, PID and MRG where they begin a line, after the first line; None when `raw` is not plain.

    Plain: ASCII, lines end with CR alone, no MLLP bytes, no charset switches.
    """
    find = raw.find
    if (
        not raw.isascii()
        or find(b"\n") >= 0
        or find(b"\x1b") >= 0
        or find(b"\x1c") >= 0
        or find(b"\x0b") >= 0
    ):
        return None
    return _MARKS.findall(raw)


def value(raw: bytes, path: str, header: Header | None = None) -> str:
    """One value without a view of the whole message, as text: `` when absent, cleared or unreadable."""
    return values(raw, (path,), header, plain=marks(raw) is not None)[0]


def values(raw: bytes, paths: tuple[str, ...], header: Header | None, *, plain: bool) -> list[str]:
    """What `value` gives for each path; `plain` as `marks` says it.

    For ordering keys: segments are searched as bytes; anything unusual (`raw` is not plain, escapes, repetitions
    chosen by content, the segment's name anywhere before it) is read by `Message`.
    """
    if header is None or not plain:
        return [_careful(path, raw) for path in paths]
    kind = header.kind
    readers = kind.readers.get(paths)
    if readers is None:
        readers = kind.readers[paths] = [_reader(path, kind.delimiters) for path in paths]
    return [read(raw) for read in readers]


class _Plan(NamedTuple):
    """How a path is read from bytes."""

    name: bytes  # of the segment
    start: bytes  # how its line begins, with the end of the line before
    separator: bytes
    field: int
    escape: bytes
    repetition: bytes
    parts: tuple[tuple[bytes, int], ...]  # component and subcomponent: separator, number


@lru_cache(maxsize=1024)
def _reader(path: str, given: Delimiters) -> Callable[[bytes], str]:
    """What reads a path from the bytes of a plain message."""
    plan = _plan(path, given)
    careful = partial(_careful, path)
    if plan is None:
        return careful
    name, start, separator, field, escape, repetition, parts = plan

    def read(raw: bytes) -> str:
        at = raw.find(name)
        if at < 0:
            return ""
        if not at or not raw.startswith(start, at - 1):
            return careful(raw)
        end = raw.find(b"\r", at)
        fields = (raw[at:end] if end >= 0 else raw[at:]).split(separator, field + 1)
        if field >= len(fields):
            return ""
        text = fields[field]
        if escape in text:
            return careful(raw)
        if repetition in text:
            text = text.split(repetition, 1)[0]
        for by, number in parts:
            pieces = text.split(by, number)
            text = pieces[number - 1] if number <= len(pieces) else b""
        return "" if text == b'""' else text.decode("ascii")

    return read


def _plan(path: str, given: Delimiters) -> _Plan | None:
    """The plan for a path; None when only `Message` can read it."""
    compiled = paths.compile(path)
    if (
        compiled.where
        or compiled.segment in ("MSH", "FHS", "BHS")
        or compiled.occurrence > 1
        or compiled.repetition > 1
    ):
        return None
    name, separator, component, subcomponent, escape, repetition = (
        text.encode()  # a separator that no message has is not ASCII: it is never found
        for text in (
            compiled.segment, given.field, given.component, given.subcomponent, given.escape, given.repetition
        )
    )  # fmt: skip
    numbers = ((component, compiled.component), (subcomponent, compiled.sub if compiled.component else 0))
    parts = tuple((by, number) for by, number in numbers if number)
    return _Plan(name, b"\r" + name + separator, separator, compiled.field, escape, repetition, parts)


def _careful(path: str, raw: bytes) -> str:
    try:
        return str(Message(raw)[path])
    except HL7Error:
        return ""


def count_headers(raw: bytes) -> int:
    """How many messages the bytes hold: lines that begin with MSH and a plausible separator."""
    count = 0
    at = locate(raw)
    while at >= 0:
        count += 1
        at = locate(raw, at + 3)
    return count
