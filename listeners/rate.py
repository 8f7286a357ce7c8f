"""How many requests a second a listener takes from one sender.

Guarantees: a sender that keeps to its rate is never refused, and may send the requests of one second at once; what is
refused counts for nothing, so who comes again after the time that it is told is taken. Memory is bounded.
"""

from __future__ import annotations

import math
from collections import OrderedDict

SENDERS = 10_000  # addresses that are remembered


class Rate:
    """`per_second` requests of each address; None: any number."""

    def __init__(self, per_second: float | None) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._ahead = max(0.0, 1 - self._gap)  # seconds that a sender may be ahead of its rate
        self._next: OrderedDict[str, float] = OrderedDict()  # when each would be at its rate again

    def wait(self, host: str, now: float) -> int:
        """0: take this request of `host`; else the whole seconds until one is taken. `now` is in seconds."""
        if not self._gap:
            return 0
        due = max(self._next.get(host, now), now)
        if due - now > self._ahead + 1e-9:
            return math.ceil(due - now - self._ahead)
        self._next[host] = due + self._gap
        self._next.move_to_end(host)
        if len(self._next) > SENDERS:
            self._next.popitem(last=False)
        return 0
