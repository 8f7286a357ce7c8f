"""Targets that read headers and make ACKs: peek, value and the view say the same; an answer can be read."""

from __future__ import annotations

from random import Random
from typing import Any

from engine.errors import HL7Error
from engine.hl7 import ack
from engine.hl7.delimiters import locate
from engine.hl7.er7 import Message
from engine.hl7.escapes import unescape
from engine.hl7.mllp import frameable
from engine.hl7.peek import Header, HeaderError, count_headers, peek, value
from engine.model import CLEAR

from .mutate import message, noise
from .runner import Target

KEYS = [
    "PID-3.1",
    "PV1-19.1",
    "PID-3",
    "PID-5.1.2",
    "MRG-1.1",
    "PID-3[2].1",
    "PID[2]-3.1",
    "MSH-10",
    "PID-3.4.2",
    "OBX-5",
]


def make_header(rng: Random) -> bytes:
    return message(rng) if rng.random() < 0.9 else noise(rng)


def header_of(raw: bytes) -> tuple[Header | None, HeaderError | None]:
    try:
        return peek(raw), None
    except HeaderError as error:
        return error.header, error


def check_header(raw: bytes) -> None:
    header, error = header_of(raw)
    count_headers(raw)
    if error is not None:
        assert error.code in (
            "hl7.empty",
            "hl7.charset.wide",
            "hl7.no_header",
            "hl7.header_short",
            "hl7.no_type",
        )
    if header is None:
        assert locate(raw) < 0
        return
    view = Message(raw)
    assert view.delimiters == header.delimiters
    if error is None:
        assert view.encoded("MSH-9"), "the view does not see the header"
        if header.codec in ("", view.codec):
            short, long = unescape(header.message_code, header.delimiters, view.codec), view["MSH-9.1"]
            assert short.strip() == long.strip() or view["MSH-9"] is CLEAR, f"{short!r} {long!r}"
    for path in KEYS:
        short, long = value(raw, path, header), str(view[path])
        assert short == long, f"{path}: value says {short!r}, the view says {long!r}"


# ACK: what is built is read again, whatever the sender's header is.

ERRORS: list[Any] = [
    None,
    HL7Error(
        "something is wrong with ä|^~\\&",
        code="x.y",
        where="PID[2]-3[1].4.2",
        todo="look… here",
        condition="198",
    ),
    HL7Error("é" * 400, code="hl7.set", where="MSH", todo="\r\n\x0b", condition="207"),
    HL7Error("x", where="odd place", condition="999"),
]


def make_ack(rng: Random) -> tuple[bytes, str, int, str]:
    raw = message(rng, 4_000) if rng.random() < 0.95 else noise(rng)
    return (
        raw,
        rng.choice(sorted(ack.CODES)),
        rng.randrange(len(ERRORS)),
        rng.choice(("", "fine", "a|b\r^ü…")),
    )


def check_ack(item: tuple[bytes, str, int, str]) -> None:
    raw, code, which, note = item
    header, problem = header_of(raw)
    error = ERRORS[which] if problem is None else problem
    if header is None:
        answer = ack.nak("AR", error, ack_id="I1", now=10**15)
        code, sent_id = "AR", ""
    else:
        answer = ack.build(header, code, ack_id="I1", now=10**15, error=error, text=note)
        sent_id = Message(raw)["MSH-10"].strip() if problem is None else None
    if header is not None and header.codec in ("gbk", "gb18030", "big5", "shift_jis"):
        line = raw[locate(raw) :].replace(b"\n", b"\r").partition(b"\r")[0]
        if (
            len(header.separator.join(map(header.field, range(2, 19))).encode(header.codec).split(line[3:4]))
            != 17
        ):
            return  # a byte of a character looks like a separator: nobody can say which field MSH-18 is
    again = peek(answer)
    assert again.message_code == "ACK" and again.control_id == "I1", f"{again!r} {again.control_id}"
    assert count_headers(answer) == 1
    found = ack.read(answer)
    assert found.code == code
    if raw.isascii():
        assert sent_id in (None, found.control_id), f"{found} {sent_id!r}"
    elif header is not None and b"\x0b" not in raw and b"\x1c" not in raw:
        echoed = answer.split(b"\r")[1].split(header.separator.encode())[2]
        assert echoed == header.field(10).encode(header.codec or "ascii"), "MSA-2 is not MSH-10"
    if b"\x0b" not in raw:
        assert frameable(answer), "cannot be framed"
    if header is not None:
        assert again.delimiters[:5] == header.delimiters[:5]
        if b"\x0b" not in raw and b"\x1c" not in raw and again.codec in ("", header.codec):
            assert again.field(5) == header.field(3) and again.field(4) == header.field(6), "parties"
            assert again.version == header.version and again.trigger in ("", header.trigger)
    if code[1] != "A":
        assert Message(answer).segments("ERR"), "no ERR"


TARGETS = [
    Target("header", make_header, check_header),
    Target("ack", make_ack, check_ack),
]
