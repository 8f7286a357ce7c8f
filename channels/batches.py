"""Batches on the way in: when a frame is one, and how its messages are answered together.

With FHS or BHS the answer is one batch of ACKs (HL7 v2.5.1 chapter 2.10.3.3); several bare messages in one
frame get an ACK of their own each, in their order. Messages of other formats that arrive together (rows of a file,
entries of a Bundle) get one answer, the worst.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.formats.base import Format, rank
from engine.hl7 import batch
from engine.hl7.peek import count_headers
from engine.model import Incoming

_BLANK = b" \t\r\n\x0b\x0c\x1c\xef\xbb\xbf"
_FIRST = frozenset(bytes([byte]) for byte in _BLANK + b"FB")


def is_batch(raw: bytes) -> bool:
    """Whether a frame holds a batch, or more than one message."""
    if raw[:3] == b"MSH":
        return raw.rfind(b"MSH") > 0 and count_headers(raw) > 1
    if raw[:1] not in _FIRST:
        return False
    head = raw.lstrip(_BLANK)[:3]
    return head in (b"FHS", b"BHS") or (head == b"MSH" and count_headers(raw) > 1)


class BatchAnswer:
    """Collects the answers of the messages of a batch and gives them as one."""

    def __init__(
        self,
        incoming: Incoming,
        parts: batch.Batch,
        count: int,
        wrap: Callable[[batch.Batch, list[bytes]], bytes],
    ) -> None:
        self.incoming = incoming
        self.parts = parts
        self.wrap = wrap
        self.enveloped = any(item.kind in ("FHS", "BHS", "BTS", "FTS") for item in parts.items)
        self.acks: list[bytes | None] = [None] * count
        self.missing = count

    def part(self, index: int, raw: bytes) -> Incoming:
        """What stands for the `index`th message."""
        return _Part(self, index, raw)

    def add(self, index: int, data: bytes | None) -> None:
        """The answer of one message; the last one sends them all."""
        self.acks[index] = data
        self.missing -= 1
        if not self.missing:
            acks = [data for data in self.acks if data is not None]
            self.incoming.answer(self.wrap(self.parts, acks) if self.enveloped else acks)


class Group:
    """Collects the answers of messages of another format that arrived together: the worst one is the answer.

    They are stored in one transaction, so either all are or none is.
    """

    def __init__(self, incoming: Incoming, count: int, form: Format) -> None:
        self.incoming = incoming
        self.format = form
        self.answers: list[bytes | None] = []
        self.missing = count

    def part(self, index: int, raw: bytes, reference: str = "") -> Incoming:
        """What stands for the `index`th message."""
        part = _Part(self, index, raw)
        part.reference = reference or part.reference
        return part

    def add(self, index: int, data: bytes | None) -> None:
        """The answer of one message; when one of them is not known, nobody can say anything of them all."""
        self.answers.append(data)
        self.missing -= 1
        if not self.missing:
            known = [answer for answer in self.answers if answer is not None]
            ranked = sorted(known, key=lambda answer: rank(self.format.verdict(answer)))
            self.incoming.answer(ranked[0] if ranked and len(known) == len(self.answers) else None)


class _Part(Incoming):
    """One message of a batch."""

    __slots__ = ("collector", "index", "reference")

    def __init__(self, collector: BatchAnswer | Group, index: int, raw: bytes) -> None:
        whole = collector.incoming
        super().__init__(raw, whole.peer, whole.received_at)
        self.reference = f"{whole.reference}.{index + 1}" if whole.reference else ""
        self.collector = collector
        self.index = index

    def answer(self, data: Any) -> None:
        """Hand the answer to the collector."""
        self.collector.add(self.index, data)


class Silent(Incoming):
    """Stored, but not answered by itself."""

    __slots__ = ()

    def __init__(self, incoming: Incoming) -> None:
        super().__init__(incoming.raw, incoming.peer, incoming.received_at)

    def answer(self, data: Any) -> None:
        """Nothing goes out."""
