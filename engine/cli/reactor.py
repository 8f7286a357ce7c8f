"""The reactor of this process, on a clock that cannot be set.

Twisted's timers count by the wall clock: after it was set back an hour, every wait would last an hour longer.
"""

from __future__ import annotations

import time
from typing import Any


def steady() -> Any:
    """The reactor, its timers counting by the monotonic clock. Call it before anything is scheduled."""
    from twisted.internet import reactor

    found: Any = reactor
    found.seconds = time.monotonic
    return found
