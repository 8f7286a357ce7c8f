"""`run_engine.py` in a process whose wall clock can be set: `$CHAOS_CLOCK` is a file with its offset in seconds.

Everything that asks Python for the wall clock is told the shifted one; the monotonic clock stays what it is.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

OFFSET = Path(os.environ["CHAOS_CLOCK"])
true_time_ns = time.time_ns
looked = [0.0, 0]  # when, offset in ns


def shifted_ns() -> int:
    """The wall clock of this process."""
    if time.monotonic() - looked[0] > 0.02:
        looked[:] = time.monotonic(), int(float(OFFSET.read_text()) * 1e9)
    return true_time_ns() + looked[1]


time.time_ns = shifted_ns
time.time = lambda: shifted_ns() / 1e9  # before Twisted is imported, which keeps the function

if __name__ == "__main__":
    from engine.cli import main

    main()
