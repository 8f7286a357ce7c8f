"""How long one message takes from bytes to canonical events, and from events to Odoo operations.

    python bench/canonical.py [FILE…]

Prints microseconds a message: the best and the median of several rounds, one process, one thread.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.hl7.er7 import Message  # noqa: E402
from engine.model import Meta, Scope  # noqa: E402
from engine.spec.component import BuildContext  # noqa: E402
from engine.spec.template import compile_template  # noqa: E402
from transforms.canonical.from_hl7 import interpreter  # noqa: E402

ROUNDS, COUNT = 9, 1000
SAMPLES = [ROOT / "config" / "samples" / name for name in ("03-admit.hl7", "11-book.hl7")]


def figure(run, prepared) -> str:
    """`best / median` of the rounds; `prepared` gives fresh input, outside of the clock."""
    times = []
    for _ in range(ROUNDS):
        inputs = prepared()
        start = perf_counter()
        for item in inputs:
            run(item)
        times.append((perf_counter() - start) / COUNT * 1e6)
    return f"{min(times):6.1f} / {median(times):6.1f}"


def main(files: list[Path]) -> None:
    interpret = interpreter({})
    meta = Meta()
    print(f"{'':28} {'µs, best / median':>20}")
    for path in files:
        raw = path.read_bytes()
        name = "appointment" if b"|SIU^" in raw[:200] else "patient"
        render = compile_template(name, BuildContext())

        def scope(raw=raw):
            made = Scope(Message(raw), meta, interpret)
            _ = made.events
            return made

        print(path.name)
        print(f"{'  bytes to view':28} {figure(Message, lambda raw=raw: [raw] * COUNT):>20}")
        fresh = lambda raw=raw: [Message(raw) for _ in range(COUNT)]  # noqa: E731
        print(f"{'  view to events':28} {figure(lambda item: interpret(item, meta), fresh):>20}")
        scopes = lambda scope=scope: [scope()] * COUNT  # noqa: E731
        print(f"{'  events to operations':28} {figure(render, scopes):>20}")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or SAMPLES)
