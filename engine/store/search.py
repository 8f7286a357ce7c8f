"""What people ask of the store: find messages, show one wholly, count.

Guarantees: exact answers from indexes; lists never read bodies; identifiers are looked up by their blind
index, so they are matched exactly or not at all. Times are microseconds since the epoch.
Refuses: filters it does not know (TypeError at the call).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from engine.clock import Micros
from engine.states import DeliveryState
from engine.store.bodies import Kind
from engine.store.causes import DISMISSED, UNDISMISSED
from engine.store.columns import plain_of, term
from engine.store.messages import PART, ack_of
from engine.store.tx import Tx

FIRST, LAST = object(), object()
"""In the values of a condition: the first and the last stretch (2048 ids, see schema.sql) that is looked into."""
_WITHIN = "{0} >= ? << 11 AND {0} < (? + 1) << 11"
_STRETCHES = "WITH RECURSIVE stretch (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM stretch WHERE n < ?)"
BLIND = f"id IN ({_STRETCHES} SELECT m.id FROM stretch CROSS JOIN message AS m WHERE m.id >> 11 = n AND m.{{}} = ?)"
_COLUMN = (
    f"id IN ({_STRETCHES} SELECT c.message_id FROM stretch CROSS JOIN message_column AS c"
    " WHERE c.message_id >> 11 = n AND {})"
)
MARGIN: Micros = 600_000_000
"""How far the clock may have been set back: within it, a time range is found whatever the order of ids."""
RUNS = 64  # runs of stretches that are looked into one by one; more are not worth it
NEAR = 4  # stretches that are looked into first; each further look takes in WIDER times as many
WIDER = 4
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
) -> list[Row]:
    """Messages that meet every filter, newest first; `after` continues below that id. With `oldest` the other way.

    `error_code` and `error_place` match the message's own error or that of one of its deliveries (of
    `destination`, when given); `cause` is the fingerprint of an open error (engine.store.causes).
    `columns` are searchable columns (engine.store.columns). `dismissed=False` leaves out messages whose own error
    an operator has dealt with. `type` is "ADT" or "ADT^A01".
    """
    terms: list[str] = []
    values: list[Any] = []

    def where(term: str, *given: Any) -> None:
        terms.append(term)
        values.extend(given)

    if ids is not None:
        where("id IN (SELECT value FROM json_each(?))", orjson.dumps(list(ids)).decode())
    if channel is not None:
        where("channel = ?", channel)
    if channels is not None:
        where("channel IN (SELECT value FROM json_each(?))", orjson.dumps(list(channels)).decode())
    if state is not None:
        where(*_state_term(state))
    if since is not None:  # + : rows are read in the order of ids, which is nearly that of times
        where("+received_at >= ? AND id > ?", since, _near_id(tx, since - MARGIN, "before"))
    if until is not None:
        where("+received_at < ? AND id < ?", until, _near_id(tx, until + MARGIN, "after"))
    if control_id is not None:
        where("control_id = ? AND control_id <> ''", control_id)
    if mrn is not None:
        where(BLIND.format("mrn"), FIRST, LAST, tx.blind(mrn))
    if visit is not None:
        where(BLIND.format("visit"), FIRST, LAST, tx.blind(visit))
    for name, wanted in (columns or {}).items():
        condition, given = term(tx, name, wanted)
        where(_COLUMN.format(condition), FIRST, LAST, *given)
    if type is not None:
        where(
            "type = ?"
            if "^" in type
            else "(type = ? OR type >= ? || '^' AND type < ? || '_')",  # ^ is before _
            *[type] * (1 if "^" in type else 3),
        )
    if parent_id is not None:
        where("parent_id = ?", parent_id)
    if after is not None:
        where("id > ?" if oldest else "id < ?", after)
    if dismissed is not None:
        where(f"flags & {DISMISSED} = ?", DISMISSED * dismissed)
    delivery = _delivery_term(destination, delivery_state, error_code, error_place, cause)
    if delivery is not None:
        where(*delivery)
    by_kind = None
    if ids is None and control_id is None and parent_id is None:
        by_kind = _stretches_of(tx, channel, channels, type)
    if by_kind is not None and FIRST not in values:
        where(_WITHIN.format("id"), FIRST, LAST)
    condition = " AND ".join(terms) or "1"
    order = "ASC" if oldest else "DESC"
    sql = f"SELECT {ROW} FROM message WHERE {condition} ORDER BY id {order} LIMIT ?"
    rows: list[Any] = []
    for first, last in _looks(tx, values, by_kind, after, oldest, limit):
        inside = [first if one is FIRST else last if one is LAST else one for one in values]
        rows += tx.rows(sql, (*inside, limit - len(rows)))
        if len(rows) >= limit:
            break
    found = {row[0]: Row(*row[:10], *map(bool, row[10:])) for row in rows}
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


def _state_term(state: str) -> tuple[Any, ...]:
    """By the indexes of what is rare; what is not is met soon on the way from the newest message."""
    if state == "FILTERED":  # perhaps not rare: by stretches
        return (
            "id IN (SELECT id FROM message INDEXED BY message_filtered"
            f" WHERE state = 'FILTERED' AND {_WITHIN.format('id')})",
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


def _stretches_of(
    tx: Tx, channel: str | None, channels: Sequence[str] | None, type: str | None
) -> list[tuple[int, int]] | None:
    """Runs of stretches that hold messages of these channels and this type, the oldest first; None: look everywhere."""
    names = [channel] if channel is not None else channels
    if names is None and type is None:
        return None
    terms, values = ["1"], []
    if names is not None:
        terms.append("channel IN (SELECT value FROM json_each(?))")
        values.append(orjson.dumps(list(names)).decode())
    if type is not None:
        terms.append("type = ?" if "^" in type else "(type = ? OR type >= ? || '^' AND type < ? || '_')")
        values += [type] * (1 if "^" in type else 3)
    found = tx.rows(
        f"SELECT DISTINCT stretch FROM message_kind WHERE {' AND '.join(terms)} ORDER BY stretch", values
    )
    runs: list[tuple[int, int]] = []
    for (number,) in found:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs if len(runs) <= RUNS or len(found) * 8 < everywhere(tx)[1] else None


def _looks(
    tx: Tx,
    values: list[Any],
    by_kind: list[tuple[int, int]] | None,
    after: int | None,
    oldest: bool,
    limit: int,
) -> Iterator[tuple[int, int]]:
    """The stretches to look into, one look after the other: near ones first, as a page is soon full of them.

    One look where nothing is found by stretches, or everything is wanted.
    """
    if FIRST not in values:
        yield 0, 0
        return
    lowest, highest = everywhere(tx)
    if after is not None and oldest:
        lowest = max(lowest, after >> 11)
    elif after is not None:
        highest = min(highest, after >> 11)
    if by_kind is not None:
        runs = [(max(first, lowest), min(last, highest)) for first, last in by_kind]
        yield from [run for run in (runs if oldest else reversed(runs)) if run[0] <= run[1]]
        return
    size = NEAR if limit <= 1000 else highest - lowest + 1
    while lowest <= highest:
        if oldest:
            yield lowest, min(lowest + size - 1, highest)
            lowest += size
        else:
            yield max(highest - size + 1, lowest), highest
            highest -= size
        size *= WIDER


def everywhere(tx: Tx) -> tuple[int, int]:
    """The first and the last stretch that there is."""
    ((first, last),) = tx.rows(  # both in one SELECT of message would read the whole index
        "SELECT coalesce((SELECT min(id) FROM message), 0) >> 11, coalesce((SELECT max(id) FROM message), 0) >> 11"
    )
    return first, last


def _delivery_term(
    destination: str | None, state: str | None, code: str | None, place: str | None, cause: str | None
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
    if not error and state in (None, "SENT"):  # nearly all: each message that is met is asked
        return (
            f"EXISTS (SELECT 1 FROM delivery WHERE message_id = message.id AND {' AND '.join(terms)})",
            *values,
        )
    if state == "DISCARDED":
        terms.append(_WITHIN.format("message_id"))
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
