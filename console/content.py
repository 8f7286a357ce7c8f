"""Messages found by a text in their content, which no index knows: each that the other filters leave is looked into.

Guarantees: a search ends soon and says how far it came, and goes on from there when asked again; an act or an export
by text is about every message that fits, or is refused: never about the part that was looked at. Messages are read in
portions, each in a transaction of its own; while senders are busy the search keeps still most of the time.
Refuses (Refused): 403 without the right to see patient data; 422 `query.wide`, an act for which too many messages would
have to be looked into.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from console.problems import Refused
from console.stores import Stores
from engine.clock import Micros
from engine.security.roles import Identity
from engine.store import search
from engine.store.messages import raw

PORTION = 200  # messages in one transaction
LOOKED_AT = 20_000  # messages that one search looks into ...
PATIENCE = 3.0  # ... and seconds that it takes, at most
ACTED = 200_000  # messages that are looked into for an act
BUSY = 200.0  # messages a second that arrive
STILL = 9.0  # times as long as the last portion took: the search keeps still then ...
LONGEST_STILL = 1.0  # ... seconds, at most


class Looked(NamedTuple):
    """One search. `next`: go on below this id; None when there is nothing left to look into."""

    rows: list[search.Row]
    next: int | None
    looked_at: int  # messages
    back_to: Micros | None  # when the last of them was received


def look(
    stores: Stores, identity: Identity, text: str, filters: dict[str, Any], after: int | None, limit: int
) -> Looked:
    """The newest messages with a text, below the id `after`: `limit` of them, or as far as one search comes."""
    allowed(identity)
    until = time.monotonic() + PATIENCE
    rows: list[search.Row] = []
    looked_at, last = 0, None  # type: int, search.Row | None
    for row, fits in _read(stores, text, filters, after, oldest=False):
        looked_at, last = looked_at + 1, row
        if fits:
            rows.append(row)
        full = len(rows) == limit or looked_at == LOOKED_AT
        if full or (looked_at % PORTION == 0 and time.monotonic() > until):
            return Looked(rows, row.id, looked_at, row.received_at)
    return Looked(rows, None, looked_at, last.received_at if last else None)


def every(
    stores: Stores, identity: Identity, text: str, filters: dict[str, Any], most: int | None = None
) -> Iterator[search.Row]:
    """Every message with a text, the oldest first. Refused when more than `most` would have to be looked into."""
    allowed(identity)
    for looked_at, (row, fits) in enumerate(_read(stores, text, filters, 0, oldest=True)):
        if most is not None and looked_at >= most:
            raise Refused(
                422, "query.wide", f"more than {most:,} messages would have to be looked into for that text",
                "narrow it by channel, type or time",
            )  # fmt: skip
        if fits:
            yield row


def allowed(identity: Identity) -> None:
    """Refused unless they may see what messages hold."""
    if not identity.reveal:
        raise Refused(403, "forbidden", "to search in content needs the right to see patient data")


def contains(text: str) -> Callable[[bytes], bool]:
    """Whether bytes contain a text, in UTF-8 or Latin-1, whatever its case."""
    wanted = {text.lower().encode("utf-8", "replace"), text.lower().encode("latin-1", "replace")}
    return lambda content: any(one in content.lower() for one in wanted)


def _read(
    stores: Stores, text: str, filters: dict[str, Any], after: int | None, *, oldest: bool
) -> Iterator[tuple[search.Row, bool]]:
    """The messages that the other filters leave, and whether they have the text. None that comes meanwhile."""
    matching = contains(text)
    newest: int | None = None
    came, then = 0, time.monotonic()
    while True:
        began = time.monotonic()
        with stores.reading() as tx:
            now = search.newest_id(tx)
            newest = now if newest is None else newest
            rows = [
                row
                for row in search.find(tx, **filters, after=after, oldest=oldest, limit=PORTION)
                if row.id <= newest
            ]
            found = [(row, (content := raw(tx, row.id)) is not None and matching(content)) for row in rows]
        took = time.monotonic() - began
        yield from found
        if len(rows) < PORTION:
            return
        after = rows[-1].id
        if came and now - came > BUSY * (began - then):
            time.sleep(min(took * STILL, LONGEST_STILL))
        came, then = now, began
