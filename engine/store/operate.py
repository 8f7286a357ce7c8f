"""What operators do to stored messages: replay, resend, discard; each act leaves an event with its actor.

Guarantees: a replay is a new message (`parent_id`), the old one is not changed; a resend sends the stored
payload again, so its record key makes it the same record; a delivery that is being sent meanwhile is decided
by whoever commits first. Thousands are done in batches, so that no ACK waits long behind them.
Refuses: to replay a message whose content is not kept, to discard what was sent (both are left out of the
answer).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import orjson
from twisted.internet.defer import Deferred

from engine.store.bodies import Kind
from engine.store.messages import raw
from engine.store.tx import Tx
from engine.store.writer import Writer

BATCH = 500
REPLAY_BATCH = 100  # bodies are copied one by one, each under its own key binding
I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


def replay(tx: Tx, ids: Sequence[int], actor: str) -> list[tuple[int, int]]:
    """Make new RECEIVED messages of these, in their order of receipt. Gives (old id, new id)."""
    made = []
    for message_id in sorted(set(ids)):
        content = raw(tx, message_id)
        if content is None:
            continue
        new_id = tx.execute(
            "INSERT INTO message (channel, state, received_at, control_id, type, sender, peer, digest, size,"
            " ordering_key, also_keys, mrn, visit, parent_id)"
            " SELECT channel, 'RECEIVED', ?, control_id, type, sender, peer, digest, size,"
            " ordering_key, also_keys, mrn, visit, id FROM message WHERE id = ?",
            (tx.now(), message_id),
        ).lastrowid
        assert new_id is not None
        channel = tx.execute("SELECT channel FROM message WHERE id = ?", (new_id,)).fetchone()[0]
        tx.put(new_id, Kind.RAW, content, channel=channel)
        tx.event("replay", message_id=message_id, actor=actor, detail=str(new_id))
        tx.count(channel, "replayed")
        made.append((message_id, new_id))
    return made


def resend(tx: Tx, ids: Sequence[int], actor: str, destination: str | None = None) -> list[tuple[int, str]]:
    """Queue deliveries again that were SENT, given up or discarded. Gives (message id, destination)."""
    return _decide(
        tx, "resend", ids, actor, destination,
        "state = 'QUEUED', attempts = 0, next_at = 0, finished_at = NULL, error_code = NULL,"
        " error_text = NULL, error_place = NULL",
        "('SENT', 'ERROR', 'DISCARDED')",
    )  # fmt: skip


def discard(
    tx: Tx, ids: Sequence[int], actor: str, destination: str | None = None, note: str = ""
) -> list[tuple[int, str]]:
    """Decide that deliveries need not be sent. Gives (message id, destination)."""
    changed = _decide(
        tx, "discard", ids, actor, destination,
        f"state = 'DISCARDED', finished_at = {int(tx.now())}",
        "('QUEUED', 'PENDING', 'ERROR')",
    )  # fmt: skip
    if note:
        tx.executemany(
            "UPDATE delivery SET note = ? WHERE message_id = ? AND destination = ?",
            [(note, *one) for one in changed],
        )
    return changed


def _decide(
    tx: Tx, kind: str, ids: Sequence[int], actor: str, destination: str | None, changes: str, states: str
) -> list[tuple[int, str]]:
    rows = tx.rows(
        f"UPDATE delivery SET {changes} WHERE message_id IN (SELECT value FROM json_each(?))"
        f" AND (? IS NULL OR destination = ?) AND state IN {states}"
        " RETURNING message_id, destination, channel",
        (orjson.dumps(list(ids)).decode(), destination, destination),
    )
    for message_id, name, channel in rows:
        tx.event(kind, message_id=message_id, destination=name, actor=actor)
        tx.count(channel, f"{kind}ed", name)
    return sorted((message_id, name) for message_id, name, _ in rows)


def in_batches(
    writer: Writer, items: Sequence[I], act: Callable[[Tx, Sequence[I]], list[R]], size: int = BATCH
) -> Deferred[list[R]]:
    """Run `act(tx, some)` over all items, a batch a transaction, the next one when the last is durable.

    When a batch fails the Deferred fails with its error; the batches before it stand.
    """
    everything: list[R] = []
    result: Deferred[list[R]] = Deferred()

    def step(start: int) -> None:
        if start >= len(items):
            result.callback(everything)
            return

        def done(value: Any, error: BaseException | None) -> None:
            if error is not None:
                result.errback(error)
                return
            everything.extend(value)
            step(start + size)

        writer.submit(lambda tx: act(tx, items[start : start + size]), done)

    step(0)
    return result
