"""What is done on a FHIR server again and again: one round after another, at pauses that grow while it fails.

Guarantees: never two rounds at a time; who hurries while one is under way gets one more after it; nothing that a round
raises ends the rounds; after `stop` none begins.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, ensureDeferred
from twisted.python.failure import Failure

Pause = Callable[[BaseException | None, int], float]


class Refused(Exception):
    """The store takes nothing now."""


def growing(first: float, failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(first * 2.0 ** min(failures - 1, 30), longest)


class Rounds:
    """`one` again and again. `pause(error, failures)` is told how each ended and gives the seconds until the next."""

    def __init__(
        self, reactor: Any, one: Callable[[], Coroutine[Any, Any, None]], pause: Pause,
        alone: DeferredLock | None = None,
    ) -> None:  # fmt: skip
        """`alone` is shared with others: one round of all of them at a time."""
        self._reactor = reactor
        self._one = one
        self._pause = pause
        self._alone = alone
        self._call: Any = None
        self._hurry: float | None = None
        self._under_way = False
        self.running = False
        self.failures = 0  # in a row

    def start(self) -> None:
        """Begin, unless they go on already."""
        if not self.running:
            self.running = True
            self.soon(0)

    def stop(self) -> None:
        """Begin no more. A round that is under way sees `running`."""
        self.running = False
        self._hurry = None
        self._cancel()

    def soon(self, seconds: float) -> bool:
        """A round in so many seconds; whether that is sooner than it would have been."""
        if self._under_way:
            sooner = self._hurry is None or seconds < self._hurry
            self._hurry = seconds if sooner else self._hurry
        else:
            sooner = self._call is None or self._call.getTime() > self._reactor.seconds() + seconds
            if sooner and self.running:
                self._later(seconds)
        return sooner and self.running

    def _later(self, seconds: float) -> None:
        self._cancel()
        self._call = self._reactor.callLater(seconds, self._begin)

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._call = None

    def _begin(self) -> None:
        self._call, self._under_way = None, True
        done: Deferred[Any] = self._alone.run(self._round) if self._alone is not None else self._round()
        done.addBoth(self._over)

    def _round(self) -> Deferred[None]:
        return ensureDeferred(self._one())

    def _over(self, result: Any) -> None:
        self._under_way = False
        error = result.value if isinstance(result, Failure) else None
        self.failures = self.failures + 1 if error is not None else 0
        pause = self._pause(error, self.failures)
        if (hurry := self._hurry) is not None:
            self._hurry, pause = None, min(hurry, pause)
        if self.running:
            self._later(pause)
