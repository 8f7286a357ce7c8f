"""What people ask of the store: find messages, show one wholly, count.

Guarantees: exact answers from indexes; lists never read bodies; identifiers are looked up by their blind
index, so they are matched exactly or not at all. Times are microseconds since the epoch.
Refuses: filters it does not know (TypeError at the call).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import orjson

from engine.clock import Micros
from engine.states import DeliveryState
from engine.store import stretches
from engine.store.bodies import Kind
from engine.store.causes import DISMISSED, UNDISMISSED
from engine.store.columns import plain_of, term
from engine.store.messages import PART, ack_of
from engine.store.stretches import BLIND, COLUMN, FIRST, HAS, LAST, WITHIN
from engine.store.tx import Tx

MARGIN: Micros = 600_000_000
"""How far the clock may have been set back: within it, a time range is found whatever the order of ids."""
PORTION = 10_000  # rows of `ids` in memory
ROW = (
    "id, channel, state, received_at, routed_at, control_id, type, sender, parent_id, error_code,"
    f" flags & {DISMISSED} <> 0"
)


class Row(msgspec.Struct):
    """One message in a list."""

    id: int
    channel: str
    state: str
    received_at: Micros
    routed_at: Micros | None
    control_id: str
    type: str
    sender: str
    parent_id: int | None
    error_code: str | None
    dismissed: bool = False  # ERROR: an operator discarded or replayed it
    deliveries: dict[str, str] = {}  # destination -> state
    columns: dict[str, str] = {}  # searchable columns that are plain


def find(
    tx: Tx,
    *,
    ids: Sequence[int] | None = None,
    channel: str | None = None,
    channels: Sequence[str] | None = None,
    state: str | None = None,
    destination: str | None = None,
    delivery_state: str | None = None,
    error_code: str | None = None,
    error_place: str | None = None,
    cause: str | None = None,
    dismissed: bool | None = None,
    since: Micros | None = None,
    until: Micros | None = None,
    control_id: str | None = None,
    mrn: str | None = None,
    visit: str | None = None,
    columns: Mapping[str, str] | None = None,
    type: str | None = None,
    parent_id: int | None = None,
    after: int | None = None,
    oldest: bool = False,
    limit: int = 100,
    brief: bool = False,
) -> list[Row]:
    """Messages that meet every filter, newest first; `after` continues below that id. With `oldest` the other way.

    `error_code` and `error_place` match the message's own error or that of one of its deliveries (of
    `destination`, when given); `cause` is the fingerprint of an open error (engine.store.causes).
    `columns` are searchable columns (engine.store.columns). `dismissed=False` leaves out messages whose own error
    an operator has dealt with. `type` is "ADT" or "ADT^A01". `brief`: rows without deliveries and columns.
    """
    terms: list[str] = []
    values: list[Any] = []

    def where(term: str, *given: Any) -> None:
        terms.append(term)
        values.extend(given)

    error = any(one is not None for one in (error_code, error_place, cause))
    few = state in ("RECEIVED", "ERROR") or any(one is not None for one in (ids, control_id, parent_id))
    rare = (
        few
        or delivery_state in ("QUEUED", "PENDING", "ERROR")
        or (error and delivery_state in (None, "SENT"))
    )
    by_kind = None
    if not rare:  # what is rare is found by an index of its own, and each asked for the rest
        names = [channel] if channel is not None else channels
        asked = stretches.kinds(names, type) + stretches.outcomes(names, state, destination, delivery_state)
        by_kind = stretches.runs_of(tx, asked)
    if ids is not None:
        where("id IN (SELECT value FROM json_each(?))", orjson.dumps(list(ids)).decode())
    if channel is not None:
        where("channel = ?", channel)
    if channels is not None:
        where("channel IN (SELECT value FROM json_each(?))", orjson.dumps(list(channels)).decode())
    if state is not None:
        where(*_state_term(state))
    low, high = 0, 1 << 62  # ids between which all of it is
    if since is not None:  # + : rows are read in the order of ids, which is nearly that of times
        where("+received_at >= ?", since)
        low = _near_id(tx, since - MARGIN, "before")
    if until is not None:
        where("+received_at < ?", until)
        high = _near_id(tx, until + MARGIN, "after")
    if after is not None:
        low, high = (max(low, after), high) if oldest else (low, min(high, after))
    if control_id is not None:
        where("control_id = ? AND control_id <> ''", control_id)
    if mrn is not None:
        where(BLIND.format("mrn"), FIRST, LAST, tx.blind(mrn))
    if visit is not None:
        where(BLIND.format("visit"), FIRST, LAST, tx.blind(visit))
    for name, wanted in (columns or {}).items():
        condition, given = term(tx, name, wanted)
        if (
            rare or state == "FILTERED" or delivery_state == "DISCARDED"
        ):  # a list of all with the value may be long
            where(HAS.format(condition), *given)
        else:
            where(COLUMN.format(condition), FIRST, LAST, *given)
    if type is not None:
        where(
            "type = ?"
            if "^" in type
            else "(type = ? OR type >= ? || '^' AND type < ? || '_')",  # ^ is before _
            *[type] * (1 if "^" in type else 3),
        )
    if parent_id is not None:
        where("parent_id = ?", parent_id)
    if dismissed is not None:
        where(f"flags & {DISMISSED} = ?", DISMISSED * dismissed)
    few = few or state == "FILTERED" or any(one is not None for one in (mrn, visit, columns))
    delivery = _delivery_term(few, destination, delivery_state, error_code, error_place, cause)
    if delivery is not None:
        where(*delivery)
    if by_kind is not None and FIRST not in values:
        where(WITHIN.format("id"), FIRST, LAST)
    found_by_id = "" if FIRST not in values else "+"  # else a range of ids would be read from its far end
    if low > 0:
        where(f"{found_by_id}id > ?", low)
    if high < 1 << 62:
        where(f"{found_by_id}id < ?", high)
    condition = " AND ".join(terms) or "1"
    order = "ASC" if oldest else "DESC"
    sql = f"SELECT {ROW} FROM message WHERE {condition} ORDER BY id {order} LIMIT ?"
    rows: list[Any] = []
    for first, last in stretches.looks(tx, values, by_kind, (low, high), oldest, limit):
        inside = [first if one is FIRST else last if one is LAST else one for one in values]
        rows += tx.rows(sql, (*inside, limit - len(rows)))
        if len(rows) >= limit:
            break
    found = {row[0]: Row(*row[:10], *map(bool, row[10:])) for row in rows}
    if brief:
        return list(found.values())
    wanted = orjson.dumps(list(found)).decode()
    for message_id, name, delivered in tx.rows(
        "SELECT message_id, destination, state FROM delivery"
        " WHERE message_id IN (SELECT value FROM json_each(?)) ORDER BY message_id, slot",
        (wanted,),
    ):
        found[message_id].deliveries[name] = delivered
    for message_id, plain in plain_of(tx, list(found)).items():
        found[message_id].columns = plain
    return list(found.values())


def ids(reading: Callable[[], AbstractContextManager[Tx]], limit: int, **filters: Any) -> list[int]:
    """The ids of the oldest `limit` messages that `find` finds and that are there now, the oldest first.

    Read in portions, each in a transaction of its own (`reading`), as a long one would keep the log of the database
    from being begun anew; one portion of rows is in memory.
    """
    found: list[int] = []
    newest: int | None = None
    while len(found) < limit:
        with reading() as tx:
            newest = newest_id(tx) if newest is None else newest
            after = found[-1] if found else 0
            rows = find(
                tx, **filters, after=after, oldest=True, limit=min(PORTION, limit - len(found)), brief=True
            )
        found += [row.id for row in rows if row.id <= newest]
        if len(rows) < PORTION or rows[-1].id > newest:
            break
    return found


def newest_id(tx: Tx) -> int:
    """The id of the last message that came; 0 when there is none."""
    return int(tx.rows("SELECT coalesce(max(id), 0) FROM message")[0][0])


def _state_term(state: str) -> tuple[Any, ...]:
    """By the indexes of what is rare; what is not is met soon on the way from the newest message."""
    if state == "FILTERED":  # perhaps not rare: by stretches
        return (
            "id IN (SELECT id FROM message INDEXED BY message_filtered"
            f" WHERE state = 'FILTERED' AND {WITHIN.format('id')})",
            FIRST,
            LAST,
        )
    index = {"RECEIVED": "message_unrouted", "ERROR": "message_error"}.get(state)
    if index is None:
        return ("state = ?", state)
    return (f"id IN (SELECT id FROM message INDEXED BY {index} WHERE state = '{state}')",)


def _near_id(tx: Tx, at: Micros, side: str) -> int:
    """The id of a message about this time: the last one before it, or the first one after it."""
    if side == "before":
        rows = tx.rows(
            "SELECT id FROM message WHERE received_at < ? ORDER BY received_at DESC LIMIT 1", (at,)
        )
        return rows[0][0] if rows else 0
    rows = tx.rows("SELECT id FROM message WHERE received_at >= ? ORDER BY received_at LIMIT 1", (at,))
    return rows[0][0] if rows else 1 << 62


def _delivery_term(
    few: bool,
    destination: str | None,
    state: str | None,
    code: str | None,
    place: str | None,
    cause: str | None,
) -> tuple[Any, ...] | None:
    error = [
        (term, value)
        for term, value in (
            ("error_code = ?", code),
            ("error_place = ?", place),
            ("cause(error_code, error_place) = ?", cause),
        )
        if value is not None
    ]
    given = [("destination = ?", destination)] * (destination is not None) + error
    terms = [term for term, _ in given]
    values: list[Any] = [str(value) for _, value in given]
    if state is not None:
        open_ = "state IN ('QUEUED', 'PENDING') AND " if state in ("QUEUED", "PENDING") else ""
        terms.append(
            f"{open_}state = '{DeliveryState(state)}'"
        )  # a literal, so that the partial index is used
    elif error:
        terms.append("state = 'ERROR'")
    if not terms:
        return None
    if not error and state in (None, "SENT"):  # perhaps nearly all: of few messages each is asked
        if few:
            return (
                f"EXISTS (SELECT 1 FROM delivery WHERE message_id = message.id AND {' AND '.join(terms)})",
                *values,
            )
        return (
            f"id IN (SELECT message_id FROM delivery WHERE {WITHIN.format('message_id')} AND {' AND '.join(terms)})",
            FIRST,
            LAST,
            *values,
        )
    if state == "SENT":
        terms.append("(error_code IS NOT NULL OR error_place IS NOT NULL)")  # as the partial index says it
    if state == "DISCARDED":
        terms.append(WITHIN.format("message_id"))
        values += [FIRST, LAST]
    selected = f"SELECT message_id FROM delivery WHERE {' AND '.join(terms)}"
    if destination is None and state is None:
        own = [UNDISMISSED] * (cause is not None) + [term for term, _ in error]
        selected += f" UNION SELECT id FROM message WHERE state = 'ERROR' AND {' AND '.join(own)}"
        values.extend(value for _, value in error)
    return (f"id IN ({selected})", *values)


def counts(tx: Tx) -> dict[str, dict[str, int]]:
    """Totals since the database was made: {"adt": {"received": 5, "sent/odoo": 5}}."""
    totals: dict[str, dict[str, int]] = {}
    for channel, destination, name, value in tx.rows("SELECT channel, destination, name, value FROM counter"):
        totals.setdefault(channel, {})[f"{name}/{destination}" if destination else name] = value
    return totals


def backlog(tx: Tx) -> dict[str, dict[str, int]]:
    """What is to be done now: {"adt": {"RECEIVED": 3, "QUEUED/odoo": 12, "ERROR/odoo": 1, "ERROR": 2}}."""
    waiting: dict[str, dict[str, int]] = {}
    for channel, name, number in tx.rows(
        "SELECT channel, 'RECEIVED', count(*) FROM message WHERE state = 'RECEIVED' GROUP BY channel"
        " UNION ALL SELECT channel, 'ERROR', count(*) FROM message WHERE state = 'ERROR'"
        f" AND {UNDISMISSED} GROUP BY channel"
        " UNION ALL SELECT channel, 'QUEUED/' || destination, count(*) FROM delivery"
        " WHERE state IN ('QUEUED', 'PENDING') GROUP BY channel, destination"
        " UNION ALL SELECT channel, 'ERROR/' || destination, count(*) FROM delivery"
        " WHERE state = 'ERROR' GROUP BY channel, destination"
    ):
        waiting.setdefault(channel, {})[name] = number
    return waiting


def show(tx: Tx, message_id: int) -> dict[str, Any] | None:
    """Everything about one message, bodies included as bytes; None when there is none.

    Keys: the columns of the row, `patient` (whether it names one), `raw`, `answer`, `deliveries` (columns,
    `payload`, `request`, `response`), `events`, `children` (ids of its replays), `parts` (ids of
    what steps made of it: the parts of a split, and what its answers gave to other channels).
    """
    shown = _one(tx, "SELECT * FROM message WHERE id = ?", message_id)
    if shown is None:
        return None
    shown["patient"] = shown["mrn"] is not None
    for hidden in ("digest", "ordering_key", "also_keys", "mrn", "visit"):
        del shown[hidden]
    body = tx.get(message_id, Kind.RAW)
    shown["raw"] = body[0] if body else None
    shown["answer"] = ack_of(tx, message_id)[0]
    shown["deliveries"] = _all(tx, "SELECT * FROM delivery WHERE message_id = ? ORDER BY slot", message_id)
    for delivery in shown["deliveries"]:
        slot = delivery.pop("slot")
        payload = tx.get(message_id, Kind.PAYLOAD, slot)
        exchange = tx.get(message_id, Kind.EXCHANGE, slot)
        delivery["payload"] = payload[0] if payload else None
        delivery["request"], delivery["response"] = exchange or (None, None)
    shown["events"] = _all(
        tx,
        "SELECT at, destination, kind, actor, detail FROM event WHERE message_id = ? ORDER BY id",
        message_id,
    )
    made = tx.rows("SELECT id, flags FROM message WHERE parent_id = ? ORDER BY id", (message_id,))
    shown["children"] = [row[0] for row in made if not row[1] & PART]
    shown["parts"] = [row[0] for row in made if row[1] & PART]
    return shown


def _all(tx: Tx, sql: str, message_id: int) -> list[dict[str, Any]]:
    cursor = tx.execute(sql, (message_id,))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _one(tx: Tx, sql: str, message_id: int) -> dict[str, Any] | None:
    found = _all(tx, sql, message_id)
    return found[0] if found else None
