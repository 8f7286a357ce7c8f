"""Order: which deliveries may go now.

A delivery belongs to one or more *units* (its ordering keys; with `on_error: hold_lane` the lanes of these
keys too). Each unit has a queue in order of receipt. A delivery may go when it is at the head of all of its units:
so messages of one patient go strictly one after the other, everybody else passes, and a merge, which belongs
to the units of both patients, is a barrier for them alone. Since every delivery joins all of its queues at
once and in the same order, no two can wait for each other.

| situation                              | what happens                                                      |
|----------------------------------------|-------------------------------------------------------------------|
| sent, discarded, or ERROR with `skip`  | `remove`: the next of each of its units may go                    |
| to be tried again later                | stays at the head; its units wait, in the store as in memory      |
| ERROR with `hold_key` or `hold_lane`   | `park`: stays at the head until an operator resends or discards   |
| a unit of the merge is busy            | the merge waits; what came after it for either patient waits too  |

Memory only: after a restart the queues are built again from the store (QUEUED and parked ERROR deliveries in
order of receipt), so nothing here needs to be saved.
"""

from __future__ import annotations

from collections import deque
from typing import Any


class Entry:
    """One open delivery in the queues. `owner` is told by `owner.ready(entry)` when it may go."""

    __slots__ = (
        "attempts",
        "blockers",
        "id",
        "next_at",
        "owner",
        "parked",
        "payload",
        "pending",
        "since",
        "units",
    )

    def __init__(
        self, id: int, owner: Any, units: tuple[int, ...], attempts: int = 0, next_at: int = 0
    ) -> None:
        self.id = id  # message id
        self.owner = owner
        self.units = units
        self.attempts = attempts
        self.next_at = next_at  # microseconds since the epoch; 0: now
        self.payload: bytes | None = None  # a cache; the store has it
        self.blockers = 0  # units whose head is another entry
        self.parked = False
        self.pending = False  # sent; its answer waits for the response steps
        self.since = 0  # when it was taken for an attempt

    def __lt__(self, other: Entry) -> bool:
        return self.id < other.id


class Lanes:
    """The queues of one order scope."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Entry]] = {}
        self._entries: dict[tuple[int, Any], Entry] = {}
        self._parked: set[Entry] = set()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, id: int, owner: Any) -> Entry | None:
        """The open entry of a message and destination."""
        return self._entries.get((id, owner))

    def add(self, entry: Entry) -> None:
        """Queue a delivery behind everything that its units hold. The caller keeps the order of receipt."""
        known = self._entries.setdefault((entry.id, entry.owner), entry)
        if known is not entry:
            return
        for unit in entry.units:
            queue = self._queues.get(unit)
            if queue is None:
                self._queues[unit] = deque((entry,))
            else:
                if queue:
                    entry.blockers += 1
                queue.append(entry)
        if not entry.blockers:
            entry.owner.ready(entry)

    def remove(self, entry: Entry) -> None:
        """The delivery is done with: let the next of its units go."""
        if self._entries.pop((entry.id, entry.owner), None) is None:
            return
        self._parked.discard(entry)
        for unit in entry.units:
            queue = self._queues[unit]
            if queue[0] is not entry:
                queue.remove(entry)
                continue
            queue.popleft()
            if not queue:
                del self._queues[unit]
                continue
            head = queue[0]
            head.blockers -= 1
            if not head.blockers:
                head.owner.ready(head)

    def park(self, entry: Entry) -> None:
        """The delivery failed for good and its units must wait for an operator."""
        entry.parked = True
        entry.payload = None
        self._parked.add(entry)

    def unpark(self, entry: Entry) -> None:
        """An operator lets it go on, from its place."""
        entry.parked, entry.attempts, entry.next_at = False, 0, 0
        self._parked.discard(entry)
        if not entry.blockers:
            entry.owner.ready(entry)

    def held(self, owner: Any) -> tuple[int, int]:
        """Deliveries of `owner` in ERROR that make others wait, and how many wait because of them."""
        parked = [entry for entry in self._parked if entry.owner is owner]
        waiting = sum(len(self._queues[unit]) - 1 for entry in parked for unit in entry.units)
        return len(parked), waiting


def units(keys: tuple[int, ...], on_error: str, lanes: int) -> tuple[int, ...]:
    """The units of a delivery: its keys, and with `hold_lane` their lanes; each once, in a fixed order.

    The keys always, because a joined channel may hold by key. Key 0 stands for none: such a message waits for
    nobody. Lanes count down from -1, where no key is ever found.
    """
    keys = tuple(key for key in keys if key)
    if on_error == "hold_lane":
        keys += tuple(-1 - key % lanes for key in keys)
    return keys if len(keys) < 2 else tuple(sorted(set(keys)))
