"""The audit log: who did what and who saw which patient data, each row chained to the one before.

Guarantees: rows are only appended; each holds a keyed hash of itself and of the row before, so a row that is
changed, taken out or put in is found by `verify` (without the key file nobody can make a right chain). What cannot
be found is a tail that was cut off together with its counter: keep the newest hash elsewhere (`audit verify --expect`).
Refuses nothing; holds no patient data: objects are ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from engine.clock import Micros, iso
from engine.store.tx import Tx

BY_CONSOLE = "ISTHMUS_AUDITED_BY_CONSOLE"
"""Set for a process whose views the console that started it keeps itself, by who asked there."""
PORTION = 5_000  # rows in memory at once


class Entry(msgspec.Struct):
    """One row. `outcome`: ok, refused or failed."""

    id: int
    at: Micros
    actor: str
    address: str
    action: str
    object: str
    outcome: str
    detail: str


class Verdict(msgspec.Struct):
    """What `verify` found: `broken` is the id of the first row that does not fit, 0 when all do; `expected`: whether a
    hash that was noted before is still there, None when none was named."""

    rows: int
    broken: int
    head: str
    expected: bool | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing was changed, taken out or cut off."""
        return not self.broken and self.expected is not False


_COLUMNS = "id, at, actor, address, action, object, outcome, detail"


def record(
    tx: Tx,
    actor: str,
    action: str,
    object: str = "",
    *,
    outcome: str = "ok",
    detail: str = "",
    address: str = "",
) -> int:
    """Append a row in the transaction of what it is about. Gives its id."""
    last = tx.rows("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1")
    before, chained = last[0] if last else (0, b"")
    entry = Entry(_next_id(tx, before), tx.now(), actor, address, action, object, outcome, detail)
    tx.execute(
        f"INSERT INTO audit ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*msgspec.structs.astuple(entry), _hash(tx, chained, entry)),
    )
    return entry.id


def span(ids: Sequence[int]) -> str:
    """Messages as an object: all of them when they are few."""
    return ",".join(map(str, ids)) if len(ids) <= 50 else f"{ids[0]}..{ids[-1]} ({len(ids)})"


def _next_id(tx: Tx, last: int) -> int:
    """Never used before, not even by a row that was deleted."""
    used = tx.rows("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
    return max(last, used[0][0] if used else 0) + 1


def _hash(tx: Tx, before: bytes, entry: Entry) -> bytes:
    return tx.digest(b"audit\0" + before + orjson.dumps(msgspec.structs.astuple(entry)))


def find(
    tx: Tx, *, actor: str | None = None, action: str | None = None, object: str | None = None,
    since: Micros | None = None, until: Micros | None = None, after: int | None = None, limit: int = 100,
) -> list[Entry]:  # fmt: skip
    """Rows that fit, newest first; `after` continues below that id."""
    given: list[tuple[str, Any]] = [
        ("actor = ?", actor), ("action = ?", action), ("object = ?", object), ("at >= ?", since),
        ("at < ?", until), ("id < ?", after),
    ]  # fmt: skip
    used = [(term, value) for term, value in given if value is not None]
    condition = " AND ".join(term for term, _ in used) or "1"
    rows = tx.rows(
        f"SELECT {_COLUMNS} FROM audit WHERE {condition} ORDER BY id DESC LIMIT ?",
        (*(value for _, value in used), limit),
    )
    return [Entry(*row) for row in rows]


def verify(tx: Tx, expect: str | None = None) -> Verdict:
    """Go through the whole chain, and look for the hash of an entry that was noted before."""
    chained, last, count = b"", 0, 0
    expected = None if expect is None else holds(tx, expect)
    while True:
        rows = tx.rows(
            f"SELECT {_COLUMNS}, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?", (last, PORTION)
        )
        for *columns, kept in rows:
            entry = Entry(*columns)
            if entry.id != last + 1 or _hash(tx, chained, entry) != kept:
                return Verdict(count, entry.id, bytes(kept).hex(), expected)
            chained, last, count = kept, entry.id, count + 1
        if not rows:
            used = tx.rows("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
            cut = used[0][0] if used and used[0][0] > last else 0
            return Verdict(count, last + 1 if cut else 0, bytes(chained).hex(), expected)


def holds(tx: Tx, head: str) -> bool:
    """Whether an entry with this hash is in the log."""
    try:
        return bool(tx.rows("SELECT 1 FROM audit WHERE hash = ?", (bytes.fromhex(head),)))
    except ValueError:
        return False


def as_fhir(entry: Entry, source: str = "Isthmus") -> dict[str, Any]:
    """The row as a FHIR R4 AuditEvent (http://hl7.org/fhir/R4/auditevent.html)."""
    codes = {"ok": "0", "refused": "4", "failed": "8"}
    verbs = {
        "view": "R", "reveal": "R", "export": "R", "search": "R", "create": "C", "delete": "D", "change": "U",
        "able": "U", "lock": "U", "rotate": "U", "edit": "C",
    }  # fmt: skip
    type_ = {"system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest"}
    if entry.action in ("sign-in", "sign-out"):
        type_ = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "110114"}
    object_ = (
        {"what": {"identifier": {"value": entry.object}}} if entry.object.strip() else {"name": entry.action}
    )
    detail = [{"type": "detail", "valueString": entry.detail}] if entry.detail.strip() else []
    return {
        "resourceType": "AuditEvent",
        "id": f"isthmus-{entry.id}",
        "type": type_,
        "subtype": [{"display": entry.action}],
        "action": next((code for word, code in verbs.items() if word in entry.action), "E"),
        "recorded": iso(entry.at),
        "outcome": codes[entry.outcome],
        "agent": [
            {
                "who": {"identifier": {"value": entry.actor.strip() or "?"}},
                "requestor": True,
                **({"network": {"address": entry.address, "type": "2"}} if entry.address else {}),
            }
        ],
        "source": {"observer": {"display": source}},
        "entity": [object_ | ({"detail": detail} if detail else {})],
    }
