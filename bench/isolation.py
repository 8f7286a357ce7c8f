"""Does trouble of one disturb the others? Throughput of everybody else, disturbed and not, in interleaved pairs.

Run: python bench/isolation.py [--messages 4000] [--pairs 3]
Three channels, two Odoo stand-ins and the same traffic in both runs of a pair. In the disturbed one a patient's
data is refused by Odoo, the second Odoo is down, and the template of the third channel raises on every message.
Measured is the first channel without that patient: seconds until the last of its messages is in Odoo.
The last line is JSON; `ratio` is the median of disturbed / undisturbed throughput.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "chaos")]

from chaos import CHANNEL, CONNECTION, Load, Odoo, drained  # noqa: E402
from engine_process import EngineProcess, free_ports, until  # noqa: E402

OPERATIONS = """
          - upsert: res.partner
            key: "patient/{{ msg['PID-3.1'] }}"
            values:
              name: "Patient {{ 1 // (0 if msg['PID-5.1'] == 'Raise' else 1) }}"
              ref: "{{ msg['PID-3.1'] }}"
              phone: "{{ msg['MSH-10'] }}"
              type: "{{ 'bogus' if msg['PID-5.1'] == 'Refuse' else 'contact' }}"
"""
PACE = 0.02  # seconds between two messages of a sender beside


def once(folder: Path, messages: int, *, disturbed: bool) -> float:
    """Messages a second of the undisturbed patients; every one of them is in Odoo, and in order."""
    first, second, third, port_a, port_b = free_ports(5)
    names = {"many": (first, "a"), "away": (second, "b"), "raising": (third, "a")}
    config = "connections:" + "".join(
        CONNECTION.format(name=name, port=port, key="sandbox", timeout=2)
        for name, port in (("a", port_a), ("b", port_b))
    )
    config += "channels:" + "".join(
        CHANNEL.format(name=name, port=port, connection=connection, operations=OPERATIONS, longest=0.5)
        for name, (port, connection) in names.items()
    )
    odoos = [Odoo(folder / "a", port_a).start(), Odoo(folder / "b", port_b).start()]
    engine = EngineProcess(folder, config)
    try:
        engine.start(channels=3)
        if disturbed:
            odoos[1].be(down=True)
        beside = [
            Load(
                first,
                patients=1,
                connections=1,
                prefix="bad",
                pace=PACE,
                family="Refuse" if disturbed else "Doe",
            ),
            Load(second, patients=8, connections=1, prefix="away", pace=PACE),
            Load(
                third,
                patients=8,
                connections=1,
                prefix="raise",
                pace=PACE,
                family="Raise" if disturbed else "Doe",
            ),
        ]
        for load in beside:
            load.start()
        time.sleep(0.5)
        began = time.monotonic()
        load = Load(first, patients=50, connections=6, each=-(-messages // 50)).start().join()
        until(
            lambda: (
                sum(len(ids) for ref, ids in odoos[0].effects().items() if ref in load.acked) >= load.count
            ),
            120,
        )
        took = time.monotonic() - began
        for one in beside:
            one.stop()
        states = dict(engine.rows("SELECT channel || ' ' || state, count(*) FROM delivery GROUP BY 1"))
        failed = dict(
            engine.rows(
                "SELECT channel || ' ' || coalesce(error_code, state), count(*) FROM message GROUP BY 1"
            )
        )
        if disturbed:
            assert states.get("many ERROR") == 1, states  # the rest of that patient waits behind it
            assert not states.get("away SENT") or states["away QUEUED"], states
            assert [name for name in failed if name.startswith("raising ")] != ["raising TRANSFORMED"], failed
        else:
            drained(engine)
        effects = odoos[0].effects()
        assert {ref: effects[ref] for ref in load.acked} == load.acked
        return load.count / took
    finally:
        engine.kill()
        for odoo in odoos:
            odoo.kill()


def run(folder: Path, messages: int, pairs: int) -> dict[str, Any]:
    """Pairs of runs, the order changing from one to the next."""
    figures: dict[bool, list[float]] = {False: [], True: []}
    for pair in range(pairs):
        for disturbed in (False, True) if pair % 2 == 0 else (True, False):
            figures[disturbed].append(once(folder / f"{pair}-{disturbed}", messages, disturbed=disturbed))
    ratios = [after / before for before, after in zip(figures[False], figures[True], strict=True)]
    return {
        "messages": messages,
        "undisturbed_per_s": [round(value, 1) for value in figures[False]],
        "disturbed_per_s": [round(value, 1) for value in figures[True]],
        "ratios": [round(value, 3) for value in ratios],
        "ratio": round(statistics.median(ratios), 3),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=4_000)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), options.messages, options.pairs)))


if __name__ == "__main__":
    main()
