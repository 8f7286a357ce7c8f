"""Searches in a store of many messages: what people ask, the first time and again, and through the console.

Guarantees: every question is asked as the console asks it (a page of 50); `first` is with a fresh connection, the
median of RUNS after it; the store and what it holds is made by bench.search_store.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from bench.search_store import PATIENTS, START, STEP, fill
from engine.security.keyring import open_keyring
from engine.security.roles import Grant, Role
from engine.store import causes, patients, search, tokens, users
from engine.store.sqlite import DATABASE
from engine.store.store import open_store

RUNS = 5
PAGE = 50
HOUR = 3_600_000_000
PATIENCE = 60.0  # seconds until the console must be there


def run(folder: Path, count: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Fill a store with `count` messages and search it. Times are milliseconds, sizes bytes a message."""
    keyring = open_keyring(folder)
    figures: dict[str, Any] = {"messages": count}
    if not (folder / DATABASE).exists():
        store = open_store(folder, keyring)
        begun = time.perf_counter()
        fill(store, keyring, count, say)
        figures["fill_per_s"] = round(count / (time.perf_counter() - begun))
        store.close()
    figures["disk_bytes_per_message"] = round((folder / DATABASE).stat().st_size / count)
    say(f"{count} messages, {figures['disk_bytes_per_message']} bytes each")
    slowest = 0.0
    for name, ask in questions(count).items():
        store = open_store(folder, keyring, mode="reader")  # a fresh connection has nothing in its cache
        times = []
        for _ in range(RUNS + 1):
            begun = time.perf_counter()
            found = ask(store.reader)
            times.append((time.perf_counter() - begun) * 1e3)
        store.close()
        first, again = times[0], median(times[1:])
        slowest = max(slowest, first, again)
        figures[f"{name}_ms"] = round(again, 2)
        say(f"{name:24} first {first:9.2f} ms   again {again:9.2f} ms   {len(found)} found")
    figures["slowest_ms"] = round(slowest, 2)
    figures |= _console(folder, count, say)
    return figures


def filters(count: int) -> dict[str, dict[str, Any]]:
    """What is searched for, by name: arguments of engine.store.search.find."""
    middle = count // 2
    noon = START + middle * STEP
    return {
        "newest": {},
        "by_mrn": {"mrn": str(1_000_000 + middle % PATIENTS)},
        "by_visit": {"visit": f"V{5_000_000 + middle}"},
        "by_control_id": {"control_id": f"S{middle}"},
        "unknown_mrn": {"mrn": "nobody"},
        "column_blind": {"columns": {"account": f"A{middle}"}},
        "column_plain": {"columns": {"ward": "W3"}},
        "column_beginning": {"columns": {"ward": "W1*"}},
        "errors": {"state": "ERROR"},
        "filtered": {"state": "FILTERED"},
        "channel_and_state": {"channel": "bench", "state": "TRANSFORMED"},
        "quiet_channel": {"channel": "quiet"},
        "no_such_channel": {"channel": "none"},
        "two_channels": {"channels": ["quiet", "none"]},
        "an_hour": {"since": noon, "until": noon + HOUR},
        "since_the_first_half": {"since": noon},
        "until_the_first_half": {"until": noon},
        "type": {"type": "ADT"},
        "rare_type": {"type": "ADT^A40"},
        "deliveries_sent": {"delivery_state": "SENT"},
        "deliveries_in_error": {"delivery_state": "ERROR"},
        "deliveries_discarded": {"delivery_state": "DISCARDED"},
        "deliveries_queued": {"delivery_state": "QUEUED"},
        "rare_destination": {"destination": "archive"},
        "rare_destination_sent": {"destination": "archive", "delivery_state": "SENT"},
        "no_such_destination": {"destination": "none"},
        "destination_of_all": {"destination": "odoo"},
        "patient_and_destination": {"mrn": "nobody", "destination": "odoo"},
        "error_code": {"error_code": "odoo.validation"},
        "error_code_of_sent": {"error_code": "odoo.validation", "delivery_state": "SENT"},
        "deep_page": {"after": middle},
        "patient_and_state": {"mrn": str(1_000_000), "state": "ERROR"},
    }


def questions(count: int) -> dict[str, Callable[[Any], Any]]:
    """Everything that is asked, by name."""
    made: dict[str, Callable[[Any], Any]] = {
        name: partial(search.find, **one, limit=PAGE) for name, one in filters(count).items()
    }
    who = str(1_000_000 + count // 2 % PATIENTS)
    made["patient_view"] = lambda tx: patients.messages_of(tx, patients.by_number(tx, who))
    made["errors_by_cause"] = causes.error_groups
    made["totals"] = search.backlog
    return made


def _console(folder: Path, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The console on this store: its first page, a search through the API, and its memory after both."""
    keyring = open_keyring(folder)
    store = open_store(folder, keyring, mode="client")
    until = store.reader.now() + HOUR

    def work(tx: Any) -> str:
        if users.get(tx, "bench") is None:
            users.add(tx, "bench", "x", [Grant(Role.ADMIN)])
        return tokens.add(tx, "bench", "bench", [Grant(Role.VIEWER)], until)[0]

    token = store.writer.call(work)
    store.close()
    figures: dict[str, Any] = {}
    with _served(folder) as (url, pid):
        for name, path, body in (
            ("dashboard", "/api/v1/channels", None),
            ("search_newest", "/api/v1/messages/search", {}),
            ("search_mrn", "/api/v1/messages/search", {"mrn": str(1_000_000 + count // 2 % PATIENTS)}),
            ("search_ward", "/api/v1/messages/search", {"columns": {"ward": "W3"}}),
        ):
            times = []
            for _ in range(RUNS):
                begun = time.perf_counter()
                _ask(url + path, token, body)
                times.append((time.perf_counter() - begun) * 1e3)
            figures[f"console_{name}_ms"] = round(median(times), 1)
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        figures["console_rss_mb"] = round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
    for name, value in figures.items():
        say(f"{name:24} {value}")
    return figures


def _ask(url: str, token: str, body: Any) -> bytes:
    data = None if body is None else orjson.dumps(body)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE) as answer:
        content: bytes = answer.read()
        return content


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[tuple[str, int]]:
    """A console on the folder: its address and process id."""
    program = "from engine.cli import main; main()"
    words = [
        "console",
        "--data",
        str(folder),
        "--listen",
        "127.0.0.1:0",
        "--config",
        str(folder / "none.yaml"),
    ]
    log = folder / "console.log"
    with log.open("wb") as output:
        child = subprocess.Popen([sys.executable, "-c", program, *words], stdout=output, stderr=output)
    try:
        until = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://[^\s/]+", log.read_text())):
            if time.monotonic() > until or child.poll() is not None:
                raise RuntimeError(f"the console does not start: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield found[0], child.pid
    finally:
        child.terminate()
        child.wait()
