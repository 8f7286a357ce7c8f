"""What is open in the store, without its payloads: what the lanes are filled from, at a start and when behind."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable

import msgspec

from engine.clock import Micros
from engine.store.messages import Unrouted, unpack_keys, unrouted_row
from engine.store.tx import Q, Tx


class Standing(msgspec.Struct):
    """An open delivery, or one in ERROR that others may have to wait for."""

    message_id: int
    channel: str
    destination: str
    state: str
    attempts: int
    next_at: Micros
    keys: tuple[int, ...]


def standing(tx: Tx, destinations: Iterable[tuple[str, str]], from_id: int, limit: int) -> list[Standing]:
    """The first `limit` of all (channel, destination) pairs together, from message `from_id` on, by message,
    those of one message in the order of the pairs.

    One snapshot: else a commit between two queries would hide rows below the last one that is given.
    """
    with tx.snapshot():
        parts = [
            _read(tx, query, channel, destination, from_id, limit)
            for channel, destination in destinations
            for query in ("standing_open", "standing_errors")
        ]
    return list(heapq.merge(*parts, key=lambda one: one.message_id))[:limit]


def _read(tx: Tx, query: str, channel: str, destination: str, from_id: int, limit: int) -> list[Standing]:
    return [
        Standing(message_id, channel, destination, state, attempts, next_at, unpack_keys(key, also))
        for message_id, state, attempts, next_at, key, also in tx.rows(
            Q[query], (channel, destination, from_id, limit)
        )
    ]


def unfinished(tx: Tx, channel: str, destinations: Iterable[tuple[str, str]] | None = None) -> int:
    """How many messages and deliveries of a channel still need work; of deliveries only those to `destinations`,
    (channel, destination) pairs, when these are given."""
    if destinations is None:
        count: int = tx.execute(Q["unfinished"], (channel,)).fetchone()[0]
        return count
    counts = [tx.execute(Q["count_unrouted"], (channel,)).fetchone()[0]]
    counts += [tx.execute(Q["count_open"], pair).fetchone()[0] for pair in destinations]
    return sum(counts)


def unrouted_of(tx: Tx, ids: Iterable[int]) -> list[tuple[str, Unrouted]]:
    """RECEIVED messages by id, each with its channel: what a replay made."""
    rows = tx.rows(Q["unrouted_of"], (json.dumps(list(ids)),))
    return [(channel, unrouted_row(tx, row)) for *row, channel in rows]


def keys_of(tx: Tx, ids: Iterable[int]) -> dict[int, tuple[str, tuple[int, ...]]]:
    """Channel and ordering keys of messages, by id."""
    rows = tx.rows(Q["keys_of"], (json.dumps(list(ids)),))
    return {message_id: (channel, unpack_keys(key, also)) for message_id, channel, key, also in rows}
