"""The relatives of a message, over channels: what it was replayed, edited or divided from, and what came of it.

Guarantees: in the order of a tree, each below its parent; at most MOST, from the eldest on. Refuses nothing.
"""

from __future__ import annotations

import msgspec

from engine.store import search
from engine.store.messages import EDITED, PART
from engine.store.tx import Tx

MOST = 200
_FAMILY = """
WITH RECURSIVE up (id, parent_id, height) AS (
    SELECT id, parent_id, 0 FROM message WHERE id = ?1
    UNION SELECT m.id, m.parent_id, height + 1 FROM up JOIN message AS m ON m.id = up.parent_id WHERE height < ?2),
  down (id, depth) AS (
    SELECT id, 0 FROM (SELECT id FROM up ORDER BY height DESC LIMIT 1)
    UNION ALL SELECT m.id, depth + 1 FROM down JOIN message AS m ON m.parent_id = down.id
    ORDER BY 2 DESC, 1 LIMIT ?2)
SELECT down.id, depth, m.parent_id, m.flags FROM down JOIN message AS m ON m.id = down.id
"""


class Relative(msgspec.Struct):
    """One message of a family; `depth` below the eldest, `lineage`: what it is of its parent."""

    id: int
    depth: int
    lineage: str
    channel: str
    type: str
    state: str
    received_at: int
    deliveries: dict[str, str]


def lineage(parent_id: int | None, flags: int) -> str:
    """What a message is of its parent."""
    if parent_id is None:
        return ""
    return "edited copy" if flags & EDITED else "part" if flags & PART else "replay"


def family(tx: Tx, message_id: int) -> list[Relative]:
    """The whole family, itself too; [] when there is no such message."""
    found = tx.rows(_FAMILY, (message_id, MOST))
    rows = {row.id: row for row in search.find(tx, ids=[one[0] for one in found], limit=MOST)}
    return [
        Relative(
            number, depth, lineage(parent_id, flags), row.channel, row.type, row.state, row.received_at, row.deliveries
        )
        for number, depth, parent_id, flags in found
        if (row := rows.get(number))
    ]  # fmt: skip
