"""Senders in a process of their own, so that they and what disturbs the engine do not share an interpreter.

The process sends until its standard input ends; then it writes what it knows, as JSON, to its standard output: what
was acknowledged, byte for byte, and when each answer came (monotonic seconds, which all processes of a machine share).
"""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]


class Sender:
    """What `chaos.Load` knows after it was stopped, of one that runs elsewhere."""

    def __init__(self, port: int, **options) -> None:
        self.child = subprocess.Popen(
            [sys.executable, str(Path(__file__)), json.dumps({"port": port, **options})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        assert self.child.stdout is not None
        assert self.child.stdout.readline() == b"sending\n"

    def stop(self, patience: float = 120.0) -> Sender:
        """Every connection ends with its next AA. AssertionError when one gets none."""
        told, _ = self.child.communicate(timeout=patience)
        assert self.child.returncode == 0 and told, "a sender failed"
        found = json.loads(told)
        self.acked: dict[str, list[str]] = found["acked"]
        self.raw = {name: b64decode(text) for name, text in found["raw"].items()}
        self.answered: list[tuple[float, float]] = [(at, wait) for at, wait in found["answered"]]
        self.lost: int = found["lost"]
        self.count = sum(map(len, self.acked.values()))
        return self

    def kill(self) -> None:
        """End it, whatever it does."""
        self.child.kill()
        self.child.wait()


def main() -> None:
    """The process."""
    from chaos import Load

    load = Load(**json.loads(sys.argv[1])).start()
    print("sending", flush=True)
    sys.stdin.read()
    load.stop()
    told = {
        "acked": load.acked,
        "raw": {name: b64encode(raw).decode() for name, raw in load.raw.items()},
        "answered": list(zip(load.times, load.waits, strict=True)),
        "lost": load.lost,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
