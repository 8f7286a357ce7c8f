"""What the dashboard shows: every channel with its state, counts, rates, queue age, latency and destinations.

Guarantees: read from the store and from the engine's last heartbeat only, in one snapshot, a few statements however
many messages there are, and fewer while nothing happens. Rates are of the last hour, a point every `EVERY` seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from itertools import pairwise
from typing import Any

import msgspec

from engine.clock import Micros
from engine.store import commands, jobs, search
from engine.store.tx import Tx

EVERY = 5.0  # seconds between samples
KEPT = 720  # samples: one hour
RECENT = 1000  # newest messages that latencies are taken from
FEW = 100  # of a channel that has none among them
RISING = 6  # samples that must not fall for a queue to be called growing
GROWING = 50  # and be more than this in the end
SILENT = 3600.0  # seconds; a channel that had traffic and has none for so long is called silent
COUNTED = {
    "received": "received",
    "filtered": "filtered",
    "queued": "queued",
    "sent": "sent",
    "errors": "error",
}
"""What people see counted -> the name of its counters."""
STOPPED = {"state": "stopped", "why": "", "listener": {}, "destinations": []}
"""How a channel is while no engine runs."""
Recent = tuple[Micros | None, list[int]]
"""When the newest message of a channel came, and how long the newest took until all was delivered, in ms."""


class DestinationView(msgspec.Struct):
    """One destination. `state` is its breaker's: closed, open, half-open, held, paused."""

    name: str
    state: str
    why: str
    queued: int
    sent: int
    errors: int
    held_behind: int


class ChannelView(msgspec.Struct):
    """One channel, times in microseconds since the epoch, ages and latencies in milliseconds.

    `queued` and `errors` are what is so now, the other counts are of the whole life of the store; `since_start` and
    `ever` have all five, since the engine started and of the whole life.
    """

    name: str
    description: str
    tags: list[str]
    group: str
    state: str
    why: str
    address: str
    connections: int
    received: int
    filtered: int
    queued: int
    sent: int
    errors: int
    growing: bool
    destinations: list[DestinationView]
    since_start: dict[str, int]
    ever: dict[str, int]
    last_at: Micros | None = None
    silent: bool = False
    queue_age: int | None = None
    ack_p50: int | None = None
    ack_p99: int | None = None
    rate: float = 0.0
    rates: list[float] = []


class Overview(msgspec.Struct):
    """All of it."""

    at: Micros
    running: bool
    pid: int
    started_at: Micros | None
    store: dict[str, Any]
    channels: list[ChannelView]
    jobs: list[jobs.Job]
    tags: list[str] = []  # of all channels that they may see
    tag: str = ""  # the one that was asked for


def chosen(channels: list[ChannelView], tag: str) -> list[ChannelView]:
    """Those with a tag (all without one), by group and name; those without a group first."""
    return sorted(
        (channel for channel in channels if not tag or tag in channel.tags),
        key=lambda one: (one.group, one.name),
    )


class Sampler:
    """Keeps the last hour of counts, so that rates and trends need no history in the store."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[Micros, dict[str, dict[str, int]]]] = deque(maxlen=KEPT)
        self._queues: dict[str, deque[int]] = {}
        self._counted: Any = None  # what was counted at the last look
        self._recent: dict[str, Recent] = {}

    def look(self, tx: Tx) -> Overview:
        """The overview now; adds a sample when it is time."""
        now = tx.now()
        engine = commands.engine_status(tx)
        totals, waiting = search.counts(tx), search.backlog(tx)
        running = commands.beating(engine, now) and engine is not None and commands.alive(engine["pid"])
        status = (engine or {}).get("status") or {}
        live = status.get("channels", {})
        with self._lock:
            self._sample(now, totals, waiting)
            samples = list(self._samples)
            if (totals, waiting) != self._counted:
                self._recent = _recent(tx, {*live, *totals}, self._recent)
                self._counted = totals, waiting
            recent = self._recent
        begun, at_start = (engine or {}).get("started_at"), status.get("totals_at_start", {})
        views = []
        for name in sorted({*live, *totals, *waiting}):
            told = live.get(name, {}) if running else {**live.get(name, {}), **STOPPED}
            view = self._channel(
                name, told, totals.get(name, {}), waiting.get(name, {}), at_start.get(name, {})
            )
            view.rates = _rates(samples, name)
            view.rate = view.rates[-1] if view.rates else 0.0
            view.last_at, latencies = recent.get(name, (None, []))
            view.ack_p50, view.ack_p99 = _percentile(latencies, 0.5), _percentile(latencies, 0.99)
            view.silent = _silent(told, view, begun or now, now)
            view.queue_age = _queue_age(tx, name, waiting.get(name, {}), now) if view.queued else None
            views.append(view)
        return Overview(
            now, running, (engine or {}).get("pid", 0), begun,
            status.get("store", {}) if running else {}, views, jobs.unfinished(tx),
        )  # fmt: skip

    def _sample(self, now: Micros, totals: Any, waiting: Any) -> None:
        if self._samples and now - self._samples[-1][0] < EVERY * 900_000:
            return
        self._samples.append((now, totals))
        for name, counts in waiting.items():
            self._queues.setdefault(name, deque(maxlen=12)).append(
                _sum(counts, "QUEUED") + counts.get("RECEIVED", 0)
            )

    def _channel(
        self, name: str, live: dict[str, Any], totals: dict[str, int], waiting: dict[str, int],
        at_start: dict[str, int],
    ) -> ChannelView:  # fmt: skip
        queued = _sum(waiting, "QUEUED") + waiting.get("RECEIVED", 0)
        queue = list(self._queues.get(name, ()))
        rising = len(queue) >= RISING and all(after >= before for before, after in pairwise(queue))
        ever = {what: _sum(totals, counter) for what, counter in COUNTED.items()}
        return ChannelView(
            name=name,
            description=live.get("description", ""),
            tags=live.get("tags", []),
            group=live.get("group", ""),
            state=live.get("state", "stopped"),
            why=live.get("why", ""),
            address=live.get("address", ""),
            connections=int((live.get("listener") or {}).get("connections", 0) or 0),
            received=ever["received"],
            filtered=ever["filtered"],
            queued=queued,
            sent=ever["sent"],
            errors=_sum(waiting, "ERROR"),
            growing=rising and queue[-1] > max(queue[0], GROWING),
            destinations=[_destination(item, totals, waiting) for item in live.get("destinations", [])],
            since_start={what: ever[what] - _sum(at_start, counter) for what, counter in COUNTED.items()},
            ever=ever,
        )


def _silent(live: dict[str, Any], view: ChannelView, started_at: Micros, now: Micros) -> bool:
    """Whether nothing came for longer than the channel says; one that is stopped is not silent.

    Where no message is kept any more, nothing came since the engine started.
    """
    after = float(live.get("silent_after", SILENT))
    last = view.last_at
    if last is None and view.received and not view.since_start["received"]:
        last = started_at
    return bool(last and after and view.state == "started" and now - last > after * 1_000_000)


def _destination(item: dict[str, Any], totals: dict[str, int], waiting: dict[str, int]) -> DestinationView:
    name = item["destination"]
    return DestinationView(
        name, item["state"], item.get("why", ""), waiting.get(f"QUEUED/{name}", 0), totals.get(f"sent/{name}", 0),
        waiting.get(f"ERROR/{name}", 0), item.get("held_behind", 0),
    )  # fmt: skip


_TOOK = (
    "SELECT m.channel, m.received_at, m.routed_at, (SELECT max(finished_at) FROM delivery WHERE message_id = m.id)"
    " FROM (SELECT id, channel, received_at, routed_at FROM message {} ORDER BY id DESC LIMIT ?) AS m"
)


def _recent(tx: Tx, channels: set[str], before: dict[str, Recent]) -> dict[str, Recent]:
    """By channel; what is not kept any more stays as it was found before."""
    found = _took(tx.rows(_TOOK.format(""), (RECENT,)))
    for name in channels - set(found):  # the newest stretch of 2048 ids that holds any of this channel
        stretch = tx.rows("SELECT max(stretch) FROM message_kind WHERE channel = ?", (name,))[0][0]
        if stretch is not None:
            where = "WHERE channel = ? AND id >= ? << 11 AND id < (? + 1) << 11"
            found |= _took(tx.rows(_TOOK.format(where), (name, stretch, stretch, FEW)))
    return before | found


def _took(rows: list[Any]) -> dict[str, Recent]:
    found: dict[str, tuple[Micros, list[int]]] = {}
    for channel, received, routed, finished in rows:
        last, latencies = found.setdefault(channel, (received, []))
        done = finished or routed
        if done:
            latencies.append(max(0, done - received) // 1000)
        found[channel] = (max(last, received), latencies)
    return dict(found)


def _queue_age(tx: Tx, channel: str, waiting: dict[str, int], now: Micros) -> int | None:
    """How long the oldest message of a channel waits, in milliseconds."""
    oldest = [tx.rows("SELECT min(id) FROM message WHERE channel = ? AND state = 'RECEIVED'", (channel,))]
    for name in waiting:
        if name.startswith("QUEUED/"):
            oldest.append(
                tx.rows(
                    "SELECT min(message_id) FROM delivery"
                    " WHERE channel = ? AND destination = ? AND state IN ('QUEUED', 'PENDING')",
                    (channel, name.removeprefix("QUEUED/")),
                )
            )
    ids = [number for ((number,),) in oldest if number is not None]
    if not ids:
        return None
    ((at,),) = tx.rows("SELECT received_at FROM message WHERE id = ?", (min(ids),))
    return max(0, now - int(at)) // 1000


def _rates(samples: Any, channel: str) -> list[float]:
    """Received messages a second between samples."""
    found = []
    for (begun, before), (ended, after) in pairwise(samples):
        more = after.get(channel, {}).get("received", 0) - before.get(channel, {}).get("received", 0)
        found.append(round(max(0, more) / max(1e-6, (ended - begun) / 1e6), 2))
    return found


def _percentile(values: list[int], share: float) -> int | None:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None


def _sum(values: dict[str, int], name: str) -> int:
    return sum(count for key, count in values.items() if key == name or key.startswith(f"{name}/"))
