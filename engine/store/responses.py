"""The answer of a delivery and what response steps make of it: the second C3.

    QUEUED -> PENDING (first C3: the exchange, and the verdict in the error columns) -> SENT | ERROR (second C3)

Guarantees: only a delivery that is PENDING still is ended here, and the messages that its steps pass on come to be
in the same transaction, so exactly once. A failed step leaves ERROR with a place that begins with `response`: a
resend of it (engine.store.operate) makes it PENDING again, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from engine.model import Meta
from engine.store import crashpoints
from engine.store.bodies import Kind
from engine.store.deliveries import Delivered, deliver
from engine.store.messages import NewMessage, add_part
from engine.store.messages import raw as raw_of
from engine.store.tx import Tx

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


def respond(tx: Tx, done: Delivered, forwards: Sequence[NewMessage]) -> list[int] | None:
    """The second C3: the ids of the messages that are passed on; None (and no change) when it is not PENDING."""
    pending = tx.rows(
        "SELECT 1 FROM delivery WHERE message_id = ? AND destination = ? AND state = 'PENDING'",
        (done.message_id, done.destination),
    )
    if crashpoints.ARMED:
        tx.marks.add("respond")
    if not pending or not deliver(tx, done):
        return None
    return [add_part(tx, new) for new in forwards]


def pending(tx: Tx, deliveries: Iterable[tuple[int, str]]) -> set[tuple[int, str]]:
    """Those of these (message id, destination) that are PENDING."""
    statement = "SELECT 1 FROM delivery WHERE message_id = ? AND destination = ? AND state = 'PENDING'"
    return {one for one in deliveries if tx.rows(statement, one)}
