"""After a fix: how many of the messages of one error would now pass, before they are replayed.

Guarantees: each message that is looked at runs through today's channel and nothing is stored or sent; what a
destination refused is also compared with what stands in it now. Says how many were looked at when there are more.
Refuses (Refused): see console.preview; 422 when no message fits.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from console.acting import Desk
from console.preview import asked
from console.problems import Refused
from console.queries import Act, Query

LOOKED_AT = 1000  # messages whose own steps failed
ASKED_ABOUT = 50  # messages that a destination refused: it is asked what it holds
WHYS = 5  # reasons that are told


class Reason(msgspec.Struct):
    """Why some would not pass."""

    why: str
    count: int


class Again(msgspec.Struct):
    """Of `total` messages `looked_at` were tried: `passing` go through, `filtered` stop at a filter, `failing` fail.
    `destination_asked`: whether the destination was asked, too; it may refuse all the same when it is written to."""

    total: int
    looked_at: int
    passing: int
    filtered: int
    failing: int
    destination_asked: bool
    reasons: list[Reason]


def again(desk: Desk, config: Path, channel: str, cause: str, destination: str) -> Again:
    """How the messages with this open error would fare now."""
    query = Query(channel=channel, cause=cause, destination=destination or None)
    kept, _, _ = desk.weigh(Act(verb="replay", query=query))
    if not kept:
        raise Refused(422, "query.nothing", "no messages fit")
    some = spread(kept, ASKED_ABOUT if destination else LOOKED_AT)
    place = ["--config", str(config), "--data", str(desk.stores.data_dir)]
    brief = [] if destination else ["--brief"]
    told = asked(["messages", "replay", "--dry-run", "--json", *brief, *place, *map(str, some)])
    fates: dict[int, tuple[int, str]] = {}  # message -> how it fares at worst
    for effect in told:
        rank, why = 0, effect["why"]
        if effect["state"] == "ERROR" or why.startswith("it would fail"):
            rank = 2
        elif effect["state"] == "FILTERED":
            rank = 1
        number = effect["message_id"]
        fates[number] = max(fates.get(number, (0, "")), (rank, why if rank else ""))
    ranks = Counter(rank for rank, _ in fates.values())
    reasons = Counter(why for rank, why in fates.values() if rank == 2)
    return Again(
        len(kept), len(some), ranks[0], ranks[1], ranks[2], bool(destination),
        [Reason(why, count) for why, count in reasons.most_common(WHYS)],
    )  # fmt: skip


def spread(ids: list[int], most: int) -> list[int]:
    """At most so many of these, evenly from the first to the last."""
    if len(ids) <= most:
        return ids
    return [ids[index * (len(ids) - 1) // (most - 1)] for index in range(most)]
