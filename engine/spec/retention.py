"""How long a channel keeps what, how much of it, and how much disk the engine leaves free.

Guarantees: ages are seconds, sizes bytes, however they are written (engine.spec.units). Refuses: an age or size
without a unit it knows, and retention that would forget a control id while a sender may still repeat it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from engine.spec.units import Age, Size, whole_seconds


def _keep_or_age(value: Any) -> Any:
    return value if value == "keep" else whole_seconds(value)


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
    errors: Annotated[Literal["keep"] | Age, BeforeValidator(_keep_or_age)] = Field(
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
