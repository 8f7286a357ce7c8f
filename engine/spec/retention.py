"""How long a channel keeps what, how much of it, and how much disk the engine leaves free.

Guarantees: ages are seconds, sizes bytes, however they are written (`90s`, `15m`, `24h`, `30d`; `512MiB`,
`50GB`). Refuses: an age or size without a unit it knows, and retention that would forget a control id while
a sender may still repeat it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SIZES = {"": 1, "B": 1} | {
    f"{prefix}{unit}": base**power
    for unit, base in (("B", 1000), ("iB", 1024))
    for power, prefix in enumerate("KMGT", 1)
}


def seconds(value: Any) -> int:
    """`30d` as seconds; a bare number is seconds. ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = re.fullmatch(r"(\d{1,9})\s*([smhd])", value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a duration: write a number and s, m, h or d, such as 90s, 15m, 24h, 30d")
    return int(found[1]) * AGES[found[2]]


def age_text(age: int) -> str:
    """Seconds as `seconds` reads them, in the largest unit that gives a whole number."""
    unit = next(unit for unit in reversed(AGES) if age % AGES[unit] == 0)
    return f"{age // AGES[unit]}{unit}"


def bytes_of(value: Any) -> int:
    """`50GB` or `512MiB` as bytes; a bare number is bytes. ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = (
        re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([A-Za-z]*)", value.strip())
        if isinstance(value, str)
        else None
    )
    if found is None or found[2] not in SIZES:
        raise ValueError("not a size: write a number and a unit, such as 500MB, 50GB or 1GiB")
    return int(float(found[1]) * SIZES[found[2]])


Age = Annotated[
    int,
    BeforeValidator(seconds),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^\d+\s*[smhd]$", "examples": ["30d"]}),
]
Size = Annotated[
    int,
    BeforeValidator(bytes_of),
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": r"^[\d.]+\s*[KMGT]?i?B?$", "examples": ["50GB"]}
    ),
]


def _keep_or_age(value: Any) -> Any:
    return value if value == "keep" else seconds(value)


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Retention(_Options):
    """What goes when. Without it everything is kept. What is not finished is never touched."""

    content: Age | None = Field(
        default=None, description="Bodies (raw, payload, exchange) of finished messages go at this age."
    )
    messages: Age | None = Field(
        default=None, description="Rows of finished messages, their deliveries and events go at this age."
    )
    max_size: Size | None = Field(
        default=None, gt=0, description="Bodies of the channel above this size go, the oldest finished first."
    )
    errors: Annotated[
        Literal["keep"] | int,
        BeforeValidator(_keep_or_age),
        WithJsonSchema({"type": ["string", "integer"], "pattern": r"^(keep|\d+\s*[smhd])$"}),
    ] = Field(
        default="keep",
        description="`keep`: what is in ERROR stays until somebody decides. An age: deliveries in ERROR are"
        " discarded then, with an event each, and messages in ERROR count as finished.",
    )


class Disk(_Options):
    """Marks of free space on the disk of the data folder, for all channels together."""

    pause: Size | None = Field(
        default=None,
        gt=0,
        description="Listeners stop reading below this much free space; by default 1 GiB or 2 % of the disk,"
        " whichever is smaller.",
    )
    refuse: Size | None = Field(
        default=None, gt=0, description="AR 207 below this much; by default half of `pause`."
    )


Storage = Literal["full", "no-content", "metadata"]
"""What is kept of a finished message: everything; no bodies but the ACK; no bodies, and codes instead of texts."""
