"""What people at the console cost the engine: ACK rate and latency with and without them, in interleaved pairs.

Run: python -m bench.console [--messages 20000] [--stored 100000] [--clients 20] [--pairs 3] [--only WHAT] [--store DIR]
One engine on one store, so both runs of a pair have the same messages behind them. `--store` keeps it: filled with
`--stored` messages (10000000 takes a while) the first time, and used again the next. In the disturbed run the console
serves `--clients` browsers that watch the dashboard (server-sent events; `watch`), one that searches text in content
all the time and one that searches by control id (`search`), and a bulk replay of stored messages (`replay`); `--only`
chooses among these. The last line is JSON; `rate_ratio` and `p99_ratio` are the medians of disturbed / undisturbed,
`cpu` seconds of the processor a minute. Run it alone: other work spoils both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.processes import CHANNEL, HOST, BenchError, Server, engine, free_port, load, running
from bench.search_store import fill
from engine import clock
from engine.security.keyring import open_keyring
from engine.security.roles import Grant, Role
from engine.store import tokens, users
from engine.store.sqlite import DATABASE
from engine.store.store import open_store

CONNECTIONS = 8
REPLAYED = 50_000  # messages, the oldest; the replay is cancelled when the run is over
USER = "bench-console"
WHAT = ("watch", "search", "replay")
PATIENCE = 60.0  # seconds that the console may take to answer for the first time


def token(data: Path) -> str:
    """An API token of a user who may do everything."""
    store = open_store(data, open_keyring(data), mode="client")
    try:

        def work(tx: Any) -> str:
            if users.get(tx, USER) is None:
                users.add(tx, USER, None, [Grant(Role.ADMIN)], reveal=True)
            until = tx.now() + 3_600_000_000
            return tokens.add(tx, USER, "bench", [Grant(Role.ADMIN)], until, reveal=True)[0]

        return store.writer.call(work)
    finally:
        store.close()


class People:
    """Everybody at the console, until `stop`."""

    def __init__(self, url: str, secret: str, clients: int, what: Sequence[str]) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.ended = threading.Event()
        self.seen = 0  # dashboards that were sent
        self.searches: list[float] = []  # seconds by control id
        self.scans = 0  # searches of text in content
        self.job = 0
        self.failed: BenchError | None = None
        work = [self._watch] * clients * ("watch" in what) + [self._scan, self._search] * ("search" in what)
        self.threads = [threading.Thread(target=self._while, args=(one,), daemon=True) for one in work]

    def start(self) -> People:
        """All at once."""
        for thread in self.threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Ends within a few seconds."""
        self.ended.set()
        for thread in self.threads:
            thread.join(15)

    def replay(self, since: str, until: str) -> None:
        """Begin the bulk replay of what was received then."""
        query = {"channel": "bench", "state": "TRANSFORMED", "since": since, "until": until}
        self.job = self._asked("messages/acts", verb="replay", query=query, force=True)["job"]["id"]

    def cancel(self) -> None:
        """End the replay where it is; it may be over."""
        if self.job:
            httpx.post(f"{self.url}/api/v1/jobs/{self.job}/cancel", headers=self.headers, timeout=60)

    def _asked(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}/api/v1/{path}", headers=self.headers, timeout=60, json=body)
        if answer.status_code >= 400:
            raise BenchError(f"{path}: {answer.text[:500]}", code="bench.console")
        return answer.json()

    def _while(self, work: Any) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)  # browsers are other machines
        while not self.ended.is_set():
            try:
                with suppress(httpx.HTTPError):
                    work()
            except BenchError as error:
                self.failed = error
                return

    def _watch(self) -> None:
        with httpx.stream("GET", f"{self.url}/live", headers=self.headers, timeout=20) as answer:
            for line in answer.iter_lines():
                self.seen += line.startswith("event: channels")
                if self.ended.is_set():
                    return

    def _find(self, **query: str) -> None:
        self._asked("messages/search", **query)

    def _scan(self) -> None:
        self._find(text="there is no such text")
        self.scans += 1

    def _search(self) -> None:
        began = time.perf_counter()
        self._find(control_id="X")
        self.searches.append(time.perf_counter() - began)
        time.sleep(0.2)


def open_console(data: Path) -> tuple[Server, str]:
    """The console on the store, and its address."""
    port = free_port()
    server = Server(
        "run_engine.py", "console", "--listen", f"{HOST}:{port}", "--data", str(data), "--config",
        str(data / "channels.yaml"), port=port,
    )  # fmt: skip
    url, until = f"http://{HOST}:{port}", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready", timeout=5).status_code == 200:
                return server, url
        time.sleep(0.1)
    raise server.failed("was not ready")


class Bench:
    """One engine on one store."""

    def __init__(self, server: Server, data: Path, messages: int) -> None:
        self.server, self.data, self.messages = server, data, messages
        self.first = time.time_ns() // 1_000_000  # number of the next measured message: none was there before
        store = open_store(data, open_keyring(data), mode="reader")
        try:
            ((begun, ended),) = store.reader.rows(
                "SELECT min(received_at), max(received_at) FROM (SELECT received_at FROM message ORDER BY id LIMIT ?)",
                (REPLAYED,),
            )
        finally:
            store.close()
        self.span = clock.iso(begun), clock.iso(ended)

    def measured(self) -> dict[str, float]:
        """The messages, now."""
        cpu, begun = self.server.cpu(), time.monotonic()
        found = load(self.server.port, CONNECTIONS, self.messages, first=self.first)
        self.first += self.messages
        minutes = (time.monotonic() - begun) / 60
        return {
            "per_s": found["rate"], "p99_ms": found["p99"], "rss_mb": self.server.memory("VmRSS"),
            "cpu": (self.server.cpu() - cpu) / minutes, "minutes": minutes,
        }  # fmt: skip

    def disturbed(self, clients: int, what: Sequence[str]) -> dict[str, float]:
        """The same with people at the console."""
        with ExitStack() as stack:
            console, url = open_console(self.data)
            stack.enter_context(running(console))
            people = People(url, token(self.data), clients, what).start()
            stack.callback(people.stop)
            if "replay" in what:
                people.replay(*self.span)
            time.sleep(2)
            cpu, scans = console.cpu(), people.scans
            figures = self.measured()
            figures["console_cpu"] = (console.cpu() - cpu) / figures["minutes"]
            figures |= {
                "dashboards": people.seen, "scans": people.scans - scans, "console_mb": console.memory()
            }  # fmt: skip
            people.cancel()
            people.ended.set()
            if people.failed is not None:
                raise people.failed
            if ("watch" in what and not people.seen) or ("search" in what and not people.searches):
                raise BenchError("nobody at the console saw anything", code="bench.console")
            if people.searches:
                figures["search_ms"] = statistics.median(people.searches) * 1000
            return figures


def run(
    folder: Path, messages: int, stored: int, clients: int, pairs: int, what: Sequence[str] = WHAT,
    store: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Pairs of runs, the order changing from one to the next."""
    data = store or folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    if not (data / DATABASE).exists():
        keyring = open_keyring(data)
        opened = open_store(data, keyring)
        fill(opened, keyring, stored, lambda line: None)
        opened.close()
    figures: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    with running(engine(folder, config=CHANNEL, data=data)) as server:
        bench = Bench(server, data, messages)
        for pair in range(pairs):
            for disturbed in (False, True) if pair % 2 == 0 else (True, False):
                figures[disturbed].append(bench.disturbed(clients, what) if disturbed else bench.measured())
    both = list(zip(figures[False], figures[True], strict=True))
    return {
        "messages": messages,
        "stored": stored,
        "clients": clients,
        "what": list(what),
        "undisturbed": figures[False],
        "disturbed": figures[True],
        "rate_ratio": round(statistics.median(after["per_s"] / before["per_s"] for before, after in both), 3),
        "p99_ratio": round(
            statistics.median(after["p99_ms"] / before["p99_ms"] for before, after in both), 3
        ),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--stored", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--only", choices=WHAT, action="append", help="what disturbs; by default all of it")
    parser.add_argument("--store", type=Path, help="the folder of a store that is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        found = run(
            Path(folder), options.messages, options.stored, options.clients, options.pairs, options.only or WHAT,
            options.store,
        )  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
