"""The answer of a delivery and what response steps make of it: the second C3.

    QUEUED -> PENDING (first C3: the exchange, and the verdict in the error columns) -> SENT | ERROR (second C3)

Guarantees: only a delivery that is PENDING still is ended here, and the messages that its steps pass on come to be
in the same transaction, so exactly once. A failed step leaves ERROR with a place that begins with `response`: a
resend of it (engine.store.operate) makes it PENDING again, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import orjson

from engine.model import Meta
from engine.store import crashpoints
from engine.store.bodies import Kind
from engine.store.deliveries import Delivered
from engine.store.messages import add_part
from engine.store.messages import raw as raw_of
from engine.store.together import deliver_all
from engine.store.tx import Q, Tx

STEP = "response"
"""How the place of an error begins that a response step made."""


class Answered(msgspec.Struct):
    """An answer and what it belongs to. The verdict is an error when there is a `code`."""

    meta: Meta
    response: bytes
    record: str = ""
    code: str = ""
    text: str = ""
    place: str = ""
    attempts: int = 0
    raw: bytes = b""


def answered(tx: Tx, message_id: int, destination: str) -> Answered | None:
    """The answer that waits for its steps; None when the delivery is not PENDING any more."""
    rows = tx.rows(
        "SELECT m.id, m.channel, m.received_at, m.control_id, m.type, m.sender, m.peer, d.slot, d.attempts, d.record,"
        " d.error_code, d.error_text, d.error_place FROM delivery AS d JOIN message AS m ON m.id = d.message_id"
        " WHERE d.message_id = ? AND d.destination = ? AND d.state = 'PENDING'",
        (message_id, destination),
    )
    if not rows:
        return None
    *meta, slot, attempts, record, code, text, place = rows[0]
    exchange = tx.get(message_id, Kind.EXCHANGE, slot)
    response = exchange[1] if exchange else b""
    raw = raw_of(tx, message_id) or b""
    return Answered(Meta(*meta), response, record or "", code or "", text or "", place or "", attempts, raw)


def respond_all(tx: Tx, group: Sequence[Delivered]) -> list[list[int] | None]:
    """The second C3 of several deliveries: the ids of the messages that each passes on; None (and no change) for
    one that is not PENDING any more."""
    open_still = pending(tx, [(one.message_id, one.destination) for one in group])
    if crashpoints.ARMED:
        tx.marks.add("respond")
    ending = [one for one in group if (one.message_id, one.destination) in open_still]
    told = {
        (one.message_id, one.destination): ended
        for one, ended in zip(ending, deliver_all(tx, ending), strict=True)
    }
    return [
        [add_part(tx, new) for new in one.forwards] if told.get((one.message_id, one.destination)) else None
        for one in group
    ]


def pending(tx: Tx, deliveries: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of these (message id, destination) that are PENDING."""
    asked = orjson.dumps([list(one) for one in deliveries]).decode()
    return {
        (message_id, destination) for message_id, destination in tx.rows(Q["pending_deliveries"], (asked,))
    }
