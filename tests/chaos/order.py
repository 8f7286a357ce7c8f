"""Order under everything at once: kills, freezes, an Odoo that fails, delays, dies; and the four promises at the end.

Run: python tests/chaos/order.py [--messages 20000] [--patients 300] [--seed 1] [--every 2.0]
Every few seconds one of: the engine is killed (SIGKILL) and started again, Odoo is killed and started again, Odoo
is away, the engine stands still. All the while a part of Odoo's answers is late, lost, cut, refused or garbage.
The last line is JSON: counts and seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from chaos import Load, Odoo, configured, drained, freeze, verify  # noqa: E402
from engine_process import EngineProcess, free_ports  # noqa: E402

MIX = {"drop": 0.03, "lost": 0.03, "half": 0.02, "503": 0.03, "late503": 0.03, "500": 0.02, "garbage": 0.01}
DELAY = 0.05  # seconds at most, of an answer


def disturb(engine: EngineProcess, odoo: Odoo, rng: random.Random, calm: dict) -> str:
    """One thing that happens in hospitals."""
    what = rng.choice(["engine killed", "engine killed", "odoo killed", "odoo away", "engine frozen"])
    if what == "engine killed":
        engine.kill()
        engine.start()
    elif what == "odoo killed":
        odoo.kill()
        time.sleep(rng.random() / 2)
        odoo.start()
    elif what == "odoo away":
        odoo.be(down=True)
        time.sleep(rng.random())
        odoo.be(**calm)
    else:
        freeze(engine, rng.random())
    return what


def run(folder: Path, messages: int, patients: int, seed: int, every: float) -> dict:
    """Everything; AssertionError when a promise is broken."""
    rng = random.Random(seed)
    port, odoo_port = free_ports(2)
    calm = {"mix": MIX, "delay": DELAY}
    odoo = Odoo(folder / "odoo", odoo_port)
    engine = EngineProcess(folder, configured(port, odoo_port))
    happened: Counter[str] = Counter()
    try:
        odoo.start().be(**calm)
        engine.start()
        began = time.monotonic()
        load = Load(port, patients=patients, connections=8, each=-(-messages // patients), seed=seed).start()
        while load.running or engine.open() > messages // 20:
            time.sleep(every * (0.5 + rng.random()))
            happened[disturb(engine, odoo, rng, calm)] += 1
        load.join()
        received = max(load.times) - began
        odoo.be()
        drained(engine, 300)
        took = time.monotonic() - began
        verify(engine, odoo, load)
        effects = odoo.effects()
        attempts = engine.rows("SELECT sum(attempts), max(attempts) FROM delivery")[0]
        return {
            "messages": load.count,
            "patients": patients,
            "effects": sum(map(len, effects.values())),
            "lost": sum(len(set(ids) - set(effects[patient])) for patient, ids in load.acked.items()),
            "duplicates": sum(len(ids) - len(set(ids)) for ids in effects.values()),
            "patients_out_of_order": sum(effects[patient] != ids for patient, ids in load.acked.items()),
            "happened": dict(happened),
            "unanswered_sendings": load.lost,
            "refused": {name: count for name, count in load.answers.items() if name != "AA"},
            "attempts": attempts[0],
            "most_attempts": attempts[1],
            "received_after_s": round(received, 1),
            "delivered_after_s": round(took, 1),
        }
    finally:
        engine.kill()
        odoo.kill()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two disturbances")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), **vars(options))))


if __name__ == "__main__":
    main()
