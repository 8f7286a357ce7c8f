"""What a channel and its destinations promise each other.

`render` is pure and runs at routing: what it gives is stored with C2 and sent, the same bytes, on every
attempt. `deliver` takes a batch of deliveries that are independent of each other (no two share an ordering
key) and gives an Outcome for each, in any order; it never raises for a bad answer or a lost connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from engine.model import Delivery, Scope


class Destination(Protocol):
    """What `build` of a destination component returns."""

    batch_size: int  # deliveries in one call of `deliver`, at most
    in_flight: int  # calls of `deliver` that may run at once

    def render(self, scope: Scope) -> bytes | None:
        """The payload for this message, or None when the destination has nothing to do for it."""

    def deliver(self, batch: list[Delivery]) -> Any:
        """Send them. Gives a Deferred of list[Outcome], one for each delivery of the batch."""

    # One that can tell beforehand what it would change also has `planner()`: an object whose `plan(content)` gives
    # engine.change.Change of one payload after the other, and whose `content` is the type that a payload is read as.

    def start(self) -> Any:
        """Open what is needed. Gives a Deferred; a failure is a configuration error, not a crash."""

    def stop(self) -> Any:
        """Close it. Gives a Deferred."""


Render = Callable[[Scope], bytes | None]
