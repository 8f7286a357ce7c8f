r"""Files and frames that hold more than one message (HL7 v2.5.1 chapter 2.10.3): cut, and answered as one.

Guarantees: nothing is dropped. Every line of the input is in exactly one item, in order: a message (MSH and
what follows it), a header or trailer (FHS, BHS, BTS, FTS), or junk. Bytes of a message are as they came, with
their own line ends; only MLLP bytes around it are taken off. Refuses nothing: what is wrong is a warning.

| input                                       | items                                           | warning |
|---------------------------------------------|-------------------------------------------------|---------|
| FHS BHS MSH.. MSH.. BTS FTS                 | headers, messages, trailers                     | none    |
| a header or a trailer without its partner   | the same                                        | yes     |
| several MSH without a batch header          | messages                                        | none    |
| text before the first MSH, or after BTS/FTS | junk                                            | yes     |
| `MSH` without a plausible separator         | belongs to the message or the junk it stands in | none    |
| BTS-1 is not the number of messages         | the same                                        | yes     |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from engine.clock import Micros
from engine.hl7.ack import sent_at
from engine.hl7.delimiters import STANDARD, delimiters, locate

Kind = Literal["message", "FHS", "BHS", "BTS", "FTS", "junk"]

_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_STARTS = re.compile(
    rb"(?:\xef\xbb\xbf|[ \t\x0b\x0c\x1c])*(?:(MSH|FHS|BHS)[!#-/:-@\[-`{-~]|(BTS|FTS)(?![A-Za-z0-9]))"
)
_MLLP = b"\x0b\x1c"
_AROUND = b"\x0b\x1c \t\r\n"


class Item(NamedTuple):
    """One piece of the input: its kind, its bytes, and the number of its first line."""

    kind: Kind
    raw: bytes
    line: int  # 1-based


class Batch(NamedTuple):
    """What a file or frame holds, in order."""

    items: list[Item]
    warnings: list[str]

    @property
    def messages(self) -> list[bytes]:
        """The messages alone."""
        return [item.raw for item in self.items if item.kind == "message"]

    @property
    def junk(self) -> list[Item]:
        """What belongs to no message."""
        return [item for item in self.items if item.kind == "junk"]

    def header(self, kind: Kind) -> bytes:
        """The first header or trailer of that kind, or nothing."""
        return next((item.raw for item in self.items if item.kind == kind), b"")


def split(raw: bytes) -> Batch:
    """Cut a file or frame into messages, headers, trailers and junk."""
    items: list[Item] = []
    current: list[bytes] = []
    kind: Kind = "junk"
    first = 1

    def close() -> None:
        whole = b"".join(current)
        if kind == "junk" and not whole.replace(b"\xef\xbb\xbf", b"").strip(_AROUND):
            return
        items.append(Item(kind, _unframed(whole), first))

    for number, line in _pieces(raw):
        start = _STARTS.match(line)
        ended = kind in ("FHS", "BHS", "BTS", "FTS")
        if start or (ended and line.strip(_AROUND)):
            close()
            current, first = [], number
            name = (start[1] or start[2]).decode("ascii") if start else "junk"
            kind = "message" if name == "MSH" else name  # type: ignore[assignment]
        current.append(line)
    close()
    return Batch(items, _warnings(items))


def _pieces(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers; a start or end block inside a line ends it too, as frames of a capture stand
    side by side (an end block alone only when a message follows)."""
    for number, line in enumerate(_LINE.findall(raw), 1):
        framed = b"\x0b" in line[1:] or (b"\x1c" in line and locate(line, 1) > 0)
        pieces = re.split(rb"(?<=\x1c)(?=[^\x1c\r\n])|(?=\x0b)", line) if framed else [line]
        yield from ((number, piece) for piece in pieces if piece)


def _unframed(raw: bytes) -> bytes:
    """Without the MLLP bytes around it and the blank rest after them; everything else stays."""
    if not any(byte in raw for byte in _MLLP):
        return raw
    head = raw.lstrip(b"\x0b\x1c\r\n")
    at = head.find(b"\x1c")
    if at >= 0 and not head[at:].strip(_AROUND):
        head = head[:at]
    return head


def _warnings(items: list[Item]) -> list[str]:
    kinds = [item.kind for item in items]
    found = []
    for header, trailer in (("FHS", "FTS"), ("BHS", "BTS")):
        begun, ended = kinds.count(header), kinds.count(trailer)  # type: ignore[arg-type]
        if begun > ended:
            found.append(f"{header} without {trailer}: the file may have been cut off")
        elif ended > begun:
            found.append(f"{trailer} without {header}")
    found += [f"line {item.line}: text that belongs to no message" for item in items if item.kind == "junk"]
    count = 0
    for item in items:
        if item.kind == "BHS":
            count = 0
        elif item.kind == "message":
            count += 1
        elif item.kind == "BTS":
            said = item.raw.split(item.raw.strip(_AROUND)[3:4] or b"|")[1:2]
            if said and re.fullmatch(rb"\s*\d{1,9}\s*", said[0]) and int(said[0]) != count:
                found.append(f"BTS-1 says {int(said[0])} messages, there are {count}")
            count = 0
    return found


def acknowledge(batch: Batch, acks: list[bytes], *, ack_id: str, now: Micros) -> bytes:
    """The batch acknowledgement: BHS, the acknowledgements of the messages, BTS with their number.

    BHS names the receiver as sender and the other way round; BHS-11 is `ack_id`, BHS-12 the request's BHS-11
    (chapter 2.15.2). Inside FHS/FTS when the request was. `now` is microseconds since the epoch.
    """
    body = b"".join(acks)
    for header, trailer in (("BHS", "BTS"), ("FHS", "FTS")):
        request = batch.header(header)  # type: ignore[arg-type]
        if header == "FHS" and not request:
            break
        count = len(acks) if header == "BHS" else 1
        begin = _reply(header, request, ack_id, now)
        separator = begin[3:4]
        body = begin + b"\r" + body + trailer.encode() + separator + str(count).encode() + b"\r"
    return body


def _reply(name: str, request: bytes, ack_id: str, now: Micros) -> bytes:
    line = re.split(rb"[\r\n\x0b\x1c]", request.lstrip(b"\xef\xbb\xbf \t\x0b\x0c\x1c"), maxsplit=1)[0]
    separator = line[3:4] or b"|"
    fields = line.split(separator)
    fields += [b""] * (12 - len(fields))  # fields[n] is BHS-(n+1)
    given = delimiters(separator.decode("ascii"), fields[1].decode("latin-1") if request else STANDARD)
    reply = [
        name.encode(),
        given.encoding_characters.encode("latin-1"),
        fields[4],
        fields[5],
        fields[2],
        fields[3],
    ]
    reply += [sent_at(now, given).encode(), b"", b"", b"", ack_id.encode(), fields[10]]
    return separator.join(reply)
