"""Makes the events of one message, whatever its format: their ids, their order, whom they are about.

Guarantee: the id of an event depends on `source` (which holds a digest of the message's bytes), its type and its
place alone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from transforms.canonical.events import Event, event_id


class Maker:
    """Collects the events of one message."""

    __slots__ = ("correlation_id", "events", "origin", "source", "time", "trigger")

    def __init__(
        self, source: str, time: datetime, correlation_id: str, trigger: str, origin: str = "hl7v2"
    ) -> None:
        self.source = source
        self.time = time
        self.correlation_id = correlation_id
        self.trigger = trigger
        self.origin = origin
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
                origin=self.origin,
                trigger=self.trigger,
                **content,
            )
        )
