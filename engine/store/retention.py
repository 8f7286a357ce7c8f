"""Retention: what goes by age, by size, and how it goes without getting in anybody's way.

Guarantees: a message that is not finished (RECEIVED, or a delivery QUEUED, PENDING or in ERROR) is never touched,
which is looked at again inside the transaction that deletes; one call of `prune` changes at most `rows` rows; of
a message the rest goes first and its row last, so that a run that is cut off is simply continued.
A message in ERROR goes when an operator dealt with it, or with `errors: AGE`; deliveries in ERROR are first
discarded, with an event each.
Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

from engine.clock import Micros
from engine.spec.options import ChannelOptions
from engine.store import operate
from engine.store.levels import forget
from engine.store.operate import Discarded
from engine.store.tx import Q, Tx

ROWS = 200  # changed in one transaction, at most
WINDOW = 4096  # messages looked at in one read
GIVEN_UP = 40  # deliveries discarded in one transaction; each changes several rows
ACTOR = "retention"
"""Who acts, in events."""
ALWAYS: Micros = 1 << 62


class Rule(msgspec.Struct, frozen=True):
    """Which finished messages of a channel lose their content, or go wholly. Times in microseconds."""

    channel: str
    what: Literal["content", "messages"]
    before: Micros  # received before
    errors_before: Micros = 0  # and when in ERROR, received before (0: never)
    ack_before: Micros = 0  # content: the ACK goes too, when received before
    texts: bool = True  # content: texts of errors are kept
    until: int | None = None  # no message above this id


class Window(NamedTuple):
    """A stretch of the table: seen up to the id `upto`, which is this `part` of the way (0 to 1); ids that are due."""

    upto: int
    part: float
    ids: list[int]


class Pruned(msgspec.Struct):
    """What one `prune` did: ids of the list that are done with, messages changed, rows changed."""

    done: int
    messages: int
    rows: int


def rules(channel: str, options: ChannelOptions, now: Micros) -> list[Rule]:
    """What the ages and the storage level of a channel ask for now."""
    kept = options.retention
    found = []
    age = kept.content if options.storage == "full" else 0
    if age is not None:
        found.append(content_rule(channel, options, now, now - age * 1_000_000))
    if kept.messages is not None:
        before = now - kept.messages * 1_000_000
        found.append(Rule(channel, "messages", before, errors_before(options, now)))
    return found


def errors_before(options: ChannelOptions, now: Micros) -> Micros:
    """Errors from before this time are given up; 0: none ever."""
    age = options.retention.errors
    return 0 if age == "keep" else now - age * 1_000_000


def content_rule(
    channel: str, options: ChannelOptions, now: Micros, before: Micros = ALWAYS, until: int | None = None
) -> Rule:
    """Content goes. The ACK stays as long as a repeated message is answered with it (and with `no-content`),
    but not when it is room that is needed (`until`): a repeated message is then answered with the stored code.
    """
    remembered = ALWAYS if until is not None else now - options.duplicates.window * 1_000_000
    ack_before = {"full": remembered, "no-content": 0, "metadata": ALWAYS}[options.storage]
    texts = options.storage != "metadata"
    return Rule(channel, "content", before, errors_before(options, now), ack_before, texts, until)


def walk(tx: Tx, rule: Rule, after: int = 0) -> Iterator[Window]:
    """Ids that are due, oldest first, a window of the table at a time."""
    end = rule.until
    if end is None:
        last = tx.execute(Q["last_before"], (rule.before,)).fetchone()
        end = last[0] if last else 0
    first = tx.execute("SELECT min(id) FROM message").fetchone()[0] or 1
    begin = at = max(after, first - 1)
    while at < end:
        upto = min(at + WINDOW, end)
        values = (at, upto, rule.channel, rule.before, rule.errors_before, rule.what == "messages")
        found = [row[0] for row in tx.rows(Q["due"], values)]
        at = upto
        yield Window(upto, (upto - begin) / (end - begin), found)


def prune(tx: Tx, rule: Rule, ids: Sequence[int], rows: int = ROWS) -> Pruned:
    """Carry out a rule on the first of these messages, changing at most `rows` rows.

    Go on with `ids[done:]`. What is not finished any more (it was sent again) is passed over.
    """
    left, done, changed = rows, 0, 0
    for message_id in ids:
        found = tx.execute(Q["still_due"], (message_id, rule.errors_before)).fetchone()
        if found is not None:
            if rule.what == "messages":
                gone, used = _delete(tx, message_id, left)
            else:
                keep = found[0] >= rule.ack_before
                used = forget(tx, message_id, ack=keep, texts=rule.texts, limit=left)
                gone = used < left  # else perhaps not all of it: it is looked at again
            left -= used
            if not gone:
                break
            changed += 1
        done += 1
        if left == 0:
            break
    if changed and rule.what == "messages" and ids[0] >> 11 != ids[done - 1] >> 11:
        tx.execute(Q["prune_kinds"])
        tx.execute(Q["prune_outcomes"])
    if changed:
        tx.count(rule.channel, "content_pruned" if rule.what == "content" else "pruned", by=changed)
    return Pruned(done, changed, rows - left)


def _delete(tx: Tx, message_id: int, limit: int) -> tuple[bool, int]:
    """Everything of a message, its row last: whether that is gone, and the rows changed, at most `limit`."""
    changed = 0
    for query in ("prune_events", "prune_bodies", "prune_deliveries", "prune_columns"):
        changed += tx.execute(Q[query], (message_id, limit - changed)).rowcount
    if changed >= limit:
        return False, changed
    tx.execute(Q["prune_message"], (message_id,))
    return True, changed + 1


def give_up(tx: Tx, channel: str, before: Micros, limit: int = GIVEN_UP) -> list[Discarded]:
    """Discard deliveries that have been in ERROR since before `before` (`errors: AGE`).

    Each leaves an event and counts as discarded; their lanes must be told.
    """
    given_up: list[Discarded] = []
    for message_id, destination in tx.rows(Q["old_errors"], (channel, before, limit)):
        note = "given up by retention: its error was older than the channel keeps errors"
        given_up += operate.discard(tx, [message_id], ACTOR, destination=destination, note=note)
    return given_up


def given_up_by(tx: Tx, channel: str, before: Micros) -> int:
    """How many deliveries `give_up` would discard."""
    return len(tx.rows(Q["old_errors"], (channel, before, -1)))


class Sizes:
    """Bytes of the bodies of one channel, by window of message ids; measured once, then only where it grows."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self._known: dict[int, int] = {}

    def floor(self, tx: Tx, limit: int) -> int | None:
        """The newest message whose content must go so that the rest is at most `limit` bytes; None: it fits."""
        low, high = tx.execute("SELECT min(id), max(id) FROM message").fetchone()
        if high is None:
            return None
        grows = max(self._known, default=0) - 1
        total = 0
        for window in range(high // WINDOW, low // WINDOW - 1, -1):
            if window not in self._known or window >= grows:
                self._known[window] = self._measure(tx, window)
            newer, total = total, total + self._known[window]
            if total > limit:
                self._known = {number: size for number, size in self._known.items() if number > window}
                return self._within(tx, window, newer, limit)
        return None

    def _measure(self, tx: Tx, window: int) -> int:
        values = (self.channel, window * WINDOW, (window + 1) * WINDOW)
        size: int = tx.execute(Q["size_of_window"], values).fetchone()[0]
        return size

    def _within(self, tx: Tx, window: int, newer: int, limit: int) -> int:
        """The message of this window with which the newer ones are too much."""
        values = (self.channel, window * WINDOW, (window + 1) * WINDOW)
        for message_id, size in tx.rows(Q["sizes_in_window"], values):
            newer += size
            if newer > limit:
                return int(message_id)
        return window * WINDOW
