"""Bounds for steps that run away: a time budget for each message, a memory budget for a slice of them.

Guarantees: a filter, transformer or template that loops is stopped after `seconds` and its message becomes ERROR
`step.timeout`; one that allocates without end gets a MemoryError and becomes ERROR; the engine goes on. Works by
SIGALRM and RLIMIT_AS, so on the main thread of a POSIX process; elsewhere (tests in a thread) it does nothing.
Time is counted in ticks of one timer that runs for a whole slice: a message has its `seconds` and at most one TICK
more, and a tick between two messages does nothing, nor does one that comes while the bounds themselves are put up or
taken down: they are always taken down. A process that is stopped (SIGSTOP, a paused machine) or gets
no CPU counts none: its message is not to blame.
Refuses nothing. It cannot stop C code that never looks at signals: such a message kills the engine, is found
at work after the restart, and after the second time it is parked as `poison` (see channels.route).
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FrameType

from engine.errors import StepTimeout

SECONDS = 2.0  # for one message
TICK = 0.1  # seconds; a step that swallows the first interruption gets one with every further tick
MEMORY = 512 << 20  # bytes that the steps of one slice may add to the process
_BOUNDS = (__file__, contextlib.__file__)  # whose code is not interrupted
_PAGE = resource.getpagesize()
_STATM = Path("/proc/self/statm")


@cache
def _statm() -> int | None:
    """Kept open, because it is read for every slice; None where there is none (not Linux): no bound then."""
    try:
        return os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


class Guard:
    """Makes time and memory of steps finite."""

    def __init__(self, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self.seconds = seconds
        self.memory = memory
        self.active = False
        self._armed = False  # a message is at work
        self._left = 0  # ticks

    def install(self) -> None:
        """Take SIGALRM; called once on the main thread."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, self._tick)
            self.active = True

    def arm(self) -> None:
        """A message begins."""
        self._left = max(1, round(self.seconds / TICK)) + 1  # the first tick may come at once
        self._armed = True

    def disarm(self) -> None:
        """It is done."""
        self._armed = False

    def _tick(self, _number: int, frame: FrameType | None) -> None:
        if self._armed:
            self._left -= 1
            if self._left <= 0 and not (frame and frame.f_code.co_filename in _BOUNDS):
                raise StepTimeout

    @contextlib.contextmanager
    def bounded(self) -> Iterator[None]:
        """A slice of messages: within this, those that are armed run out of time, and memory has an end."""
        with self._bounded_memory():
            if not self.active:
                yield
                return
            try:
                signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
                yield
            finally:
                try:
                    self._armed = False
                finally:  # even if the last tick of a message comes right here
                    signal.setitimer(signal.ITIMER_REAL, 0)

    @contextlib.contextmanager
    def _bounded_memory(self) -> Iterator[None]:
        """Within this, an allocation beyond the budget raises MemoryError."""
        statm = _statm() if self.active else None
        if statm is None:
            yield
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        now = int(os.pread(statm, 64, 0).split(maxsplit=1)[0]) * _PAGE
        bound = now + self.memory
        if soft != resource.RLIM_INFINITY:
            bound = min(bound, soft)
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
