"""`python -m bench`: all benchmarks, one after the other; `python -m bench ingest|odoo|search` one of them."""

from __future__ import annotations

import sys

from engine.cli.bench import VERBS, command


def main() -> None:
    """Run what was named, or everything."""
    if len(sys.argv) > 1:
        command(prog_name="bench")
    for verb in VERBS:
        print(f"== {verb}", flush=True)
        command([verb], prog_name="bench", standalone_mode=False)


if __name__ == "__main__":
    main()
