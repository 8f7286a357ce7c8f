"""What all events of one HL7 message have alike.

Guarantee: `time` is when it happened (EVN-6, else EVN-2, else MSH-7), and when it arrived only if the sender
names no time; ids depend on the message's bytes alone.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b

from engine.model import Meta
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.maker import Maker

__all__ = ["Maker", "maker"]


def maker(read: Reader, meta: Meta, trigger: str) -> Maker:
    """Makes the events of the message that `read` reads."""
    segment = read.message.segment
    msh, evn = segment("MSH"), segment("EVN")
    time = (
        read.instant(evn, 6)
        or read.instant(evn, 2)
        or read.instant(msh, 7)
        or datetime.fromtimestamp(meta.received_at / 1_000_000, UTC)
    )
    control_id = read.plain(msh, 10)
    digest = blake2b(bytes(read.message), digest_size=16).hexdigest()
    source = f"{read.plain(msh, 3)}|{read.plain(msh, 4)}|{control_id}|{digest}"
    return Maker(source, time, control_id, trigger)
