"""Where a search has to look: stretches of 2048 messages (schema.sql) that hold what is rare.

Guarantees: no stretch that holds what is asked is left out; near ones come first, as a page is soon full of them.
Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from engine.store.tx import Tx

FIRST, LAST = object(), object()
"""In the values of a condition: the first and the last stretch (2048 ids, see schema.sql) that is looked into."""
WITHIN = "{0} >= ? << 11 AND {0} < (? + 1) << 11"
_STRETCHES = "WITH RECURSIVE stretch (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM stretch WHERE n < ?)"
BLIND = f"id IN ({_STRETCHES} SELECT m.id FROM stretch CROSS JOIN message AS m WHERE m.id >> 11 = n AND m.{{}} = ?)"
COLUMN = (
    f"id IN ({_STRETCHES} SELECT c.message_id FROM stretch CROSS JOIN message_column AS c"
    " WHERE c.message_id >> 11 = n AND {})"
)
HAS = "EXISTS (SELECT 1 FROM message_column AS c WHERE c.message_id = message.id AND {})"
RUNS = 64  # runs of stretches that are looked into one by one; more are not worth it
NEAR = 4  # stretches that are looked into first; each further look takes in WIDER times as many
WIDER = 4


def kinds(channels: Sequence[str] | None, type: str | None) -> list[tuple[str, list[Any]]]:
    """Where the stretches are noted that hold messages of these channels and this type; [] for any."""
    terms: list[str] = []
    values: list[Any] = []
    if channels is not None:
        terms.append("channel IN (SELECT value FROM json_each(?))")
        values.append(orjson.dumps(list(channels)).decode())
    if type is not None:
        terms.append("type = ?" if "^" in type else "(type = ? OR type >= ? || '^' AND type < ? || '_')")
        values += [type] * (1 if "^" in type else 3)
    return [(f"message_kind WHERE {' AND '.join(terms)}", values)] if terms else []


def outcomes(
    channels: Sequence[str] | None, state: str | None, destination: str | None, delivery_state: str | None
) -> list[tuple[str, list[Any]]]:
    """Where the stretches are noted that hold what has no index of its own: such deliveries, what went through."""
    asked: list[tuple[str, Sequence[str] | None]] = []
    if state == "TRANSFORMED":
        asked.append(("TRANSFORMED", channels))
    if destination is not None or delivery_state == "SENT":
        made = "SENT" if delivery_state == "SENT" else "QUEUED"
        asked.append((made, None if destination is None else [destination]))
    found: list[tuple[str, list[Any]]] = []
    for one, names in asked:
        where = f"message_outcome WHERE state = '{one}'"
        if names is None:
            found.append((where, []))
        else:
            given = orjson.dumps(list(names)).decode()
            found.append((f"{where} AND name IN (SELECT value FROM json_each(?))", [given]))
    return found


def runs_of(tx: Tx, asked: list[tuple[str, list[Any]]]) -> list[tuple[int, int]] | None:
    """Runs of stretches that hold all that is asked, the oldest first; None: look everywhere."""
    if not asked:
        return None
    sql = " INTERSECT ".join(f"SELECT stretch FROM {where}" for where, _ in asked)
    found = tx.rows(
        f"SELECT DISTINCT stretch FROM ({sql}) ORDER BY stretch", [one for _, some in asked for one in some]
    )
    runs: list[tuple[int, int]] = []
    for (number,) in found:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs if len(runs) <= RUNS or len(found) * 8 < everywhere(tx)[1] else None


def looks(
    tx: Tx,
    values: list[Any],
    by_kind: list[tuple[int, int]] | None,
    between: tuple[int, int],
    oldest: bool,
    limit: int,
) -> Iterator[tuple[int, int]]:
    """The stretches to look into, one look after the other: near ones first, as a page is soon full of them.

    `between`: of ids, that all of it is between. One look where nothing is found by stretches, or everything is wanted.
    """
    if FIRST not in values:
        yield 0, 0
        return
    lowest, highest = everywhere(tx)
    lowest, highest = max(lowest, between[0] >> 11), min(highest, between[1] >> 11)
    runs = [(lowest, highest)] if by_kind is None else by_kind
    size = NEAR if limit <= 1000 else highest - lowest + 1
    for first, last in runs if oldest else reversed(runs):
        first, last = max(first, lowest), min(last, highest)
        while first <= last:
            if oldest:
                yield first, min(first + size - 1, last)
                first += size
            else:
                yield max(last - size + 1, first), last
                last -= size
            size *= WIDER


def everywhere(tx: Tx) -> tuple[int, int]:
    """The first and the last stretch that there is."""
    ((first, last),) = tx.rows(  # both in one SELECT of message would read the whole index
        "SELECT coalesce((SELECT min(id) FROM message), 0) >> 11, coalesce((SELECT max(id) FROM message), 0) >> 11"
    )
    return first, last
