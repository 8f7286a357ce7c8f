"""Durations and sizes as people write them: `90s`, `15m`, `24h`, `30d`; `512MiB`, `50GB`.

Guarantees: every duration of a configuration is read here, a bare number is seconds (of a size: bytes), and a fraction
is taken where it makes sense (`0.5s`, `1.5h`). Refuses (ValueError): a unit it does not know, what is below zero.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {"": 1, "B": 1} | {
    f"{prefix}{unit}": base**power
    for unit, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate("KMGT", 1)
}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*([smhd]?)", re.ASCII)
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([A-Za-z]*)", re.ASCII)
_LONGEST = 10**9 * AGES["d"]  # seconds


def seconds(value: Any) -> float:
    """`30d` as seconds, whole ones as an int; a bare number is seconds. ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return value
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a duration: write a number and s, m, h or d, such as 90s, 15m, 24h, 30d")
    number = float(found[1]) * AGES[found[2] or "s"]
    return int(number) if number.is_integer() else number


def whole_seconds(value: Any) -> int:
    """As `seconds`; ValueError for a part of a second."""
    found = seconds(value)
    if found != int(found):
        raise ValueError("not a duration in whole seconds, such as 90s, 15m, 24h, 30d")
    return int(found)


def age_text(age: float) -> str:
    """Seconds as `seconds` reads them, in the largest unit that gives a whole number."""
    unit = next((unit for unit in reversed(AGES) if age % AGES[unit] == 0), "s") if age else "s"
    return f"{age / AGES[unit]:.12g}{unit}"


def bytes_of(value: Any) -> int:
    """`50GB` or `512MiB` as bytes; a bare number is bytes. ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2] not in SIZES:
        raise ValueError("not a size: write a number and a unit, such as 500MB, 50GB or 1GiB")
    return int(float(found[1]) * SIZES[found[2]])


DURATION = WithJsonSchema(
    {"type": ["string", "number"], "minimum": 0, "pattern": r"^\d+(\.\d+)?\s*[smhd]?$", "examples": ["30d"]}
)
SIZE = WithJsonSchema(
    {
        "type": ["string", "integer"], "minimum": 0, "pattern": r"^\d+(\.\d+)?\s*([KMGT]?i?B)?$",
        "examples": ["50GB"],
    }
)  # fmt: skip

Duration = Annotated[float, BeforeValidator(seconds), DURATION]
"""Seconds."""
Age = Annotated[int, BeforeValidator(whole_seconds), DURATION]
"""Whole seconds: what is counted in the store."""
Size = Annotated[int, BeforeValidator(bytes_of), SIZE]
"""Bytes."""
