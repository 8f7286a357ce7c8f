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
from functools import lru_cache

from engine.errors import HL7Error
from engine.hl7 import charset as charsets
from engine.hl7 import paths
from engine.hl7.delimiters import MLLP, Delimiters, delimiters, locate
from engine.hl7.er7 import Message, no_header

_LINE_END = re.compile(rb"[\r\n]")
_BATCH_HEADERS = re.compile(rb"(?:[ \t\r\n\x0b\x0c\x1c]|\xef\xbb\xbf|(?:FHS|BHS)[^\r\n]*[\r\n])*")


class HeaderError(HL7Error):
    """A message whose header cannot be used; `header` is what could be read of it, or None."""

    def __init__(
        self, what: str, *, code: str, where: str, todo: str, condition: str, header: Header | None = None
    ) -> None:
        super().__init__(what, code=code, where=where, todo=todo, ack="AR", condition=condition)
        self.header = header


class Header:
    """MSH, read when asked. Texts are as in the message, escapes not resolved; what is not there is ``."""

    __slots__ = ("_fields", "codec", "control_id", "delimiters")

    def __init__(self, fields: list[str], given: Delimiters, codec: str) -> None:
        self._fields = fields  # fields[n] is MSH-(n+1)
        self.delimiters = given
        self.codec = codec  # the Python codec that the header was read with
        self.control_id = fields[9].strip() if len(fields) > 9 else ""

    def _field(self, number: int) -> str:
        fields = self._fields
        return fields[number - 1] if number <= len(fields) else ""

    def _of_type(self, component: int) -> str:
        parts = self._field(9).split(self.delimiters.repetition, 1)[0].split(self.delimiters.component)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def separator(self) -> str:
        """MSH-1."""
        return self.delimiters.field

    @property
    def encoding_characters(self) -> str:
        """MSH-2 as it should have been written."""
        return self.delimiters.encoding_characters

    @property
    def sending_application(self) -> str:
        """MSH-3."""
        return self._field(3)

    @property
    def sending_facility(self) -> str:
        """MSH-4."""
        return self._field(4)

    @property
    def receiving_application(self) -> str:
        """MSH-5."""
        return self._field(5)

    @property
    def receiving_facility(self) -> str:
        """MSH-6."""
        return self._field(6)

    @property
    def datetime(self) -> str:
        """MSH-7, as text."""
        return self._field(7)

    @property
    def message_code(self) -> str:
        """MSH-9.1: `ADT`."""
        return self._of_type(1)

    @property
    def trigger(self) -> str:
        """MSH-9.2: `A01`."""
        return self._of_type(2)

    @property
    def structure(self) -> str:
        """MSH-9.3: `ADT_A01`."""
        return self._of_type(3)

    @property
    def type(self) -> str:
        """`ADT^A01`, or the message code alone when there is no trigger event."""
        parts = self._field(9).split(self.delimiters.repetition, 1)[0].split(self.delimiters.component, 2)
        trigger = parts[1].strip() if len(parts) > 1 else ""
        return f"{parts[0].strip()}^{trigger}" if trigger else parts[0].strip()

    @property
    def processing_id(self) -> str:
        """MSH-11."""
        return self._field(11)

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self._field(12).split(self.delimiters.component, 1)[0].strip()

    @property
    def accept_ack(self) -> str:
        """MSH-15 (HL7 table 0155: AL, NE, ER, SU)."""
        return self._field(15).strip()

    @property
    def application_ack(self) -> str:
        """MSH-16 (HL7 table 0155)."""
        return self._field(16).strip()

    @property
    def charset(self) -> str:
        """MSH-18, as text."""
        return self._field(18)

    @property
    def sender(self) -> str:
        """`APP|FACILITY`: who sent it, as duplicate checks and statistics name it."""
        return f"{self._field(3)}|{self._field(4)}"

    def field(self, number: int) -> str:
        """MSH-`number` as in the message."""
        return self.delimiters.field if number == 1 else self._field(number)

    def __repr__(self) -> str:
        return f"<header {self.type} {self.version}>"


def peek(raw: bytes) -> Header:
    """The header of a message. Raises HeaderError, see the module's table."""
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
    header = Header(fields, delimiters(separator, fields[1].rstrip("\x0b\x1c")), codec)
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
    return header


def _no_header(raw: bytes) -> HeaderError:
    error = no_header(raw)
    return HeaderError(
        error.what, code=error.code, where=error.where, todo=error.todo, condition=error.condition
    )


def value(raw: bytes, path: str, header: Header | None = None) -> str:
    """One value without a view of the whole message, as text: `` when absent, cleared or unreadable.

    For ordering keys: segments are searched as bytes; anything unusual (a charset that is not ASCII, escapes,
    repetitions chosen by content, the segment's name anywhere before it) is read by `Message`.
    """
    plan = _plan(path, header.delimiters) if header is not None else None
    if plan is None or not raw.isascii() or charsets.ESC in raw:
        return _careful(raw, path)
    name, start, separator, compiled, given = plan
    at = raw.find(name)
    if at < 0:
        return ""
    if not at or not raw.startswith(start, at - 1):
        return _careful(raw, path)
    end = raw.find(b"\r", at)
    line = raw[at : end if end >= 0 else len(raw)]
    field = compiled.field
    parts = line.split(separator, field + 1)
    if b"\n" in line or b"\x1c" in line or b"\x0b" in line:
        return _careful(raw, path)
    if field >= len(parts):
        return ""
    text = parts[field].decode("ascii")
    if given.escape in text:
        return _careful(raw, path)
    if given.repetition in text:
        text = text.split(given.repetition, 1)[0]
    if compiled.component:
        components = text.split(given.component, compiled.component)
        text = components[compiled.component - 1] if compiled.component <= len(components) else ""
        if compiled.sub:
            subs = text.split(given.subcomponent, compiled.sub)
            text = subs[compiled.sub - 1] if compiled.sub <= len(subs) else ""
    return "" if text == '""' else text


@lru_cache(maxsize=1024)
def _plan(path: str, given: Delimiters) -> tuple[bytes, bytes, bytes, paths.Path, Delimiters] | None:
    """What `value` looks for; None when only `Message` can read the path."""
    compiled = paths.compile(path)
    if (
        compiled.where
        or compiled.segment in ("MSH", "FHS", "BHS")
        or compiled.occurrence > 1
        or compiled.repetition > 1
    ):
        return None
    name, separator = compiled.segment.encode("ascii"), given.field.encode("ascii")
    return name, b"\r" + name + separator, separator, compiled, given


def _careful(raw: bytes, path: str) -> str:
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
