"""C1 for a group of messages at once: what `messages.receive` does for each, in a few statements.

A statement a message costs more than its rows do, so messages that are all new go in with one multi-row INSERT
(one for each width, which stays prepared). Everything that needs a look of its own takes the way one by one: a
control id that was seen before or twice in the group, bytes that were not framed, errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from engine.clock import Micros
from engine.store import crashpoints
from engine.store.levels import settle
from engine.store.messages import DEFAULT_WINDOW, NewMessage, Received, pack_keys, receive
from engine.store.tx import Q, Tx, clean

WIDEST = 32  # rows in one statement: every width is a statement of its own
SMALLEST = 2  # a smaller group is not worth it
_COLUMNS = 17


def receive_all(tx: Tx, news: Sequence[NewMessage], *, window: Micros = DEFAULT_WINDOW) -> list[Received]:
    """C1 of several messages, in order; `window` as for `receive`. A reused control id is accepted and flagged."""
    if len(news) < SMALLEST or not _all_new(tx, news, window):
        return [receive(tx, new, window=window) for new in news]
    if crashpoints.ARMED:
        tx.marks.add("c1")
    done: list[Received] = []
    for start in range(0, len(news), WIDEST):
        done += _insert(tx, news[start : start + WIDEST])
    return done


def _all_new(tx: Tx, news: Sequence[NewMessage], window: Micros) -> bool:
    """Whether none of these needs a look of its own."""
    ids = []
    for new in news:
        if not new.framed or new.state == "ERROR" or new.ack is None:
            return False
        if new.control_id:
            ids.append(new.control_id)
    if len(set(ids)) != len(ids):
        return False
    try:
        wanted = orjson.dumps(ids).decode()
    except orjson.JSONEncodeError:  # a lone surrogate
        return False
    since = min([new.received_at for new in news]) - window
    return not tx.rows(Q["any_control_id"], (wanted, since))


def _insert(tx: Tx, news: Sequence[NewMessage]) -> list[Received]:
    """Rows and bodies of new messages: ids follow each other, as one writer makes them."""
    digest, blind = tx.digest, tx.blind
    values: list[object] = []
    for new in news:
        state, received_at, raw, also = new.state, new.received_at, new.raw, new.also_keys
        values += (
            new.channel, state, received_at, None if state == "RECEIVED" else received_at,
            clean(new.control_id), clean(new.type), clean(new.sender), new.peer, digest(raw), len(raw),
            new.ordering_key, pack_keys(also) if also else None,
            blind(new.mrn) if new.mrn else None, blind(new.visit) if new.visit else None,
            new.parent_id, new.ack_code, new.config_version,
        )  # fmt: skip
    last = tx.execute(_statement("insert_new", len(news), _COLUMNS), values).lastrowid
    assert last is not None
    first = last - len(news) + 1
    bodies = tx.codec.seal_received(first, news)
    tx.execute(_statement("insert_body", len(news), 2), bodies)
    counted: dict[tuple[str, str], int] = {}
    done = []
    kinds = set()
    for message_id, new in enumerate(news, first):
        channel, state = new.channel, new.state
        kinds.add((channel, new.type))
        done.append(Received(message_id, 0, new.ack, new.ack_code, False, state))
        counted[channel, state] = counted.get((channel, state), 0) + 1
    for channel, kind in kinds:
        tx.kind(channel, kind, first)
        tx.kind(channel, kind, last)
    for (channel, state), count in counted.items():
        tx.count(channel, "received", by=count)
        if state != "RECEIVED":
            tx.count(channel, state.lower(), by=count)
        if state == "TRANSFORMED":
            tx.outcome(state, channel, range(first >> 11, (last >> 11) + 1))
    if tx.levels:
        for new, received in zip(news, done, strict=True):
            if new.state != "RECEIVED":
                settle(tx, received.id, new.channel)
    return done


def _statement(name: str, rows: int, columns: int) -> str:
    """The named INSERT for so many rows."""
    made = _statements.get((name, rows))
    if made is None:
        one = f"({', '.join('?' * columns)})"
        head = Q[name].rpartition("VALUES")[0]
        made = _statements[name, rows] = f"{head}VALUES {', '.join([one] * rows)}"
    return made


_statements: dict[tuple[str, int], str] = {}
