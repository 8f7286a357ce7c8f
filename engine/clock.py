"""Wall-clock time as the store keeps it: microseconds since 1970-01-01 UTC, as one int.

Anything that waits takes a Twisted clock as an argument; only stamps come from here, and a test may
pass its own `now`.
"""

import time
from datetime import UTC, datetime, tzinfo

Micros = int
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}  # seconds


def now() -> Micros:
    """The time now, in microseconds since the epoch."""
    return time.time_ns() // 1000


def iso(at: Micros) -> str:
    """`at` as ISO 8601 in UTC with milliseconds, for people and JSON."""
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str, zone: tzinfo | None = UTC) -> Micros:
    """A time as people write it: `2026-11-22`, `2026-11-22T03:00`, or so long ago: `90m`, `24h`, `7d`.

    Without an offset it is in `zone` (None: that of this machine). Raises ValueError.
    """
    if text[-1:] in UNITS and text[:-1].isdecimal() and len(text) < 9:
        return now() - int(text[:-1]) * UNITS[text[-1]] * 1_000_000
    at = datetime.fromisoformat(text)
    try:
        return int((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1_000_000)
    except OverflowError:
        raise ValueError("this time is out of range") from None
