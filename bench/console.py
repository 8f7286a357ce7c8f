"""What people at the console cost the engine: ACK rate and latency with and without them, in interleaved pairs.

Run: python -m bench.console [--messages 20000] [--stored 100000] [--clients 20] [--pairs 3]
Both runs of a pair have the same engine, the same stored messages and the same traffic. In the disturbed one the
console serves `--clients` browsers that watch the dashboard (server-sent events), one that searches text in content
all the time, one that searches by control id, and a bulk replay of stored messages. The last line is JSON;
`rate_ratio` and `p99_ratio` are the medians of disturbed / undisturbed. Run it alone: other work spoils both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx

from bench.processes import HOST, BenchError, Server, engine, engine_data, free_port, load, running
from engine.security.keyring import open_keyring
from engine.security.roles import Grant, Role
from engine.store import users
from engine.store.store import open_store

CONNECTIONS = 8
FIRST = 50_000_000  # number of the first measured message, away from the stored ones
PATIENCE = 60.0  # seconds that the console may take to answer for the first time


def token(data: Path) -> str:
    """An API token of a user who may do everything."""
    store = open_store(data, open_keyring(data), mode="client")
    try:

        def work(tx: Any) -> str:
            users.add(tx, "bench", None, [Grant(Role.ADMIN)], reveal=True)
            until = tx.now() + 3_600_000_000
            return users.add_token(tx, "bench", "bench", [Grant(Role.ADMIN)], until, reveal=True)[0]

        return store.writer.call(work)
    finally:
        store.close()


class People:
    """Everybody at the console, until `stop`."""

    def __init__(self, url: str, secret: str, clients: int) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {secret}"}
        self.ended = threading.Event()
        self.seen = 0  # dashboards that were sent
        self.searches: list[float] = []  # seconds by control id
        self.scans = 0  # searches of text in content
        work = [self._watch] * clients + [self._scan, self._search]
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

    def replay(self) -> None:
        """Begin the bulk replay of everything that is stored."""
        answer = httpx.post(
            f"{self.url}/api/v1/messages/acts", headers=self.headers, timeout=60,
            json={"verb": "replay", "query": {"state": "TRANSFORMED"}, "force": True},
        )  # fmt: skip
        if answer.status_code != 202:
            raise BenchError(f"the replay was not begun: {answer.text[:500]}", code="bench.console")

    def _while(self, work: Any) -> None:
        while not self.ended.is_set():
            with suppress(httpx.HTTPError):
                work()

    def _watch(self) -> None:
        with httpx.stream("GET", f"{self.url}/live", headers=self.headers, timeout=20) as answer:
            for line in answer.iter_lines():
                self.seen += line.startswith("event: channels")
                if self.ended.is_set():
                    return

    def _find(self, **query: str) -> None:
        httpx.post(
            f"{self.url}/api/v1/messages/search", headers=self.headers, json=query, timeout=60
        ).raise_for_status()

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


def once(folder: Path, messages: int, stored: int, clients: int) -> dict[str, float]:
    """One run; `clients` 0: nobody is at the console, and there is none."""
    with ExitStack() as stack:
        server = stack.enter_context(running(engine(folder)))
        data = engine_data(folder)
        load(server.port, CONNECTIONS, stored)
        people = None
        if clients:
            console, url = open_console(data)
            stack.enter_context(running(console))
            people = People(url, token(data), clients).start()
            stack.callback(people.stop)
            people.replay()
            time.sleep(2)
        found = load(server.port, CONNECTIONS, messages, first=FIRST)
        figures = {"per_s": found["rate"], "p99_ms": found["p99"], "rss_mb": server.memory("VmRSS")}
        if people is not None:
            people.ended.set()
            if not (people.seen and people.searches):
                raise BenchError("nobody at the console saw anything", code="bench.console")
            figures |= {
                "dashboards": people.seen, "scans": people.scans,
                "search_ms": statistics.median(people.searches) * 1000, "console_mb": console.memory(),
            }  # fmt: skip
        return figures


def run(folder: Path, messages: int, stored: int, clients: int, pairs: int) -> dict[str, Any]:
    """Pairs of runs, the order changing from one to the next."""
    figures: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for pair in range(pairs):
        for disturbed in (False, True) if pair % 2 == 0 else (True, False):
            place = folder / f"{pair}-{disturbed}"
            place.mkdir()
            figures[disturbed].append(once(place, messages, stored, clients if disturbed else 0))
    both = list(zip(figures[False], figures[True], strict=True))
    return {
        "messages": messages,
        "stored": stored,
        "clients": clients,
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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as folder:
        found = run(Path(folder), options.messages, options.stored, options.clients, options.pairs)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
