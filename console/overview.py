"""What the dashboard shows: every channel with its state, counts, rates, queue age, latency and destinations.

Guarantees: read from the store and from the engine's last heartbeat only, in one snapshot, a few statements however
many messages there are; sampled once for all who look. Rates are of the last hour, a point every `EVERY` seconds.
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
RISING = 6  # samples that must not fall for a queue to be called growing
GROWING = 50  # and be more than this in the end
SILENT = 3600.0  # seconds; a channel that had traffic and has none for so long is called silent


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
    """One channel, times in microseconds since the epoch, ages and latencies in milliseconds."""

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
    last_at: Micros | None
    silent: bool
    growing: bool
    queue_age: int | None
    ack_p50: int | None
    ack_p99: int | None
    rate: float
    rates: list[float]
    destinations: list[DestinationView]
    since_start: dict[str, int]


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
        self._epoch: int | None = None
        self._at_start: dict[str, dict[str, int]] = {}

    def look(self, tx: Tx) -> Overview:
        """The overview now; adds a sample when it is time."""
        now = tx.now()
        engine = commands.engine_status(tx)
        totals, waiting = search.counts(tx), search.backlog(tx)
        with self._lock:
            self._sample(now, totals, waiting, engine)
            samples = list(self._samples)
        running = commands.beating(engine, now) and engine is not None and commands.alive(engine["pid"])
        status = (engine or {}).get("status") or {}
        live = status.get("channels", {}) if running else {}
        recent = _recent(tx)
        views = [
            self._channel(
                name,
                now,
                live.get(name, {}),
                totals.get(name, {}),
                waiting.get(name, {}),
                samples,
                recent,
                tx,
            )
            for name in sorted({*live, *totals, *waiting})
        ]
        return Overview(
            now, running, (engine or {}).get("pid", 0), (engine or {}).get("started_at"),
            status.get("store", {}) if running else {}, views, jobs.unfinished(tx),
        )  # fmt: skip

    def _sample(self, now: Micros, totals: Any, waiting: Any, engine: Any) -> None:
        epoch = engine["epoch"] if engine else None
        if epoch != self._epoch:
            self._epoch, self._at_start = epoch, totals
        if self._samples and now - self._samples[-1][0] < EVERY * 900_000:
            return
        self._samples.append((now, totals))
        for name, counts in waiting.items():
            self._queues.setdefault(name, deque(maxlen=12)).append(
                _sum(counts, "QUEUED") + counts.get("RECEIVED", 0)
            )

    def _channel(
        self, name: str, now: Micros, live: dict[str, Any], totals: dict[str, int], waiting: dict[str, int],
        samples: Any, recent: dict[str, Any], tx: Tx,
    ) -> ChannelView:  # fmt: skip
        queued = _sum(waiting, "QUEUED") + waiting.get("RECEIVED", 0)
        rates = _rates(samples, name)
        last_at, latencies = recent.get(name, (None, []))
        queue = list(self._queues.get(name, ()))
        rising = len(queue) >= RISING and all(after >= before for before, after in pairwise(queue))
        growing = rising and queue[-1] > max(queue[0], GROWING)
        begun = self._at_start.get(name, {})
        listener = live.get("listener") or {}
        return ChannelView(
            name, live.get("description", ""), live.get("tags", []), live.get("group", ""),
            live.get("state", "stopped"),
            live.get("why", ""), live.get("address", ""), int(listener.get("connections", 0) or 0),
            totals.get("received", 0), totals.get("filtered", 0), queued, _sum(totals, "sent"), _sum(waiting, "ERROR"),
            last_at, _silent(live, last_at, now), growing, _queue_age(tx, name, now) if queued else None,
            _percentile(latencies, 0.5), _percentile(latencies, 0.99), rates[-1] if rates else 0.0, rates,
            [_destination(item, totals, waiting) for item in live.get("destinations", [])],
            {key: value - begun.get(key, 0) for key, value in totals.items()},
        )  # fmt: skip


def _silent(live: dict[str, Any], last_at: Micros | None, now: Micros) -> bool:
    """Whether nothing came for longer than the channel says; one that is stopped is not silent."""
    after = float(live.get("silent_after", SILENT))
    return bool(last_at and after and live.get("state") == "started" and now - last_at > after * 1_000_000)


def _destination(item: dict[str, Any], totals: dict[str, int], waiting: dict[str, int]) -> DestinationView:
    name = item["destination"]
    return DestinationView(
        name, item["state"], item.get("why", ""), waiting.get(f"QUEUED/{name}", 0), totals.get(f"sent/{name}", 0),
        waiting.get(f"ERROR/{name}", 0), item.get("held_behind", 0),
    )  # fmt: skip


def _recent(tx: Tx) -> dict[str, tuple[Micros, list[int]]]:
    """Channel -> time of its newest message and how long the newest took until all was delivered, in ms."""
    found: dict[str, tuple[Micros, list[int]]] = {}
    for channel, received, routed, finished in tx.rows(
        "SELECT m.channel, m.received_at, m.routed_at, (SELECT max(finished_at) FROM delivery WHERE message_id = m.id)"
        " FROM (SELECT id, channel, received_at, routed_at FROM message ORDER BY id DESC LIMIT ?) AS m",
        (RECENT,),
    ):
        last, latencies = found.setdefault(channel, (received, []))
        done = finished or routed
        if done:
            latencies.append(max(0, done - received) // 1000)
        found[channel] = (max(last, received), latencies)
    return found


def _queue_age(tx: Tx, channel: str, now: Micros) -> int | None:
    """How long the oldest message of a channel waits, in milliseconds."""
    rows = tx.rows(
        "SELECT min(received_at) FROM message WHERE id IN ("
        " SELECT min(id) FROM message WHERE channel = ?1 AND state = 'RECEIVED' UNION ALL"
        " SELECT min(message_id) FROM delivery WHERE channel = ?1 AND state IN ('QUEUED', 'PENDING'))",
        (channel,),
    )
    oldest = rows[0][0]
    return None if oldest is None else max(0, now - oldest) // 1000


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
