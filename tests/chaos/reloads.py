"""Reloads under load: a real engine, senders that never stop, configurations of which every other one is bad.

Run: python tests/chaos/reloads.py [--seconds 20] [--reloads 50] [--connections 16] [--patients 300]
     python tests/chaos/reloads.py --rate 3000 --reloads 200 --seconds 120 --connections 32 --senders 2
Senders are processes of their own; with `--rate` they send so many messages a second, together, else what they can.
Each good configuration puts a marker of its own into what Odoo gets. Checked: every acknowledged message is stored
byte for byte and delivered once, in the order of its patient, with the marker of the version that its row names.
Half of the good ones are asked for by SIGHUP, all others by `isthmus channel reload`.
The last line is JSON: counts, and p50 and p99 of the ACKs without and with reloads, in milliseconds; `per_s` is what
was really sent. AssertionError, and no JSON, when a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

from chaos import Odoo, configured, drained, stored  # noqa: E402
from engine_process import EngineProcess, free_ports, until  # noqa: E402
from sender import Sender  # noqa: E402

from engine.cli import cli  # noqa: E402
from engine.store import versions  # noqa: E402

PHONE = "phone: \"{{ msg['MSH-10'] }}"


def marked(text: str, number: int) -> str:
    """The configuration whose records carry `/m<number>`."""
    assert PHONE in text
    return text.replace(PHONE, f"{PHONE}/m{number}")


def broken(text: str, number: int) -> str:
    """The next one, with an error that lint finds, or one that is no YAML at all."""
    wrong = marked(text, number)
    return wrong.replace("listener:", "listner:") if number % 4 else wrong + "\n  x: ["


def by_verb(engine: EngineProcess) -> int:
    """`isthmus channel reload`; gives its exit code."""
    return CliRunner().invoke(cli, ["channel", "reload", "--data", str(engine.data)]).exit_code


def by_signal(engine: EngineProcess) -> int:
    """SIGHUP, until what it asked for is done."""
    count = "SELECT count(*) FROM command WHERE verb = 'reload' AND state = 'done'"
    before = engine.rows(count)[0][0]
    assert engine.child is not None
    engine.child.send_signal(signal.SIGHUP)
    until(lambda: engine.rows(count)[0][0] > before)
    return 0


def checked(engine: EngineProcess, odoo: Odoo, loads: list[Sender]) -> dict[str, int]:
    """The promises; gives how many messages each marker has."""
    drained(engine, 600)
    stored(engine, *loads)
    with engine.reading() as tx:
        names = {entry.version for entry in versions.history(tx, 10_000)}
        texts = {name: (versions.files(tx, name) or {})["channels.yaml"].decode() for name in names}
    markers = {name: re.findall(r"/m(\d+)\"", text)[0] for name, text in texts.items()}
    ran = dict(engine.rows("SELECT control_id, config_version FROM message"))
    acked = {patient: ids for load in loads for patient, ids in load.acked.items() if ids}
    assert odoo.effects() == {
        patient: [f"{one}/m{markers[ran[one]]}" for one in ids] for patient, ids in acked.items()
    }
    assert {state for (state,) in engine.rows("SELECT DISTINCT state FROM delivery")} == {"SENT"}
    assert not engine.faults, engine.faults[:3]
    used = [markers[version] for version in ran.values()]
    return {marker: used.count(marker) for marker in sorted(markers.values(), key=int)}


def quantile(values: list[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(values)
    return round(ordered[int((len(ordered) - 1) * share)] * 1e3, 2)


def run(
    folder: Path,
    *,
    seconds: float,
    reloads: int,
    connections: int,
    patients: int,
    rate: float = 0,
    senders: int = 1,
) -> dict:
    """Everything; AssertionError when a promise is broken."""
    port, odoo_port = free_ports(2)
    text = configured(port, odoo_port)
    odoo = Odoo(folder / "odoo", odoo_port)
    engine = EngineProcess(folder, marked(text, 0))
    config = folder / "channels.yaml"
    loads: list[Sender] = []
    try:
        odoo.start()
        engine.start()
        shares = {
            "patients": patients // senders,
            "connections": connections // senders,
            "rate": rate / senders,
        }
        for number in range(senders):
            loads.append(Sender(port, prefix=f"{chr(97 + number)}", seed=number + 1, **shares))
        started = time.monotonic()
        time.sleep(seconds / 2)
        began = time.monotonic()
        good = 0
        for number in range(1, reloads + 1):
            bad = number % 2 == 0
            config.write_text((broken if bad else marked)(text, number))
            ask = by_signal if number % 4 == 1 else by_verb
            assert ask(engine) == bad, f"reload {number}: {engine.text[-2000:]}"
            good += not bad
            time.sleep(max(0.0, began + seconds / 2 * number / reloads - time.monotonic()))
        ended = time.monotonic()
        for load in loads:
            load.stop()
        found = checked(engine, odoo, loads)
        assert set(found) == {str(n) for n in range(reloads + 1) if n % 2 or not n}
        answered = [one for load in loads for one in load.answered]
        plain = [wait for at, wait in answered if started <= at < began]
        during = [wait for at, wait in answered if began <= at < ended]
        return {
            "messages": sum(load.count for load in loads),
            "reloads": reloads,
            "bad": reloads - good,
            "versions_with_messages": sum(count > 0 for count in found.values()),
            "lost_answers": sum(load.lost for load in loads),
            "per_s": round(len(plain) / (began - started)),
            "per_s_reloading": round(len(during) / (ended - began)),
            "p50_ms": quantile(plain, 0.5),
            "p99_ms": quantile(plain, 0.99),
            "p50_reloading_ms": quantile(during, 0.5),
            "p99_reloading_ms": quantile(during, 0.99),
            "p99_ratio": round(quantile(during, 0.99) / quantile(plain, 0.99), 2),
        }
    finally:
        for load in loads:
            load.kill()
        engine.kill()
        odoo.kill()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="half without reloads, half with")
    parser.add_argument("--reloads", type=int, default=50)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument(
        "--rate", type=float, default=0.0, help="messages a second, together; 0: what they can"
    )
    parser.add_argument(
        "--senders", type=int, default=1, help="processes that share connections and patients"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(Path(folder), **vars(options))))


if __name__ == "__main__":
    main()
