"""C2 and C3 for many messages at once: what `messages.route` and `deliveries.deliver` do for each.

A statement a message costs more than its rows do, so whatever went well is written by one statement for all of
its kind; the rows come as JSON, so that one prepared statement takes any number of them. What needs a look of its
own (filtered, failed, to be tried again, answered late) takes the way one by one.

Guarantees: the rows, bodies, events and totals are those of the way one by one, and so is what is told: False for a
message that is not RECEIVED any more, and for a delivery that is not open any more.
What cannot be stored (`sparing`) does not keep the rest of its group from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import orjson

from engine.store import crashpoints
from engine.store.bodies import MAX_SLOT, PACKED, Kind, body_id, pack
from engine.store.columns import write as write_columns
from engine.store.deliveries import Delivered, deliver
from engine.store.levels import settle
from engine.store.messages import Routed, route
from engine.store.sqlite import classify
from engine.store.tx import Q, Tx

SMALLEST = 3  # a smaller group is not worth it
T = TypeVar("T")
R = TypeVar("R")


def sparing(
    group: list[T], store: Callable[[Tx, list[T]], list[R]], refused: Callable[[T, Exception], T]
) -> Callable[[Tx], list[tuple[T, R]]]:
    """A work of the writer: each of the group as it was stored, with what `store` tells of it.

    When it raises, so that the writer runs it again, they are stored one by one, and in the place of one that cannot
    be stored comes what `refused` makes of it. A fault of the store itself is raised.
    """
    tried = False

    def alone(tx: Tx, one: T) -> tuple[T, R]:
        try:
            with tx.attempt():
                return one, store(tx, [one])[0]
        except Exception as error:
            if classify(error) is not None:
                raise
            instead = refused(one, error)
        return instead, store(tx, [instead])[0]

    def work(tx: Tx) -> list[tuple[T, R]]:
        nonlocal tried
        if tried:
            return [alone(tx, one) for one in group]
        tried = True
        return list(zip(group, store(tx, group), strict=True))

    return work


def route_all(tx: Tx, group: Sequence[Routed]) -> list[bool]:
    """C2 of several messages, in order."""
    if len({one.id for one in group}) < len(group):
        return [route(tx, one) for one in group]
    alike: dict[tuple[int, str | None, tuple[str, ...]], list[Routed]] = {}
    for one in group:
        made = one.deliveries
        if one.state == "TRANSFORMED" and one.ack is None and one.ack_code is None and made:
            if any(delivery.next_at for delivery in made):
                continue
            to = tuple([delivery.destination for delivery in made])
            alike.setdefault((one.at, one.config_version, to), []).append(one)
    changed: dict[int, bool] = {}
    for (at, version, to), some in alike.items():
        if len(some) >= SMALLEST:
            changed |= _route(tx, some, at, version, to)
    return [changed.pop(one.id) if one.id in changed else route(tx, one) for one in group]


def _route(
    tx: Tx, group: list[Routed], at: int, version: str | None, destinations: tuple[str, ...]
) -> dict[int, bool]:
    """Messages that went through and go to the same destinations: whether each was still RECEIVED."""
    if crashpoints.ARMED:
        tx.marks.add("c2")
    asked = [one.id for one in group]
    rows = tx.rows(Q["transform_messages"], (at, version, orjson.dumps(asked).decode()))
    channels = dict(rows)
    ids: dict[str, list[int]] = {}
    for message_id, channel in rows:
        ids.setdefault(channel, []).append(message_id)
    for channel, found in ids.items():
        tx.count(channel, "transformed", by=len(found))
        stretches = {message_id >> 11 for message_id in found}
        tx.outcome("TRANSFORMED", channel, stretches)
        for slot, destination in enumerate(destinations, 1):
            values = (destination, channel, slot, orjson.dumps(found).decode())
            tx.execute(Q["insert_deliveries"], values)
            tx.count(channel, "queued", destination, by=len(found))
            tx.outcome("QUEUED", destination, stretches)
    assert len(destinations) <= MAX_SLOT
    seal = tx.codec.seal
    bodies = []
    for one in group:
        channel = channels.get(one.id)
        if channel is None:
            continue
        for slot, delivery in enumerate(one.deliveries, 1):
            row = body_id(one.id, Kind.PAYLOAD, slot)
            bodies.append((row, seal(row, delivery.payload, channel)))
        if one.columns:
            write_columns(tx, one.id, one.columns)
    tx.executemany(Q["insert_body"], bodies)
    return {message_id: message_id in channels for message_id in asked}


def deliver_all(tx: Tx, group: Sequence[Delivered]) -> list[bool]:
    """C3 of several deliveries, in order."""
    if len({(one.message_id, one.destination) for one in group}) < len(group):
        return [deliver(tx, one) for one in group]
    alike: dict[tuple[str, str, int], list[Delivered]] = {}
    for one in group:
        plain = not (one.error_code or one.error_text or one.error_place or one.note or one.next_at)
        if one.state in ("SENT", "PENDING") and plain and (one.record is None or one.record.isascii()):
            alike.setdefault((one.state, one.destination, one.at), []).append(one)
    changed: dict[tuple[int, str], bool] = {}
    for (state, destination, at), some in alike.items():
        if len(some) >= SMALLEST:
            changed |= _deliver(tx, some, state, destination, at)
    return [
        changed.pop(key) if (key := (one.message_id, one.destination)) in changed else deliver(tx, one)
        for one in group
    ]


def _deliver(
    tx: Tx, group: list[Delivered], state: str, destination: str, at: int
) -> dict[tuple[int, str], bool]:
    """Deliveries that arrived, SENT or PENDING: whether each was still open."""
    if crashpoints.ARMED:
        tx.marks.add("c3")
    asked = orjson.dumps([(one.message_id, one.attempts, one.record) for one in group]).decode()
    ended = state == "SENT"
    rows = tx.rows(Q["finish_deliveries"], (state, at if ended else None, asked, destination))
    found = {message_id: (slot, channel) for message_id, slot, channel in rows}
    seal = tx.codec.seal
    bodies = []
    counted: dict[str, int] = {}
    for one in group:
        place = found.get(one.message_id)
        if place is None:
            continue
        slot, channel = place
        counted[channel] = counted.get(channel, 0) + 1
        if one.request or one.response:
            row = body_id(one.message_id, Kind.EXCHANGE, slot)
            bodies.append((row, seal(row, pack(one.request, one.response), channel, PACKED)))
    tx.executemany(Q["put_body"], bodies)
    for channel, count in counted.items():
        tx.count(channel, state.lower(), destination, by=count)
    if ended:
        tx.outcome(state, destination, {message_id >> 11 for message_id in found})
    if tx.levels and ended:
        for message_id, (_, channel) in found.items():
            settle(tx, message_id, channel)
    return {(one.message_id, destination): one.message_id in found for one in group}
