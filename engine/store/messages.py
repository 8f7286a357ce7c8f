"""A message from its bytes to its routing: C1 `receive`, C2 `route`, and what recovery reads.

Guarantees: the same bytes under the same control id make one row, however often they are sent and however
closely together; a message is routed once; what is counted is committed with what it counts.
Refuses nothing that has bytes: a message that cannot be read arrives in state ERROR.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from engine.clock import Micros
from engine.errors import StoreError
from engine.states import DeliveryState, MessageState
from engine.store import crashpoints
from engine.store.bodies import MAX_SLOT, Kind
from engine.store.columns import Found
from engine.store.columns import write as write_columns
from engine.store.levels import settle
from engine.store.tx import Q, Tx, clean

ID_REUSED = 1
"""Flag: the control id had been used before with other bytes."""
BAD_FRAME = 2
"""Flag: refused for its framing, so the same bytes in a good frame are another message."""
PART = 8
"""Flag: made of another message (`parent_id`) by a step, not its replay."""
EDITED = 16
"""Flag: an edited copy of its parent."""
REUSED_CODE = "duplicate.control_id"
DEFAULT_WINDOW: Micros = 7 * 86_400_000_000
"""How long a control id is remembered: a week, in microseconds."""


class NewMessage(msgspec.Struct):
    """What C1 stores. `mrn` and `visit` are text here and blind numbers in the database."""

    channel: str
    raw: bytes
    received_at: Micros
    control_id: str = ""
    type: str = ""
    sender: str = ""
    peer: str = ""
    ordering_key: int = 0  # keyring.blind(text)
    also_keys: tuple[int, ...] = ()
    mrn: str = ""
    visit: str = ""
    ack: bytes | None = None  # the answer, when it is known at C1
    ack_code: str | None = None
    state: str = MessageState.RECEIVED  # or ERROR; TRANSFORMED when there is nothing to do with it
    error_code: str | None = None
    error_text: str | None = None
    error_place: str | None = None
    parent_id: int | None = None
    config_version: str | None = None
    framed: bool = True  # False: an error of the wire, which is not in the bytes


class Received(msgspec.Struct):
    """What became of it. `duplicate_of` is 0 for a new message.

    `ack` is what to answer: the new message's own, or the stored one of the message it duplicates; None when
    that is not known yet (`routed` mode: answer when the first one is routed) or was never given.
    `differs`: the control id was used before with other bytes.
    """

    id: int
    duplicate_of: int = 0
    ack: bytes | None = None
    ack_code: str | None = None
    differs: bool = False
    state: str = MessageState.RECEIVED


class NewDelivery(msgspec.Struct):
    """One destination of a routed message, and what is to be sent there."""

    destination: str
    payload: bytes
    next_at: Micros = 0


class Routed(msgspec.Struct):
    """What C2 stores: FILTERED(reason) | ERROR(code, text, place) | TRANSFORMED with deliveries."""

    id: int
    state: str
    at: Micros
    deliveries: list[NewDelivery] = []
    reason: str | None = None
    error_code: str | None = None
    error_text: str | None = None
    error_place: str | None = None
    ack: bytes | None = None  # in `routed` mode: the answer, known only now
    ack_code: str | None = None
    config_version: str | None = None
    columns: Sequence[Found] = ()


class Unrouted(msgspec.Struct):
    """A RECEIVED message as the router needs it."""

    id: int
    received_at: Micros
    control_id: str
    type: str
    sender: str
    peer: str
    ordering_keys: tuple[int, ...]
    attempts: int
    raw: bytes


def receive(
    tx: Tx,
    new: NewMessage,
    *,
    window: Micros = DEFAULT_WINDOW,
    on_reuse: Literal["accept", "reject"] = "accept",
    reuse_ack: bytes | None = None,
    reuse_ack_code: str | None = None,
) -> Received:
    """C1: store one message, or find that it is stored already.

    `on_reuse`: what to do with other bytes under a control id that was seen within `window` microseconds:
    `accept` it with a flag, or `reject`: store it as ERROR, answered with `reuse_ack`.
    """
    if crashpoints.ARMED:
        tx.marks.add("c1")
    digest = tx.digest(new.raw)
    flags = 0 if new.framed else BAD_FRAME
    control_id, sender = clean(new.control_id), clean(new.sender)
    if control_id:
        earlier = tx.rows(Q["same_control_id"], (control_id, new.channel, sender, new.received_at - window))
        if new.framed:
            earlier = [row for row in earlier if not row[2] & BAD_FRAME]
        if earlier:
            for known, known_digest, _, state in earlier:
                if known_digest == digest:
                    tx.count(new.channel, "duplicate")
                    ack, code = ack_of(tx, known)
                    return Received(known, known, ack, code, False, state)
            flags |= ID_REUSED
    state, ack, code = new.state, new.ack, new.ack_code
    error = (new.error_code, clean(new.error_text), clean(new.error_place))
    if flags & ID_REUSED:
        tx.count(new.channel, "id_reused")
        if on_reuse == "reject":
            state, ack, code = MessageState.ERROR, reuse_ack, reuse_ack_code
            error = (REUSED_CODE, "this control id was used before with other content", "MSH-10")
    row = row_of(tx, new, digest, state, flags, error, code)
    message_id = tx.execute(Q["insert_message"], row).lastrowid
    assert message_id is not None
    tx.kind(new.channel, new.type, message_id)
    tx.put(message_id, Kind.RAW, new.raw, channel=new.channel, second=ack)
    tx.count(new.channel, "received")
    if state != "RECEIVED":
        tx.count(new.channel, state.lower())
    if state == "TRANSFORMED":
        tx.outcome(state, new.channel, (message_id >> 11,))
    if state == "ERROR":
        tx.event("error", message_id=message_id, detail=error[0] or "", at=new.received_at)
    elif state != "RECEIVED":
        settle(tx, message_id, new.channel)
    return Received(message_id, 0, ack, code, flags & ID_REUSED != 0, state)


def row_of(
    tx: Tx,
    new: NewMessage,
    digest: bytes,
    state: str = "",
    flags: int = 0,
    error: tuple[str | None, str | None, str | None] = (None, None, None),
    ack_code: str | None = None,
) -> tuple[Any, ...]:
    """The values of `insert_message`; without `state` those of a message that is new and readable."""
    state = state or new.state
    also = new.also_keys
    return (
        new.channel, state, new.received_at, None if state == "RECEIVED" else new.received_at,
        clean(new.control_id), clean(new.type), clean(new.sender), clean(new.peer), digest, len(new.raw),
        new.ordering_key, pack_keys(also) if also else None,
        tx.blind(new.mrn) if new.mrn else None,
        tx.blind(new.visit) if new.visit else None,
        new.parent_id, flags, *error, ack_code or new.ack_code, new.config_version,
    )  # fmt: skip


def route(tx: Tx, done: Routed) -> bool:
    """C2: write what the steps made of a message. False (and no change) when it is not RECEIVED any more."""
    if crashpoints.ARMED:
        tx.marks.add("c2")
    changed = tx.execute(
        Q["route_message"],
        (
            done.state, done.at, clean(done.reason), done.error_code, clean(done.error_text), clean(done.error_place),
            done.ack_code, done.config_version, done.id,
        ),
    ).fetchall()  # fmt: skip
    if not changed:
        return False
    channel = changed[0][0]
    assert len(done.deliveries) <= MAX_SLOT
    for slot, delivery in enumerate(done.deliveries, 1):
        tx.execute(
            Q["insert_delivery"],
            (done.id, delivery.destination, channel, slot, DeliveryState.QUEUED, delivery.next_at),
        )
        tx.put(done.id, Kind.PAYLOAD, delivery.payload, slot=slot, channel=channel)
        tx.count(channel, "queued", delivery.destination)
        tx.outcome("QUEUED", delivery.destination, (done.id >> 11,))
    if done.columns:
        write_columns(tx, done.id, done.columns)
    if done.ack is not None:
        tx.put(done.id, Kind.ACK, done.ack, channel=channel)
    tx.count(channel, done.state.lower())
    if done.state == "TRANSFORMED":
        tx.outcome("TRANSFORMED", channel, (done.id >> 11,))
    if done.state == "ERROR":
        tx.event("error", message_id=done.id, detail=done.error_code or "", at=done.at)
    elif not done.deliveries:
        settle(tx, done.id, channel)
    return True


def add_part(tx: Tx, new: NewMessage) -> int:
    """Within C2: a message that another one was split into. Gives its id."""
    message_id = tx.execute(Q["insert_message"], row_of(tx, new, tx.digest(new.raw), flags=PART)).lastrowid
    assert message_id is not None
    tx.kind(new.channel, new.type, message_id)
    tx.put(message_id, Kind.RAW, new.raw, channel=new.channel)
    tx.count(new.channel, "received")
    return message_id


def unrouted(tx: Tx, channel: str, after_id: int = 0, limit: int = 500) -> list[Unrouted]:
    """RECEIVED messages of a channel in order of receipt, with their bytes; see `unrouted_row`."""
    return [unrouted_row(tx, row) for row in tx.rows(Q["unrouted"], (channel, after_id, limit))]


def unrouted_row(tx: Tx, row: Sequence[Any]) -> Unrouted:
    """A RECEIVED message; without bytes when these are damaged or gone."""
    message_id, received_at, control_id, kind, sender, peer, key, also, attempts, blob = row
    try:
        raw = tx.codec.open(message_id << 12, blob)[0] if blob else b""
    except StoreError as error:
        if error.code != "store.corrupt":
            raise
        raw = b""
    keys = unpack_keys(key, also)
    return Unrouted(message_id, received_at, control_id, kind, sender, peer, keys, attempts, raw)


def mark_attempt(tx: Tx, message_id: int, attempts: int) -> None:
    """How often the engine was at work on this message, found at a start, as far as is known: two deaths of it mean
    `poison`."""
    tx.execute(Q["mark_attempt"], (attempts, message_id))


def raw(tx: Tx, message_id: int) -> bytes | None:
    """The message byte for byte; None when there is no such message or its content is not kept."""
    found = tx.get(message_id, Kind.RAW)
    return None if found is None else found[0]


def ack_of(tx: Tx, message_id: int) -> tuple[bytes | None, str | None]:
    """The answer that was given for a message, and its code; (None, None) while it is not known."""
    row = tx.execute("SELECT ack FROM message WHERE id = ?", (message_id,)).fetchone()
    code = row[0] if row else None
    late = tx.get(message_id, Kind.ACK)
    if late is not None:
        return late[0], code
    found = tx.get(message_id, Kind.RAW)
    return (found[1] or None if found else None), code


def answer_with(tx: Tx, message_id: int, ack: bytes, code: str) -> None:
    """Store the answer that a message gets later than with C1."""
    channel = tx.execute(
        "UPDATE message SET ack = ? WHERE id = ? RETURNING channel", (code, message_id)
    ).fetchone()
    if channel is not None and tx.levels.get(channel[0]) != "metadata":
        tx.put(message_id, Kind.ACK, ack, channel=channel[0])


def pack_keys(keys: tuple[int, ...]) -> bytes:
    """More ordering keys than one (merges), 8 bytes each."""
    return struct.pack(f"<{len(keys)}q", *keys)


def unpack_keys(key: int, also: bytes | None) -> tuple[int, ...]:
    """All ordering keys of a message, its own first."""
    return (key,) if not also else (key, *struct.unpack(f"<{len(also) // 8}q", also))
