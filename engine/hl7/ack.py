r"""Acknowledgements in the form of the sender's version, 2.1 to 2.9 (HL7 v2.5.1 chapter 2.9, 2.15.1, 2.15.5).

Guarantees: sender and receiver swapped, the sender's delimiters and character set, MSH-11 and MSH-12 echoed,
MSA-2 is the sender's MSH-10 as it came (empty when it was empty, never invented); free text is escaped. Every
code but AA and CA carries an ERR segment. Refuses (ValueError): a code that is not in HL7 table 0008.

| version    | MSH-9         | MSA-3 | ERR                                                            |
|------------|---------------|-------|----------------------------------------------------------------|
| 2.1, 2.2   | ACK           | text  | ERR-1 segment^sequence^field^code                              |
| 2.3        | ACK^A01       | text  | ERR-1 segment^sequence^field^code&text&HL70357                 |
| 2.3.1, 2.4 | ACK^A01^ACK   | text  | the same                                                       |
| 2.5, 2.6   | ACK^A01^ACK   | text  | ERR-2 location, ERR-3 code, ERR-4 E, ERR-5 our code, ERR-7/8   |
| 2.7 and on | ACK^A01^ACK   | none  | the same                                                       |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from engine.clock import Micros
from engine.errors import HL7Error
from engine.hl7.delimiters import STANDARD, Delimiters, delimiters
from engine.hl7.er7 import Message
from engine.hl7.escapes import escape
from engine.hl7.peek import Header, Kind, header_of

CODES = frozenset({"AA", "AE", "AR", "CA", "CE", "CR"})
TABLE_0357 = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "104": "Value too long",
    "198": "Non-Conformant Cardinality",
    "199": "Other HL7 Error",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
_PLACE = re.compile(
    r"([A-Z][A-Z0-9]{2})(?:\[(\d+)\])?(?:[-.](\d+)(?:\[(\d+)\])?(?:\.(\d+)(?:\.(\d+))?)?)?(?![\w-])"
)
_MODERN = (2, 5, 1)
OFFSET = "+0000"  # all times are UTC


class Reply(NamedTuple):
    """What an acknowledgement says: MSA-1, MSA-2 and the error text, empty when there is none."""

    code: str
    control_id: str
    text: str


@lru_cache(maxsize=256)
def _version(text: str) -> tuple[int, ...]:
    """A version as numbers; a missing or strange one is answered as 2.5.1."""
    if not re.fullmatch(r"2(\.\d{1,3}){1,2}", text):
        return _MODERN
    return tuple(int(part) for part in text.split("."))


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y%m%d%H%M%S")


def stamp(at: Micros) -> str:
    """`at` as HL7 writes it, to the second, UTC, without its offset."""
    return _second(at // 1_000_000)


def sent_at(now: Micros, given: Delimiters) -> str:
    """`stamp` with its offset, unless the plus sign is a delimiter of the message."""
    return stamp(now) if "+" in given[:5] else f"{stamp(now)}{OFFSET}"


def build(
    header: Header,
    code: str,
    *,
    ack_id: str,
    now: Micros,
    error: HL7Error | None = None,
    text: str = "",
) -> bytes:
    """The acknowledgement of the message with this header, with its final CR.

    `code` is MSA-1, `ack_id` the MSH-10 of the answer, `now` microseconds since the epoch; `text` goes to
    MSA-3 where the version has it; `error` makes the ERR segment.
    """
    if code not in CODES:
        raise ValueError(f"{code!r} is not an acknowledgement code (HL7 table 0008)")
    kind = header.kind
    form = kind.form
    if form is None:
        form = kind.form = _form(kind)
    sent = _second(now // 1_000_000)
    lines = f"{form.before_time}{sent}{form.before_id}{ack_id}{form.before_code}{code}{form.field}{header.control}"
    if error is None and code[1] == "A" and not text:
        return f"{lines}\r".encode("ascii") if kind.plain else _encode(f"{lines}\r", header)
    given, version = kind.delimiters, form.version
    if error is None and code[1] == "A":
        if version < (2, 7):
            lines += form.field + _plain(text, given, 80)
        return _encode(lines + "\r", header)
    problem = error or HL7Error(text or "the message was not accepted", ack=code)
    if version < (2, 7):
        lines += form.field + _plain(text or problem.what, given, 80)
    errors = [_err(one, version, given) for one in problem.each or (problem,)]
    if version < (2, 5):  # one ERR segment, whose ERR-1 repeats
        errors = ["ERR" + given.field + given.repetition.join(one[4:] for one in errors)]
    return _encode("\r".join((lines, *errors, "")), header)


class _Form(NamedTuple):
    """What all acknowledgements to one kind of message have in common."""

    before_time: str
    before_id: str  # from MSH-7 to MSH-10
    before_code: str  # from there to MSA-1
    field: str
    version: tuple[int, ...]


def _form(kind: Kind) -> _Form:
    given, field = kind.delimiters, kind.field
    f, c = given.field, given.component
    version_id, charset = field(12), field(18)
    version = _version(version_id.split(c, 1)[0].strip())
    parts = field(9).split(given.repetition, 1)[0].split(c)
    trigger = parts[1].strip() if len(parts) > 1 else ""
    code = "ACK"
    if version >= (2, 3) and trigger:
        code = f"ACK{c}{trigger}" if version < (2, 3, 1) else f"ACK{c}{trigger}{c}ACK"
    offset = "" if version < (2, 2) or "+" in given[:5] else OFFSET
    tail = f"{f * 6}{charset}" if charset and version >= (2, 3) else ""
    return _Form(
        f"MSH{f}{given.encoding_characters}{f}{field(5)}{f}{field(6)}{f}{field(3)}{f}{field(4)}{f}",
        f"{offset}{f}{f}{code}{f}",
        f"{f}{field(11)}{f}{version_id}{tail}\rMSA{f}",
        f,
        version,
    )


def nak(code: str, error: HL7Error, *, ack_id: str, now: Micros) -> bytes:
    """The answer to bytes without a readable header: version 2.5.1, nobody named, MSA-2 empty."""
    header = getattr(error, "header", None)
    if header is None:
        given = delimiters("|", STANDARD)
        header = header_of(["MSH", STANDARD, *[""] * 8, "P", "2.5.1"], given)
    return build(header, code, ack_id=ack_id, now=now, error=error)


def _err(error: HL7Error, version: tuple[int, ...], given: Delimiters) -> str:
    f, c, s = given.field, given.component, given.subcomponent
    condition = error.condition
    meaning = _plain(TABLE_0357.get(condition, ""), given, 80)
    place = _PLACE.match(error.where)
    segment, occurrence, field, repetition, component, sub = place.groups() if place else (None,) * 6
    if version < (2, 5):
        identified = condition if version < (2, 3) else f"{condition}{s}{meaning}{s}HL70357"
        return (
            f"ERR{f}{segment or ''}{c}{(occurrence or '1') if segment else ''}{c}{field or ''}{c}{identified}"
        )
    location = ""
    if segment:
        parts = [segment, occurrence or "1"]
        if field:
            parts += [field, repetition or "1"] + [part for part in (component, sub) if part]
        location = c.join(parts)
    ours = _plain(error.code, given, 80)
    todo, what = _plain(error.todo, given, 250), _plain(error.what, given, 250)
    return f"ERR{f}{f}{location}{f}{condition}{c}{meaning}{c}HL70357{f}E{f}{ours}{c}{c}L{f}{f}{todo}{f}{what}"


def _plain(text: str, given: Delimiters, length: int) -> str:
    text = " ".join(text.replace("…", "...").split())
    return escape(text if len(text) <= length else text[: length - 3] + "...", given)


def _encode(lines: str, header: Header) -> bytes:
    for byte in "\x0b\x1c":  # of the sender's own header, and MLLP could not carry them
        if byte in lines:
            lines = lines.replace(byte, escape(byte, header.delimiters))
    if lines.isascii():
        return lines.encode("ascii")
    codec = header.codec
    if not codec:
        from engine.hl7.charset import declared

        codec = declared(header.charset) or "ascii"
    return lines.encode(codec, "replace")


def read(ack: bytes) -> Reply:
    """What an acknowledgement says. Raises HL7Error when it is none."""
    message = Message(ack)
    code = message["MSA-1"].strip().upper()
    if code not in CODES:
        raise HL7Error(
            "the answer has no acknowledgement code in MSA-1",
            code="hl7.not_an_ack",
            where="MSA-1",
            todo="look at the answer of the receiving system",
        )
    text = ""
    if code[1] != "A":
        places = ("ERR-8", "MSA-3", "ERR-7", "ERR-3.2", "ERR-3.1", "ERR-1.4.2", "ERR-1.4", "ERR-1")
        text = next((str(found) for place in places if (found := message[place])), "")
    return Reply(code, message["MSA-2"].strip(), text or (message["MSA-3"] and str(message["MSA-3"])))
