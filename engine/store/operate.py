"""What operators do to stored messages: replay, edit, resend, discard; each act leaves an event with its actor.

Guarantees: a replay, edited or not, is a new message (`parent_id`), and what was received stays as it is; a resend
sends the stored payload again, so its record key makes it the same record; a delivery that is being sent meanwhile is
decided by whoever commits first. Thousands are done in batches (engine.store.jobs).
Refuses: to replay or resend a message whose content is not kept (`contentless` names them), to discard what was
sent; these are left out of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

from engine.store.bodies import Kind, body_id
from engine.store.causes import DISMISSED, UNDISMISSED
from engine.store.levels import settle
from engine.store.messages import EDITED, PART, NewMessage, raw, row_of, unpack_keys
from engine.store.rekey import Keys, doubt, renew
from engine.store.tx import Q, Tx

_ANSWERED = "state = 'ERROR' AND error_place LIKE 'response%'"
"""It was sent, and a response step failed: only the steps run again."""
RESENDABLE = "('SENT', 'ERROR', 'DISCARDED')"
DISCARDABLE = "('QUEUED', 'PENDING', 'ERROR')"


class Discarded(NamedTuple):
    """A delivery that need not be sent; destination "": a message whose own error is dealt with."""

    message_id: int
    destination: str
    was_open: bool = False  # QUEUED or PENDING until then; else in ERROR


class Replayed(NamedTuple):
    """One replay: `replaced` are the deliveries of the old message that were still open or failed."""

    old: int
    new: int
    replaced: tuple[Discarded, ...] = ()


def replay(
    tx: Tx, ids: Sequence[int], actor: str, keys: Callable[[str], Keys | None] = lambda channel: None
) -> list[Replayed]:
    """Make new RECEIVED messages of these, in their order of receipt; those that are RECEIVED still are left out.

    What the old message still had to deliver, or could not, is DISCARDED with it, and its own error is dealt
    with: the new message takes its place, and an error is counted once however often it is replayed.
    `keys`: how a channel makes ordering keys today; None: it does not run, and gives them when it runs next.
    """
    made = []
    for message_id in sorted(set(ids)):
        content = raw(tx, message_id)
        if content is None:
            continue
        made_of = tx.rows(
            "INSERT INTO message (channel, state, received_at, control_id, type, sender, peer, digest, size,"
            " ordering_key, also_keys, mrn, visit, parent_id)"
            " SELECT channel, 'RECEIVED', ?, control_id, type, sender, peer, digest, size,"
            " ordering_key, also_keys, mrn, visit, id FROM message WHERE id = ? AND state <> 'RECEIVED'"
            " RETURNING id, channel, type",
            (tx.now(), message_id),
        )
        if not made_of:
            continue
        ((new_id, channel, kind),) = made_of
        tx.kind(channel, kind, new_id)
        tx.put(new_id, Kind.RAW, content, channel=channel)
        if (today := keys(channel)) is not None:
            renew(tx, new_id, content, today)
        else:
            doubt(tx, channel)
        replaced = discard(tx, [message_id], actor, note=f"replayed as {new_id}")
        tx.event("replay", message_id=message_id, actor=actor, detail=str(new_id))
        tx.count(channel, "replayed")
        made.append(Replayed(message_id, new_id, tuple(one for one in replaced if one.destination)))
    return made


def edit(tx: Tx, message_id: int, new: NewMessage, actor: str, note: str = "") -> Replayed | None:
    """Make a new RECEIVED message of edited bytes, which takes the place of the old one as a replay of it does.

    `new` says what the edited bytes are; its channel and where it came from are those of the old message. None (and
    no change) when that is RECEIVED still, or its content is not kept. `note` holds no patient data.
    """
    found = tx.rows(
        "SELECT channel, peer, control_id, ordering_key, also_keys FROM message WHERE id = ? AND state <> 'RECEIVED'",
        (message_id,),
    )
    if not found or raw(tx, message_id) is None:
        return None
    new.channel, new.peer, control_id, *keys = found[0]
    if not new.ordering_key:  # it names nobody: it waits for whom the old one waited
        new.ordering_key, *others = unpack_keys(*keys)
        new.also_keys = tuple(others)
    new.control_id, new.parent_id = new.control_id or control_id, message_id
    row = row_of(tx, new, tx.digest(new.raw), flags=EDITED)
    new_id = tx.execute(Q["insert_message"], row).lastrowid
    assert new_id is not None
    tx.kind(new.channel, new.type, new_id)
    tx.put(new_id, Kind.RAW, new.raw, channel=new.channel)
    replaced = discard(tx, [message_id], actor, note=f"edited and replayed as {new_id}")
    detail = f"{new_id} {note}".strip()
    tx.event("edit", message_id=message_id, actor=actor, detail=detail)
    tx.event("edit", message_id=new_id, actor=actor, detail=f"of {message_id} {note}".strip())
    tx.count(new.channel, "replayed")
    return Replayed(message_id, new_id, tuple(one for one in replaced if one.destination))


def resend(
    tx: Tx, ids: Sequence[int], actor: str, destination: str | None = None, **only: str | None
) -> list[tuple[int, str]]:
    """Queue deliveries again that were SENT, given up or discarded. Gives (message id, destination).

    One that was sent, and whose response step failed, is not sent again: it becomes PENDING, and its steps run again.

    `only` narrows them by `state`, `code` and `cause`: see `chosen`.
    """
    ready = [
        (message_id, name, channel)
        for message_id, name, channel, slot, _ in chosen(tx, ids, RESENDABLE, destination, **only)
        if tx.rows("SELECT 1 FROM body WHERE id = ?", (body_id(message_id, Kind.PAYLOAD, slot),))
    ]
    return _decide(
        tx, "resend", ready, actor, "",
        f"state = CASE WHEN {_ANSWERED} THEN 'PENDING' ELSE 'QUEUED' END,"
        f" attempts = CASE WHEN {_ANSWERED} THEN attempts ELSE 0 END, next_at = 0, finished_at = NULL,"
        " error_code = NULL, error_text = NULL, error_place = NULL",
    )  # fmt: skip


def discard(
    tx: Tx, ids: Sequence[int], actor: str, destination: str | None = None, note: str = "", **only: str | None
) -> list[Discarded]:
    """Decide that deliveries need not be sent, and that messages in ERROR are dealt with.

    A message's own error keeps its state and leaves the errors that are counted and shown as open.
    `note` holds no patient data. `only`: as for `resend`.
    """
    found = chosen(tx, ids, DISCARDABLE, destination, **only)
    doomed = [row[:3] for row in found]
    decided = _decide(
        tx, "discard", doomed, actor, note, f"state = 'DISCARDED', finished_at = {int(tx.now())}",
    )  # fmt: skip
    if note:
        tx.executemany(
            "UPDATE delivery SET note = ? WHERE message_id = ? AND destination = ?",
            [(note, *one) for one in decided],
        )
    changed = [Discarded(message_id, name, state != "ERROR") for message_id, name, _, _, state in found]
    if destination is None and only.get("state") in (None, "ERROR"):
        changed += _dismiss(tx, ids, actor, note, only.get("code"), only.get("cause"))
    for message_id, channel in {(message_id, channel) for message_id, _, channel in doomed}:
        settle(tx, message_id, channel)
    return sorted(changed)


def _dismiss(
    tx: Tx, ids: Sequence[int], actor: str, note: str, code: str | None, cause: str | None
) -> list[Discarded]:
    rows = tx.rows(
        f"UPDATE message SET flags = flags | {DISMISSED} WHERE id IN (SELECT value FROM json_each(?))"
        f" AND state = 'ERROR' AND {UNDISMISSED} AND (?2 IS NULL OR error_code = ?2)"
        " AND (?3 IS NULL OR cause(error_code, error_place) = ?3) RETURNING id, channel",
        (orjson.dumps(list(ids)).decode(), code, cause),
    )
    for message_id, channel in rows:
        tx.event("discard", message_id=message_id, actor=actor, detail=note)
        tx.count(channel, "discarded")
    return [Discarded(message_id, "") for message_id, _ in rows]


def chosen(
    tx: Tx,
    ids: Sequence[int],
    states: str,
    destination: str | None,
    *,
    state: str | None = None,
    code: str | None = None,
    cause: str | None = None,
) -> list[tuple[int, str, str, int, str]]:
    """Deliveries of these messages in one of `states`: (message id, destination, channel, slot, state).

    Only those to `destination`, in `state`, and with the error `code` or `cause`, as far as they are given:
    what a message was chosen for is all that is changed of it.
    """
    if (code or cause) and state is None:
        state = "ERROR"
    rows: list[tuple[int, str, str, int, str]] = tx.rows(
        "SELECT message_id, destination, channel, slot, state FROM delivery"
        " WHERE message_id IN (SELECT value FROM json_each(?1))"
        f" AND (?2 IS NULL OR destination = ?2) AND state IN {states} AND (?3 IS NULL OR state = ?3)"
        " AND (?4 IS NULL OR error_code = ?4) AND (?5 IS NULL OR cause(error_code, error_place) = ?5)"
        " ORDER BY message_id, destination",
        (orjson.dumps(list(ids)).decode(), destination, state, code, cause),
    )
    return rows


def answered(tx: Tx, message_id: int, destination: str) -> bool:
    """Whether a resend would run the response steps alone."""
    query = f"SELECT 1 FROM delivery WHERE message_id = ? AND destination = ? AND {_ANSWERED}"
    return bool(tx.rows(query, (message_id, destination)))


def contentless(tx: Tx, ids: Sequence[int]) -> list[int]:
    """Which of these messages have no content any more, so that they cannot be replayed."""
    rows = tx.rows(
        "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM body WHERE body.id = value * 4096)",
        (orjson.dumps(list(ids)).decode(),),
    )
    return [row[0] for row in rows]


def replayed(tx: Tx, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Those of these messages that were replayed already, each with its newest replay."""
    rows = tx.rows(
        "SELECT parent_id, max(id) FROM message WHERE parent_id IN (SELECT value FROM json_each(?))"
        f" AND flags & {PART} = 0 GROUP BY parent_id",
        (orjson.dumps(list(ids)).decode(),),
    )
    return [(old, new) for old, new in rows]


def _decide(
    tx: Tx, kind: str, rows: list[tuple[int, str, str]], actor: str, note: str, changes: str
) -> list[tuple[int, str]]:
    tx.executemany(
        f"UPDATE delivery SET {changes} WHERE message_id = ? AND destination = ?",
        [(message_id, name) for message_id, name, _ in rows],
    )
    for message_id, name, channel in rows:
        tx.event(kind, message_id=message_id, destination=name, actor=actor, detail=note)
        tx.count(channel, f"{kind}ed", name)
    return [(message_id, name) for message_id, name, _ in rows]
