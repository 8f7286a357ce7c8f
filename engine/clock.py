"""Wall-clock time as the store keeps it: microseconds since 1970-01-01 UTC, as one int.

Anything that waits takes a Twisted clock as an argument; only stamps come from here, and a test may
pass its own `now`.
"""

import time
from datetime import UTC, datetime

Micros = int


def now() -> Micros:
    """The time now, in microseconds since the epoch."""
    return time.time_ns() // 1000


def iso(at: Micros) -> str:
    """`at` as ISO 8601 in UTC with milliseconds, for people and JSON."""
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
