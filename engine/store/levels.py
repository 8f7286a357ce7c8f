"""Storage levels: what is left of a message once nothing is to be done for it any more.

Guarantees: with `no-content` and `metadata` the bodies go in the very transaction that finishes the message
(FILTERED, or every delivery SENT or DISCARDED); until then nothing goes, for it may still be needed. The digest
stays, so a message that is sent again is recognised.
Refuses nothing. Pages that are freed hold what was encrypted until they are used again.

| level      | bodies | ACK                    | texts of errors and reasons, notes |
|------------|--------|------------------------|------------------------------------|
| full       | kept   | kept                   | kept                               |
| no-content | gone   | kept                   | kept                               |
| metadata   | gone   | its code (MSA-1)       | gone; codes and places are kept    |
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.store.bodies import Kind, body_id
from engine.store.tx import Q, Tx

UNLIMITED = 1 << 40


def set_levels(tx: Tx, levels: Mapping[str, str]) -> None:
    """Keep the levels of the channels with the database, so that acts without a configuration obey them too."""
    tx.execute("DELETE FROM setting WHERE name LIKE 'storage:%'")
    rows = [(f"storage:{channel}", level) for channel, level in levels.items() if level != "full"]
    tx.executemany("INSERT INTO setting (name, value) VALUES (?, ?)", rows)
    load_levels(tx)


def load_levels(tx: Tx) -> None:
    """Read the levels; called when a writer is opened."""
    rows = tx.rows("SELECT name, value FROM setting WHERE name LIKE 'storage:%'")
    tx.levels = {name.partition(":")[2]: level for name, level in rows}


def settle(tx: Tx, message_id: int, channel: str) -> None:
    """Something ended for this message: when everything has, keep of it what the level of its channel says."""
    level = tx.levels.get(channel)
    if level is not None and tx.execute(Q["is_finished"], (message_id,)).fetchone():
        forget(tx, message_id, ack=level != "metadata", texts=level != "metadata")


def forget(tx: Tx, message_id: int, *, ack: bool, texts: bool, limit: int = UNLIMITED) -> int:
    """Delete the bodies of a message, all but its `ack`; without `texts` its texts too.

    Gives the number of rows changed, at most `limit`; when it is `limit`, call again.
    """
    changed = 0
    if ack and tx.get(message_id, Kind.ACK) is None:
        both = tx.get(message_id, Kind.RAW)
        if both is not None and both[1]:
            tx.put(message_id, Kind.ACK, both[1])
            changed = 1
    kept = body_id(message_id, Kind.ACK) if ack else -1
    lowest = body_id(message_id, Kind.RAW)
    changed += tx.execute(
        "DELETE FROM body WHERE id IN (SELECT id FROM body WHERE id BETWEEN ? AND ? AND id <> ? LIMIT ?)",
        (lowest, lowest + 4095, kept, limit - changed),
    ).rowcount
    if not texts:
        changed += tx.execute(
            "UPDATE delivery SET error_text = NULL, note = NULL WHERE message_id = ? AND destination IN"
            " (SELECT destination FROM delivery WHERE message_id = ?"
            " AND (error_text IS NOT NULL OR note IS NOT NULL) LIMIT ?)",
            (message_id, message_id, limit - changed),
        ).rowcount
    if not texts and changed < limit:
        changed += tx.execute(
            "UPDATE message SET error_text = NULL, reason = NULL"
            " WHERE id = ? AND (error_text IS NOT NULL OR reason IS NOT NULL)",
            (message_id,),
        ).rowcount
    return changed
