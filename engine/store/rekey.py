"""The ordering keys of what is open, made anew when a channel makes them otherwise from now on.

Guarantees: a message that waits for its steps, and one with a delivery that is open or in ERROR, has the keys that the
channel gives to what it receives now, so these keep their order; what the channel's present format cannot read, and
what names nobody by it, keeps the keys that it has. How the keys are made is kept (`keep`) when that is done: cut off,
it is done again.
Refuses nothing.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping

import orjson

from engine.errors import StoreError
from engine.store.messages import pack_keys, raw
from engine.store.tx import Q, Tx

ROWS = 50  # messages read in one transaction: an ACK waits for no more than one
UNKNOWN = ""  # how the keys of a channel are made
_SETTING = "keyed"
Keys = Callable[[bytes], tuple[int, ...]]
"""The ordering keys of these bytes, the own one first; 0: none. Raises IsthmusError when they cannot be read."""


def kept(tx: Tx) -> dict[str, str]:
    """How the keys of each channel are made, as far as it ever ran."""
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (_SETTING,))
    found: dict[str, str] = orjson.loads(rows[0][0]) if rows else {}
    return found


def keep(tx: Tx, made: Mapping[str, str]) -> None:
    """The keys of these channels are made so, of everything that is open."""
    value = orjson.dumps({**kept(tx), **made}).decode()
    tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (_SETTING, value))


def doubt(tx: Tx, channel: str) -> None:
    """Some open message of this channel may have keys of another day: they are made anew when it runs next."""
    if kept(tx).get(channel, UNKNOWN) != UNKNOWN:
        keep(tx, {channel: UNKNOWN})


def open_messages(tx: Tx, channel: str) -> array[int]:
    """The ids of its open messages, in order, 8 bytes each: read once, as reading sorts all of them."""
    return array("q", (row[0] for row in tx.execute(Q["open_messages"], (channel,))))


def rekey(tx: Tx, ids: Iterable[int], keys: Keys) -> None:
    """Give these messages today's keys."""
    for message_id in ids:
        try:
            content = raw(tx, message_id)
        except StoreError as error:
            if error.code not in ("store.corrupt", "store.key"):
                raise
            continue  # told where it is routed or sent
        renew(tx, message_id, content or b"", keys)


def renew(tx: Tx, message_id: int, content: bytes, keys: Keys) -> None:
    """Give one message today's keys."""
    try:
        own, *others = keys(content)
    except Exception:  # a format that stumbles over old bytes keeps nobody from going on
        return
    if own:
        also = pack_keys(tuple(others)) if others else None
        tx.execute("UPDATE message SET ordering_key = ?, also_keys = ? WHERE id = ?", (own, also, message_id))
