"""Makes the events of one message: their ids, times and order.

Guarantee: `time` is when it happened (EVN-6, else EVN-2, else MSH-7), and when it arrived only if the sender
names no time; ids depend on the message's bytes alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from engine.model import Meta
from transforms.canonical.events import Event, event_id
from transforms.canonical.from_hl7.reader import Reader


class Maker:
    """Collects the events of one message."""

    __slots__ = ("correlation_id", "events", "source", "time", "trigger")

    def __init__(self, read: Reader, meta: Meta, trigger: str) -> None:
        segment = read.message.segment
        msh, evn = segment("MSH"), segment("EVN")
        self.trigger = trigger
        self.correlation_id = read.plain(msh, 10)
        self.time: datetime = (
            read.instant(evn, 6)
            or read.instant(evn, 2)
            or read.instant(msh, 7)
            or datetime.fromtimestamp(meta.received_at / 1_000_000, UTC)
        )
        digest = blake2b(bytes(read.message), digest_size=16).hexdigest()
        self.source = f"{read.plain(msh, 3)}|{read.plain(msh, 4)}|{self.correlation_id}|{digest}"
        self.events: list[Event] = []

    def event(self, type_: str, kind: str, key: str, **content: Any) -> None:
        """Add an event about `kind`/`key`."""
        n = len(self.events)
        who = content.get("patient")
        self.events.append(
            Event(
                id=event_id(self.source, type_, n),
                type=type_,
                time=self.time,
                n=n,
                subject=f"{kind}/{key}" if key else "",
                partition_key=who.key if who is not None else key,
                correlation_id=self.correlation_id,
                trigger=self.trigger,
                **content,
            )
        )
