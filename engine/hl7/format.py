"""The format `hl7v2`: what the intake and the pipeline of a channel ask of HL7 v2 messages.

Guarantees and refusals are those of `engine.hl7.peek`, `engine.hl7.er7` and `engine.hl7.ack`.
"""

from __future__ import annotations

from functools import partial

from engine.clock import Micros
from engine.errors import HL7Error
from engine.formats.base import Identity, Verdict, rank
from engine.hl7 import ack, batch, paths
from engine.hl7.er7 import Message
from engine.hl7.peek import Header, marks, peek, values


class Hl7v2:
    """HL7 v2 in ER7; `charset` overrides MSH-18."""

    name = "hl7v2"
    content_type = "application/hl7-v2; charset=utf-8"
    ordering_key = "PID-3.1"
    typed = False

    def __init__(self, charset: str = "") -> None:
        self.parse = partial(Message, charset=charset or None)
        self.peek = peek

    def identify(self, raw: bytes, header: Header, path: str) -> Identity:
        """PID-3.1, PV1-19.1 and the ordering key; a merge belongs to every patient that it names."""
        found = marks(raw)
        others = (path,) if path != "PID-3.1" else ()
        mrn, visit, *more = values(raw, ("PID-3.1", "PV1-19.1", *others), header, plain=found is not None)
        key = more[0] if more else mrn
        also: tuple[str, ...] = ()
        if key and _several(raw if found is None else found):
            also = tuple(patients(raw))
        return Identity(mrn, visit, key, also)

    def parts(self, raw: bytes) -> list[bytes]:
        """The messages of a file, with the segment terminator that HL7 wants (CR). The intake has a way of its
        own, which keeps what is around them: `channels.batches`."""
        found = batch.split(raw).messages or [raw]
        return [message.replace(b"\r\n", b"\r").replace(b"\n", b"\r") for message in found]

    def check(self, path: str) -> None:
        """Raises engine.hl7.paths.PathError."""
        paths.compile(path)

    def acknowledge(
        self, header: Header | None, code: str, error: HL7Error | None, ack_id: str, now: Micros
    ) -> bytes:
        """An acknowledgement in the form of the sender's version."""
        if header is not None:
            return ack.build(header, code, ack_id=ack_id, now=now, error=error)
        assert error is not None
        return ack.nak(code, error, ack_id=ack_id, now=now)

    def verdict(self, answer: bytes) -> Verdict:
        """Of a batch the worst: MSA-1, and ERR-3 (before 2.5: the code in ERR-1)."""
        found = []
        for one in batch.split(answer).messages or [answer]:
            message = Message(one)
            found.append(Verdict(message["MSA-1"], message["ERR-3.1"] or message["ERR-1.4.1"]))
        return min(found, key=rank)


def _several(found: bytes | list[bytes]) -> bool:
    """Whether another patient may be named: by the marks of a plain message, or by the bytes of any other."""
    return b"MRG" in found or found.count(b"PID") > 1


def patients(raw: bytes) -> list[str]:
    """Every patient identifier that a message names, prior ones (MRG) too."""
    try:
        message = Message(raw)
    except HL7Error:
        return []
    return [*message.all("PID-3.1"), *message.all("MRG-1.1")]
