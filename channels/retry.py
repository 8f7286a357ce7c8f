"""When to try again: exponential waits with jitter, and a circuit breaker for each destination.

A delivery that failed alone waits alone (its time is in the store). A destination that fails for everybody is
not hammered: after `THRESHOLD` batches without any success the breaker opens, and only one delivery probes it
until it answers. A refusal of us (key, rights, unknown model) opens it at once: the destination is *held*, and
nothing becomes ERROR because of it.
"""

from __future__ import annotations

import random
from typing import Literal

from engine.spec.options import Retry

THRESHOLD = 3  # batches in a row without a success
HELD_PROBE = 60.0  # seconds between probes of a destination that refuses us


def wait(policy: Retry, attempts: int, rng: random.Random) -> float:
    """Seconds to wait after `attempts` failed attempts (1 or more)."""
    exponent = min(max(attempts - 1, 0), 64)
    seconds = min(policy.initial * policy.factor**exponent, policy.max)
    return seconds * (1 + policy.jitter * (2 * rng.random() - 1))


class Breaker:
    """closed: everything goes · open: nothing goes until `until` · half-open: one probe is on its way."""

    def __init__(self, policy: Retry, rng: random.Random) -> None:
        self.policy = policy
        self.rng = rng
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self.failures = 0
        self.until = 0.0  # seconds of the clock that the caller uses
        self.reason = ""
        self.held = False

    def limit(self, now: float, normal: int) -> int:
        """How many deliveries may go in a batch now."""
        if self.state == "closed":
            return normal
        if self.state == "open" and now >= self.until:
            self.state = "half-open"
            return 1
        return 0

    def not_probed(self) -> None:
        """`limit` allowed a probe and there was none to send: the next delivery is it."""
        if self.state == "half-open":
            self.state = "open"

    def success(self) -> bool:
        """A batch had a success. True when the breaker closes by it."""
        closes = self.state != "closed"
        self.state, self.failures, self.reason, self.held = "closed", 0, "", False
        return closes

    def failure(self, now: float, reason: str, *, held: bool = False) -> bool:
        """A batch had none, or we are refused. True when the breaker opens by it."""
        self.failures += 1
        was = self.state
        self.reason = reason
        self.held = held
        if held or was != "closed" or self.failures >= THRESHOLD:
            self.state = "open"
            seconds = wait(self.policy, self.failures, self.rng)
            self.until = now + (max(seconds, min(HELD_PROBE, self.policy.max)) if held else seconds)
        return was == "closed" and self.state == "open"
