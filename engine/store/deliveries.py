"""A message on its way to a destination: C3 `deliver`, and what the lanes read to send.

Guarantees: only an open delivery (QUEUED, PENDING) changes, so what an operator decided meanwhile stands, and
the caller is told; the payload that is sent is the one that C2 stored, on every attempt.
"""

from __future__ import annotations

import msgspec

from engine.clock import Micros
from engine.model import Delivery
from engine.store import crashpoints
from engine.store.bodies import Kind, body_id
from engine.store.levels import settle
from engine.store.messages import NewMessage, unpack_keys
from engine.store.tx import Q, Tx, clean


class Delivered(msgspec.Struct):
    """How one attempt ended: SENT | QUEUED again (attempts, next_at, why) | PENDING | ERROR | DISCARDED."""

    message_id: int
    destination: str
    state: str
    at: Micros
    attempts: int = 1  # made so far, this one included
    next_at: Micros = 0
    error_code: str | None = None
    error_text: str | None = None
    error_place: str | None = None
    record: str | None = None
    note: str | None = None
    request: bytes = b""
    response: bytes = b""
    forwards: list[NewMessage] = []  # made with it: what response steps pass on


_EVENTS = {"QUEUED": "retry", "ERROR": "error", "DISCARDED": "discard"}


def deliver(tx: Tx, done: Delivered) -> bool:
    """C3: write how an attempt ended. False (and no change) when the delivery is not open any more."""
    if crashpoints.ARMED:
        tx.marks.add("c3")
    state = done.state
    ended = state not in ("QUEUED", "PENDING")
    changed = tx.execute(
        Q["finish_delivery"],
        (
            state, done.attempts, done.next_at, done.error_code, clean(done.error_text), clean(done.error_place),
            clean(done.record), clean(done.note), done.at if ended else None, done.message_id, done.destination,
        ),
    ).fetchall()  # fmt: skip
    if not changed:
        return False
    slot, channel = changed[0]
    if done.request or done.response:
        tx.put(done.message_id, Kind.EXCHANGE, done.request, slot=slot, channel=channel, second=done.response)
    if state == "SENT":
        tx.outcome(state, done.destination, (done.message_id >> 11,))
    kind = _EVENTS.get(state)
    tx.count(channel, "retry" if state == "QUEUED" else state.lower(), done.destination)
    if kind is not None:
        tx.event(
            kind, message_id=done.message_id, destination=done.destination, detail=done.error_code or "",
            at=done.at,
        )  # fmt: skip
    if ended and state != "ERROR":
        settle(tx, done.message_id, channel)
    return True


def open_deliveries(
    tx: Tx, channel: str, destination: str, after_id: int = 0, limit: int = 500
) -> list[Delivery]:
    """QUEUED and PENDING deliveries in order of receipt, with payload and ordering keys."""
    found = []
    for row in tx.rows(Q["open_deliveries"], (channel, destination, after_id, limit)):
        message_id, slot, attempts, next_at, key, also, blob = row
        payload = tx.codec.open(body_id(message_id, Kind.PAYLOAD, slot), blob)[0]
        keys = unpack_keys(key, also)
        found.append(Delivery(message_id, destination, keys, payload, attempts, next_at))
    return found


def payload(tx: Tx, message_id: int, destination: str) -> bytes | None:
    """What is, or was, to be sent."""
    return _body(tx, message_id, destination, Kind.PAYLOAD)[0]


def exchange(tx: Tx, message_id: int, destination: str) -> tuple[bytes | None, bytes | None]:
    """Request and response of the last attempt."""
    return _body(tx, message_id, destination, Kind.EXCHANGE)


def _body(tx: Tx, message_id: int, destination: str, kind: Kind) -> tuple[bytes | None, bytes | None]:
    row = tx.execute(Q["slot_of"], (message_id, destination)).fetchone()
    found = tx.get(message_id, kind, row[0]) if row else None
    return found or (None, None)
