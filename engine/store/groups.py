"""C1 for a group of messages at once: what `messages.receive` does for each, in a few statements.

A statement a message costs more than its rows do, so messages that are all new go in with multi-row INSERTs of a
fixed width (the statements stay prepared). Everything that needs a look of its own takes the way one by one: a
control id that was seen before or twice in the group, bytes that were not framed, errors.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from engine.clock import Micros
from engine.store import crashpoints
from engine.store.bodies import PACKED, pack
from engine.store.levels import settle
from engine.store.messages import DEFAULT_WINDOW, NewMessage, Received, receive, row_of
from engine.store.tx import Q, Tx

WIDTH = 16  # rows in one statement
SMALLEST = 3  # a smaller group is not worth it
_COLUMNS = 21


def receive_all(tx: Tx, news: Sequence[NewMessage], *, window: Micros = DEFAULT_WINDOW) -> list[Received]:
    """C1 of several messages, in order; `window` as for `receive`. A reused control id is accepted and flagged."""
    if len(news) < SMALLEST or not _all_new(tx, news, window):
        return [receive(tx, new, window=window) for new in news]
    if crashpoints.ARMED:
        tx.marks.add("c1")
    done: list[Received] = []
    for start in range(0, len(news), WIDTH):
        some = news[start : start + WIDTH]
        if len(some) == WIDTH:
            done += _insert(tx, some)
        else:
            for new in some:
                done += _insert(tx, [new])
    return done


def _all_new(tx: Tx, news: Sequence[NewMessage], window: Micros) -> bool:
    """Whether none of these needs a look of its own."""
    ids = [new.control_id for new in news if new.control_id]
    if len(set(ids)) != len(ids):
        return False
    if any(not new.framed or new.state == "ERROR" or new.ack is None for new in news):
        return False
    try:
        wanted = orjson.dumps(ids).decode()
    except orjson.JSONEncodeError:  # a lone surrogate
        return False
    since = min(new.received_at for new in news) - window
    return not tx.rows(Q["any_control_id"], (wanted, since))


def _insert(tx: Tx, news: Sequence[NewMessage]) -> list[Received]:
    """Rows and bodies of new messages: ids follow each other, as one writer makes them."""
    values: list[object] = []
    for new in news:
        values += row_of(tx, new, tx.digest(new.raw))
    last = tx.execute(_statement("insert_message", len(news), _COLUMNS), values).lastrowid
    assert last is not None
    bodies: list[object] = []
    done = []
    seal = tx.codec.seal
    counted: dict[tuple[str, str], int] = {}
    for message_id, new in enumerate(news, last - len(news) + 1):
        channel, ack, state = new.channel, new.ack, new.state
        assert ack is not None
        row = message_id << 12  # body_id(message_id, Kind.RAW)
        bodies += (row, seal(row, pack(new.raw, ack), channel, PACKED))
        done.append(Received(message_id, 0, ack, new.ack_code, False, state))
        counted[channel, state] = counted.get((channel, state), 0) + 1
    tx.execute(_statement("insert_body", len(news), 2), bodies)
    for (channel, state), count in counted.items():
        tx.count(channel, "received", by=count)
        if state != "RECEIVED":
            tx.count(channel, state.lower(), by=count)
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
