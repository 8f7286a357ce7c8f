"""How soon does a restarted engine work again, with a backlog of open deliveries?

Run: python -m bench.restart [--open 100000] [--repeat 3]
Odoo is away while the messages come. Then the engine is killed, a stub of Odoo is started, and after it the engine.
Measured from the start of its process: the first ACK, the first delivery that the stub has, and the last; and CPU
time until the first delivery, which others on the machine disturb less. Beside each an engine that starts with
nothing. The last line is JSON, in milliseconds and seconds: medians of `repeat` restarts of copies of one backlog.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
import urllib.request
from pathlib import Path
from statistics import median
from typing import Any

from bench import processes
from bench.processes import HOST, PATIENCE, PIPELINE, BenchError, Server, running

POLL = 0.005  # seconds
OPTIONS = "    backlog: {{{{pause: {0}, refuse: {0}}}}}\n    filters:"


def delivered(port: int) -> int:
    """Rows that the stub has."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/bench", timeout=5) as answer:
        rows: int = json.load(answer)["rows"]
    return rows


def run(folder: Path, messages: int, repeat: int) -> dict[str, Any]:
    """The backlog, then the restarts."""
    odoo_port = processes.free_port()
    config = PIPELINE.replace("    filters:", OPTIONS.format(messages * 2), 1)
    server = processes.engine(folder, odoo_port, config)
    with running(server):
        processes.load(server.port, 32, messages)
        server.process.kill()  # what was acknowledged is in the store, whatever became of it
    data = processes.engine_data(folder)
    rows = []
    for number in range(repeat):
        empty, copy = folder / f"empty-{number}", folder / f"restart-{number}"
        empty.mkdir()
        shutil.copy(data / "channels.yaml", empty)
        shutil.copytree(data, copy)
        bare = restart(empty, server.port, odoo_port, 0)
        rows.append(restart(copy, server.port, odoo_port, messages))
        rows[-1] |= {f"empty_{name}": bare[name] for name in ("first_ack_ms", "first_delivery_ms", "cpu_ms")}
        print(json.dumps(rows[-1]), flush=True)
        shutil.rmtree(copy)
    return {"open": messages, **{name: median(row[name] for row in rows) for name in rows[0]}}


def restart(data: Path, port: int, odoo_port: int, messages: int) -> dict[str, float]:
    """One engine on a copy of the backlog."""
    stub = Server("-m", "bench.stub", "--port", str(odoo_port))
    with running(stub):
        arguments = ["run", "--config", str(data / "channels.yaml"), "--data", str(data), "--log", "error"]
        begun = time.perf_counter()
        with running(Server("run_engine.py", *arguments, "--no-console", port=port)) as server:
            server.wait_open()
            opened = time.perf_counter() - begun
            processes.first_ack(port)
            acked = time.perf_counter() - begun
            wait(server, odoo_port, 1)
            first, cpu = time.perf_counter() - begun, server.cpu()
            wait(server, odoo_port, messages + 1)  # the first one to be acknowledged, too
            return {
                "port_ms": round(opened * 1e3),
                "first_ack_ms": round(acked * 1e3),
                "first_delivery_ms": round(first * 1e3),
                "cpu_ms": round(cpu * 1e3),
                "all_delivered_s": round(time.perf_counter() - begun, 1),
                "rss_mb": round(server.memory()),
            }


def wait(server: Server, odoo_port: int, rows: int) -> None:
    """Until the stub has this many."""
    until = time.perf_counter() + 10 * PATIENCE
    while delivered(odoo_port) < rows:
        if server.process.poll() is not None or time.perf_counter() > until:
            raise BenchError(f"{delivered(odoo_port)} deliveries came", code="bench.restart")
        time.sleep(POLL if rows == 1 else 0.2)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--open", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with processes.scratch() as folder:
        print(json.dumps(run(folder, given.open, given.repeat)))


if __name__ == "__main__":
    main()
