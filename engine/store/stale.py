"""Older data over newer: which of the chosen messages an act would put over what was delivered since.

A message is stale for a destination when a later one with an ordering key in common, in the same order scope, has
been delivered there (or waits to be, and would go first), and is not chosen itself. "Later" is by what was
received: a replay counts as old as the message that it repeats. A filtered or failed message delivered nothing,
so it does not count.

Guarantees: exact by the order scopes that the engine kept at its last start; without them every destination of a
channel is a scope of its own. Finds by the index of PID-3.1 where that is the ordering key; otherwise it reads
every message since the oldest chosen one.
Refuses nothing. Messages without an ordering key are never stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from engine.errors import HL7Error
from engine.hl7.format import Hl7v2
from engine.store import operate
from engine.store.messages import unpack_keys
from engine.store.tx import Tx

USUAL = "PID-3.1"
"""The ordering key that the index `message_mrn` finds."""
_SETTING = "order"

_COLUMNS = "m.id, m.channel, m.ordering_key, m.also_keys, d.destination, d.state"
_DELIVERED = "d.state IN ('SENT', 'QUEUED', 'PENDING')"
_BY_MRN = f"""
WITH RECURSIVE stretch (n) AS (
  SELECT ?1 >> 11 UNION ALL SELECT n + 1 FROM stretch WHERE n < (SELECT max(id) >> 11 FROM message))
SELECT {_COLUMNS} FROM stretch CROSS JOIN json_each(?2) AS k CROSS JOIN message AS m
  CROSS JOIN delivery AS d ON d.message_id = m.id
  WHERE m.id >> 11 = n AND m.mrn = k.value AND m.id > ?1 AND {_DELIVERED}
"""
_MERGES = f"""
SELECT {_COLUMNS} FROM message AS m INDEXED BY message_merge CROSS JOIN delivery AS d ON d.message_id = m.id
  WHERE m.also_keys IS NOT NULL AND m.id > ? AND {_DELIVERED}
"""
_BY_KEY = f"""
SELECT {_COLUMNS} FROM message AS m CROSS JOIN delivery AS d ON d.message_id = m.id
  WHERE m.id > ?1 AND m.ordering_key IN (SELECT value FROM json_each(?2)) AND {_DELIVERED}
"""
_ORIGINS = """
WITH RECURSIVE up (id, at) AS (
  SELECT value, value FROM json_each(?)
  UNION ALL SELECT up.id, m.parent_id FROM up JOIN message AS m ON m.id = up.at WHERE m.parent_id IS NOT NULL)
SELECT id, min(at) FROM up GROUP BY id
"""


class Stale(NamedTuple):
    """Message `id` is older than message `newer`, which `destination` has."""

    id: int
    destination: str
    newer: int


class Order(NamedTuple):
    """Ordering of one channel: the path of its key, and the scope of each destination."""

    path: str
    scopes: dict[str, str]


class _Newest(NamedTuple):
    origin: int
    id: int


def keep_order(tx: Tx, channels: Mapping[str, Order]) -> None:
    """Keep the order scopes of the running configuration; the engine does it at its start."""
    tx.execute(
        "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)",
        (_SETTING, orjson.dumps({name: list(one) for name, one in channels.items()}).decode()),
    )


def stale(
    tx: Tx,
    verb: str,
    ids: Sequence[int],
    destination: str | None = None,
    *,
    more: Mapping[int, tuple[int, ...]] | None = None,
    **only: str | None,
) -> list[Stale]:
    """What `replay` or `resend` of these messages would put over newer data, by message and destination.

    The arguments are those of the act (engine.store.operate). `more`: further ordering keys of a message, as it is
    edited before it is replayed.
    """
    if verb not in ("replay", "resend") or not ids:
        return []
    order = _order(tx)
    chosen = _rows(tx, ids)
    for message_id, keys in (more or {}).items():
        channel, own_keys = chosen.get(message_id, ("", ()))
        chosen[message_id] = channel, tuple(dict.fromkeys((*own_keys, *keys)))
    if verb == "replay":
        targets = _replayed(tx, chosen, order)
    else:  # a delivery in ERROR goes on from its place, others go behind what waits
        rows = operate.chosen(tx, ids, operate.RESENDABLE, destination, **only)
        targets = [(message_id, name, state != "ERROR") for message_id, name, _, _, state in rows]
    targets = [target for target in targets if chosen.get(target[0], ("", ()))[1]]
    if not targets:
        return []
    own = _origins(tx, chosen)
    found = list(_later(tx, chosen, min(own.values()), order))
    origins = _origins(tx, {row[0] for row in found})
    done_again = set(own.values()) if verb == "replay" else {(one[0], one[1]) for one in targets}
    sent: dict[tuple[str, int], _Newest] = {}
    waiting: dict[tuple[str, int], _Newest] = {}
    for later, channel, keys, name, state in found:
        item = _Newest(origins[later], later)
        if (item.origin if verb == "replay" else (later, name)) in done_again:
            continue
        newest = sent if state == "SENT" else waiting
        for key in keys:
            at = _scope(order, channel, name), key
            newest[at] = max(newest.get(at, item), item)
    result = []
    for message_id, name, to_the_end in targets:
        channel, keys = chosen[message_id]
        scope = _scope(order, channel, name)
        newer = [
            one
            for key in keys
            for known in ((sent, waiting) if to_the_end else (sent,))
            if (one := known.get((scope, key))) and one.origin > own[message_id]
        ]
        if newer:
            result.append(Stale(message_id, name, max(newer).id))
    return result


def ordering_path(tx: Tx, channel: str) -> str:
    """The path of the ordering key of a channel, as the engine runs it."""
    known = _order(tx).get(channel)
    return known.path if known else USUAL


def _order(tx: Tx) -> dict[str, Order]:
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (_SETTING,))
    return {name: Order(*one) for name, one in orjson.loads(rows[0][0]).items()} if rows else {}


def _scope(order: Mapping[str, Order], channel: str, destination: str) -> str:
    known = order.get(channel)
    return (known and known.scopes.get(destination)) or f"{channel}/{destination}"


def _keys(key: int, also: bytes | None) -> tuple[int, ...]:
    return unpack_keys(key, also) if key or also else ()


def _rows(tx: Tx, ids: Iterable[int]) -> dict[int, tuple[str, tuple[int, ...]]]:
    rows = tx.rows(
        "SELECT id, channel, ordering_key, also_keys FROM message"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (_json(ids),),
    )
    return {message_id: (channel, _keys(key, also)) for message_id, channel, key, also in rows}


def _replayed(
    tx: Tx, chosen: Mapping[int, tuple[str, Any]], order: Mapping[str, Order]
) -> list[tuple[int, str, bool]]:
    """Where the replays would go: the destinations of today's channel. All go behind what waits."""
    unknown = [message_id for message_id, (channel, _) in chosen.items() if channel not in order]
    targets = [
        (message_id, name, True)
        for message_id, (channel, _) in chosen.items()
        if channel in order
        for name in order[channel].scopes
    ]
    rows = tx.rows(
        "SELECT message_id, destination FROM delivery WHERE message_id IN (SELECT value FROM json_each(?))",
        (_json(unknown),),
    )
    return sorted(targets + [(message_id, name, True) for message_id, name in rows])


def _later(
    tx: Tx, chosen: Mapping[int, tuple[str, tuple[int, ...]]], after: int, order: Mapping[str, Order]
) -> Iterator[tuple[int, str, tuple[int, ...], str, str]]:
    """Deliveries of messages after `after` that have an ordering key of the chosen ones."""
    keys = {key for _, some in chosen.values() for key in some}
    usual = all(one.path == USUAL for one in order.values()) and {c for c, _ in chosen.values()} <= set(order)
    rows = tx.rows(_MERGES, (after,))
    if usual:
        mrns = tx.rows(
            "SELECT DISTINCT mrn FROM message"
            " WHERE id IN (SELECT value FROM json_each(?)) AND mrn IS NOT NULL",
            (_json(chosen),),
        )
        rows += tx.rows(_BY_MRN, (after, _json(row[0] for row in mrns)))
    if not usual or any(len(some) > 1 for _, some in chosen.values()):  # a merge: keys of other patients
        rows += tx.rows(_BY_KEY, (after, _json(keys)))
    for later, channel, key, also, name, state in rows:
        common = tuple(one for one in _keys(key, also) if one in keys)
        if common:
            yield later, channel, common, name, state


def _origins(tx: Tx, ids: Iterable[int]) -> dict[int, int]:
    """The message that each one is a replay of in the end, itself when it is none."""
    return dict(tx.rows(_ORIGINS, (_json(ids),)))


def _json(values: Iterable[int]) -> str:
    return orjson.dumps(list(values)).decode()


def keys_of(tx: Tx, channel: str, content: bytes) -> tuple[int, ...]:
    """The ordering keys of HL7 bytes; none of anything else, which is then weighed by its old keys alone."""
    form = Hl7v2()
    try:
        found = form.identify(content, form.peek(content), ordering_path(tx, channel))
    except HL7Error:
        return ()
    return tuple(dict.fromkeys(tx.blind(f"key:{key}") for key in (found.key, *found.also) if key))
