"""Searches in a store of many messages: median and slowest of the questions that people ask.

The messages are stored as the engine stores them (encrypted bodies, indexes, a delivery each).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench.messages import adt
from engine.hl7.peek import peek
from engine.security.keyring import Keyring
from engine.store import deliveries, messages, search
from engine.store.store import open_store

GROUP = 2_000  # messages a transaction
PATIENTS = 20_000
START = 1_760_000_000_000_000
STEP = 1_000_000  # microseconds between two messages
RUNS = 7


def run(folder: Path, count: int, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Fill a store with `count` messages and search it. Times are milliseconds, sizes bytes a message."""
    keyring = Keyring.generate()
    store = open_store(folder, keyring)
    begun = time.perf_counter()
    for first in range(0, count, GROUP):
        store.writer.call(lambda tx, first=first: fill(tx, keyring, first, min(first + GROUP, count)))  # type: ignore[misc]
    filled = time.perf_counter() - begun
    say(f"{count} messages stored in {filled:.1f} s")
    tx = store.reader
    middle = count // 2
    noon = START + middle * STEP
    questions: dict[str, dict[str, Any]] = {
        "newest": {},
        "by_mrn": {"mrn": str(1_000_000 + middle % PATIENTS)},
        "by_visit": {"visit": f"V{5_000_000 + middle}"},
        "by_control_id": {"control_id": f"S{middle}"},
        "unknown_mrn": {"mrn": "nobody"},
        "errors": {"state": "ERROR"},
        "channel_and_state": {"channel": "bench", "state": "TRANSFORMED"},
        "an_hour": {"since": noon, "until": noon + 3_600_000_000},
        "type": {"type": "ADT^A01"},
        "deliveries_in_error": {"delivery_state": "ERROR"},
        "deep_page": {"after": middle},
    }
    figures: dict[str, Any] = {
        "messages": count,
        "fill_per_s": round(count / filled),
        "disk_bytes_per_message": 0,
    }
    slowest = 0.0
    for name, asked in questions.items():
        times = []
        for _ in range(RUNS):
            begun = time.perf_counter()
            found = search.find(tx, **asked)
            times.append((time.perf_counter() - begun) * 1e3)
        slowest = max(slowest, *times)
        figures[f"{name}_ms"] = round(median(times), 2)
        say(f"{name:22} {median(times):8.2f} ms   {len(found)} found")
    figures["slowest_ms"] = round(slowest, 2)
    store.close()
    figures["disk_bytes_per_message"] = round(store.path.stat().st_size / count)
    return figures


def fill(tx: Any, keyring: Keyring, first: int, end: int) -> None:
    """Messages `first` to `end`, each with a delivery; every 500th fails, every 400th is not delivered."""
    for number in range(first, end):
        raw = adt(number, b"S%d" % number, PATIENTS)
        header = peek(raw)
        at = START + number * STEP
        mrn = str(1_000_000 + number % PATIENTS)
        new = messages.NewMessage("bench", raw, at, header.control_id, header.type, header.sender)
        new.mrn, new.visit, new.ordering_key = mrn, f"V{5_000_000 + number}", keyring.blind(f"key:{mrn}")
        received = messages.receive(tx, new)
        if number % 500 == 0:
            messages.route(tx, messages.Routed(received.id, "ERROR", at, error_code="step.crashed"))
            continue
        todo = [messages.NewDelivery("odoo", b'[{"op":"upsert","key":"patient/%b"}]' % mrn.encode())]
        messages.route(tx, messages.Routed(received.id, "TRANSFORMED", at, todo))
        state, code = ("ERROR", "odoo.validation") if number % 400 == 0 else ("SENT", None)
        deliveries.deliver(tx, deliveries.Delivered(received.id, "odoo", state, at, error_code=code))
