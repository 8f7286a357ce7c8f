"""Messages in: durable ACKs beside the floor, then the whole way to a destination until all is delivered.

Engine and floor run one after the other, `repeat` times for each number of connections; the figures are
medians, the ratio is the median of the pairs. Both are measured warm: they have taken WARM messages and rested for
a moment, in which the engine makes its compression dictionary, as it does once in the life of a channel.
Pipeline: receive, filter, a template of 15 fields, batches to a stub of Odoo; `pipeline_per_s` counts from the
first message to the last delivery that is SENT in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import processes
from bench.processes import BenchError, results, running
from engine.security.keyring import load as load_keys
from engine.store.sqlite import DATABASE
from engine.store.store import Store, open_store

CONNECTIONS = (1, 8, 32, 128)
MESSAGES = {1: 4_000, 8: 16_000, 32: 24_000, 128: 24_000}
WARM = 2_000  # messages before the figures
REST = 1.2  # seconds after them
PIPELINE_MESSAGES = 30_000
PIPELINE_CONNECTIONS = 32
HEADLINE = 32  # connections of the figures that stand alone
POLL = 0.02  # seconds
Say = Callable[[str], None]
Figures = dict[str, Any]


def run(
    folder: Path, *, repeat: int = 3, scale: float = 1.0, generator: str = "", say: Say = lambda line: None
) -> Figures:
    """All figures; `scale` makes the runs longer or shorter."""
    start_ms = median(start(folder) for _ in range(repeat))
    say(f"start to first ACK   {start_ms:.0f} ms")
    rows: list[Figures] = []
    peaks: list[float] = []
    for connections in CONNECTIONS:
        row, peak = beside(folder, connections, int(MESSAGES[connections] * scale), repeat, generator)
        rows.append(row)
        peaks.append(peak)
        say(
            f"{connections:4} connections     engine {row['ack_per_s']:>7.0f}/s   floor {row['floor_per_s']:>7.0f}/s"
            f"   ratio {row['ratio']:.2f} (same rows {row['ratio_same_rows']:.2f})"
            f"   p50 {row['p50_ms']:.2f} / {row['floor_p50_ms']:.2f} ms"
            f"   p99 {row['p99_ms']:.2f} / {row['floor_p99_ms']:.2f} ms"
        )
    whole = [
        pipeline(folder, PIPELINE_CONNECTIONS, int(PIPELINE_MESSAGES * scale), generator)
        for _ in range(repeat)
    ]
    way = {name: median(one[name] for one in whole) for name in whole[0]}
    headline = next(row for row in rows if row["connections"] == HEADLINE)
    say(
        f"whole pipeline       {way['drained_per_s']:.0f}/s drained, {way['intake_per_s']:.0f}/s in,"
        f" {way['delivered_share']:.0%} delivered when the last ACK came, {way['disk_bytes']:.0f} bytes"
        f" and {way['cpu_us']:.0f} us of the processor a message"
    )
    peak = max(*peaks, *(one["rss_mb"] for one in whole))
    say(f"memory               {peak:.0f} MB at most")
    return results(
        ack_per_s=headline["ack_per_s"],
        floor_per_s=headline["floor_per_s"],
        ack_ratio_to_floor=headline["ratio"],
        same_rows_per_s=headline["same_rows_per_s"],
        ack_ratio_to_same_rows=headline["ratio_same_rows"],
        pipeline_per_s=way["drained_per_s"],
        pipeline_ratio_to_floor=way["drained_per_s"] / headline["floor_per_s"],
        pipeline_intake_per_s=way["intake_per_s"],
        pipeline_cpu_us=way["cpu_us"],
        pipeline_delivered_share=way["delivered_share"],
        p50_ms=headline["p50_ms"],
        p99_ms=headline["p99_ms"],
        floor_p50_ms=headline["floor_p50_ms"],
        floor_p99_ms=headline["floor_p99_ms"],
        rss_mb=peak,
        start_ms=start_ms,
        disk_bytes_per_message=way["disk_bytes"],
        connections=HEADLINE,
        by_connections=rows,
        generator="c" if generator else "python",
    )


def start(folder: Path) -> float:
    """Milliseconds from the start of the process to the first ACK."""
    begun = time.perf_counter()
    with running(processes.engine(folder)) as server:
        processes.first_ack(server.port)
        return (time.perf_counter() - begun) * 1e3


def beside(
    folder: Path, connections: int, messages: int, repeat: int, generator: str
) -> tuple[Figures, float]:
    """Engine and floor in turns: medians, and the engine's peak memory in MiB."""
    ours: list[Figures] = []
    theirs: list[Figures] = []
    rows: list[Figures] = []
    peaks: list[float] = []
    for _ in range(repeat):
        with running(processes.floor(folder)) as server:
            theirs.append(warm(server, connections, messages, generator))
        with running(processes.floor(folder, same_rows=True)) as server:
            rows.append(warm(server, connections, messages, generator))
        with running(processes.engine(folder)) as server:
            ours.append(warm(server, connections, messages, generator))
            peaks.append(server.memory())
    return (
        results(
            connections=connections,
            ack_per_s=median(one["rate"] for one in ours),
            floor_per_s=median(one["rate"] for one in theirs),
            ratio=median(one["rate"] / other["rate"] for one, other in zip(ours, theirs, strict=True)),
            same_rows_per_s=median(one["rate"] for one in rows),
            ratio_same_rows=median(
                one["rate"] / other["rate"] for one, other in zip(ours, rows, strict=True)
            ),
            p50_ms=median(one["p50"] for one in ours),
            p99_ms=median(one["p99"] for one in ours),
            floor_p50_ms=median(one["p50"] for one in theirs),
            floor_p99_ms=median(one["p99"] for one in theirs),
        ),
        max(peaks),
    )


def warm(server: processes.Server, connections: int, messages: int, generator: str) -> Figures:
    """The figures of a server that has been at work."""
    processes.first_ack(server.port)
    processes.load(server.port, HEADLINE, WARM, generator)
    time.sleep(REST)
    return processes.load(server.port, connections, messages, generator, first=WARM)


def pipeline(folder: Path, connections: int, messages: int, generator: str = "") -> Figures:
    """The whole way, until every delivery is SENT."""
    with running(processes.stub()) as odoo, running(processes.engine(folder, odoo.port)) as server:
        data = processes.engine_data(folder)
        store = open_store(data, load_keys(data / "isthmus.key"), mode="reader")
        begun, busy = time.perf_counter(), server.cpu()
        loaded = processes.load(server.port, connections, messages, generator)
        acked = time.perf_counter()
        share = sent(store) / messages
        while sent(store) < messages:
            if server.process.poll() is not None or time.perf_counter() - acked > processes.PATIENCE:
                raise BenchError(f"only {sent(store)} of {messages} were delivered", code="bench.pipeline")
            time.sleep(POLL)
        drained = time.perf_counter()
        open_now = store.reader.rows("SELECT count(*) FROM delivery WHERE state <> 'SENT'")[0][0]
        if open_now:
            raise BenchError(f"{open_now} deliveries are not SENT", code="bench.pipeline")
        store.close()
        figures = {
            "drained_per_s": messages / (loaded["seconds"] + drained - acked),
            "total_s": drained - begun,
            "intake_per_s": loaded["rate"],
            "delivered_share": share,
            "p50_ms": loaded["p50"],
            "p99_ms": loaded["p99"],
            "rss_mb": server.memory(),
            "rss_end_mb": server.memory("VmRSS"),
            "cpu_us": (server.cpu() - busy) / messages * 1e6,
        }
    # The store was closed in order: its log is in the database file.
    return {**figures, "disk_bytes": (data / DATABASE).stat().st_size / messages}


def sent(store: Store) -> int:
    """Deliveries that are SENT, as the store has counted them."""
    rows = store.reader.rows("SELECT coalesce(sum(value), 0) FROM counter WHERE name = 'sent'")
    count: int = rows[0][0]
    return count
