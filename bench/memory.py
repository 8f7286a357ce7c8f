"""Does the engine's memory grow? The whole pipeline with retention at work, in one run; its memory as messages come.

Run: python -m bench.memory [--messages 1000000] [--patients 200000] [--connections 16] [--parts 20] [--keep 120]
Engine (no console), generator and a stub of Odoo are processes of their own; messages are kept
`--keep` seconds (0: for ever).
After each part, once everything is SENT: resident memory in MiB, the database with its log in MB, rows of messages.
The last line is JSON; `growth` is the mean of the last quarter of the parts over that of the second: the first is
left out, as caches fill and dictionaries are trained in it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

from bench import processes
from bench.ingest import sent
from bench.processes import PIPELINE, BenchError, running
from engine.security.keyring import load as load_keys
from engine.store.sqlite import DATABASE
from engine.store.store import open_store

POLL = 0.1  # seconds


def run(
    folder: Path, messages: int, patients: int, connections: int, parts: int, keep: int
) -> dict[str, Any]:
    """One engine from the first message to the last."""
    config = PIPELINE
    if keep:
        kept = f"    duplicates: {{{{window: {keep}}}}}\n    retention: {{{{messages: {keep}s}}}}\n"
        config = config.replace("    filters:", kept + "    filters:", 1)
    each = messages // parts
    rows: list[dict[str, float]] = []
    with running(processes.stub()) as odoo, running(processes.engine(folder, odoo.port, config)) as server:
        data = processes.engine_data(folder)
        store = open_store(data, load_keys(data / "isthmus.key"), mode="reader")
        began = time.perf_counter()
        for part in range(parts):
            processes.load(server.port, connections, each, first=part * each, patients=patients)
            acked = time.perf_counter()
            while sent(store) < (part + 1) * each:
                if server.process.poll() is not None or time.perf_counter() - acked > processes.PATIENCE:
                    raise BenchError(f"only {sent(store)} were delivered", code="bench.memory")
                time.sleep(POLL)
            row = {
                "messages": (part + 1) * each,
                "rss_mb": round(server.memory("VmRSS"), 1),
                "database_mb": round(sum(one.stat().st_size for one in data.glob(DATABASE + "*")) / 1e6, 1),
                "rows": store.reader.rows("SELECT count(*) FROM message")[0][0],
                "seconds": round(time.perf_counter() - began, 1),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
        store.close()
    memory = [row["rss_mb"] for row in rows]
    quarter = max(1, parts // 4)
    return {
        "messages": each * parts,
        "rss_mb": {"least": min(memory[quarter:]), "most": max(memory[quarter:])},
        "growth": round(mean(memory[-quarter:]) / mean(memory[quarter : 2 * quarter]), 3),
        "database_mb": max(row["database_mb"] for row in rows),
        "seconds": rows[-1]["seconds"],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--patients", type=int, default=200_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--parts", type=int, default=20)
    parser.add_argument("--keep", type=int, default=120, help="seconds")
    with processes.scratch() as folder:
        print(json.dumps(run(folder, **vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
