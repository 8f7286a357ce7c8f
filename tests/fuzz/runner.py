"""Runs targets over generated inputs; every input is a function of (seed, target, number) alone.

An input fails when its check raises, takes more than LIMIT of CPU time (measured again before it counts), or
when memory grows by more than MEMORY. What failed is made smaller while it fails in the same way.
"""

from __future__ import annotations

import resource
import signal
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import Any

LIMIT = 0.1  # seconds of CPU for one input of up to 64 KB
HANG = 20.0  # seconds of wall time after which an input counts as hanging
MEMORY = 50 * 1024 * 1024  # bytes
TRACED = 211  # every so many inputs are run under tracemalloc, and so is every large one
LARGE = 16 * 1024
SHRINKS = 2_000


class Slow(AssertionError):
    """An input took too long."""


class Hungry(AssertionError):
    """An input took too much memory."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed: `make` gives an input, `check` raises when the input breaks a promise."""

    name: str
    make: Callable[[Random], Any]
    check: Callable[[Any], None]
    warm: Callable[[], None] = lambda: None  # loads what is loaded once in a process
    limit: float = LIMIT


@dataclass
class Failure:
    """One input that failed, as it was and made smaller."""

    target: str
    seed: int
    number: int
    why: str
    found: Any
    small: Any = None


@dataclass
class Result:
    """What a run of one target gave."""

    target: str
    inputs: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_number: int = 0
    peak: int = 0  # bytes, of the traced inputs
    grown: int = 0  # bytes of resident memory
    failures: list[Failure] = field(default_factory=list)


def rng_of(seed: int, target: str, number: int) -> Random:
    """The random numbers of one input."""
    return Random((seed << 64) ^ (zlib.crc32(target.encode()) << 32) ^ number)


def size(item: Any) -> int:
    """Bytes or characters of an input."""
    if isinstance(item, (bytes, str)):
        return len(item)
    return sum(map(size, item)) if isinstance(item, (tuple, list)) else 0


@contextmanager
def watched() -> Iterator[None]:
    """Raise Slow in what does not come back by itself."""

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise Slow(f"no answer after {HANG} s")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def timed(target: Target, item: Any) -> float:
    """Check one input; the CPU seconds it took."""
    signal.setitimer(signal.ITIMER_REAL, HANG)
    began = time.thread_time()
    target.check(item)
    took = time.thread_time() - began
    signal.setitimer(signal.ITIMER_REAL, 0)
    return took


def traced(target: Target, item: Any) -> int:
    """Check one input; the peak of the memory it took, in bytes."""
    tracemalloc.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, HANG)
        target.check(item)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def verdict(target: Target, item: Any, memory: bool = True) -> tuple[str, float, int]:
    """Why an input fails ("" when it does not), its CPU seconds, and its traced bytes."""
    peak = 0
    try:
        took = timed(target, item)
        if took > target.limit:
            took = min(took, timed(target, item), timed(target, item))
        if took > target.limit:
            raise Slow(f"more than {target.limit * 1000:.0f} ms")
        if memory and (peak := traced(target, item)) > MEMORY:
            raise Hungry(f"more than {MEMORY >> 20} MB")
    except Exception as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return f"{type(error).__name__}: {error}", 0.0, peak
    return "", took, peak


def run(target: Target, inputs: int, seed: int, first: int = 0, stop_at: int = 1) -> Result:
    """Check `inputs` inputs, numbered from `first`; end after `stop_at` failures."""
    target.warm()
    result = Result(target.name)
    began = time.monotonic()
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with watched():
        for number in range(first, first + inputs):
            item = target.make(rng_of(seed, target.name, number))
            memory = number % TRACED == 0 or size(item) > LARGE
            why, took, peak = verdict(target, item, memory)
            result.inputs += 1
            result.peak = max(result.peak, peak)
            if took > result.slowest:
                result.slowest, result.slowest_number = took, number
            if why:
                small = minimise(target, item, why)
                result.failures.append(Failure(target.name, seed, number, why, item, small))
                if len(result.failures) >= stop_at:
                    break
    result.seconds = time.monotonic() - began
    result.grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) * 1024
    return result


def minimise(target: Target, item: Any, why: str) -> Any:
    """The input without what the failure does not need; the kind of the failure stays the same."""
    kind = why.partition(":")[0]
    budget = [20 if kind == "Slow" else SHRINKS]

    def fails(candidate: Any) -> bool:
        budget[0] -= 1
        return budget[0] >= 0 and verdict(target, candidate)[0].partition(":")[0] == kind

    changed = True
    while changed and budget[0] > 0:
        changed = False
        for candidate in smaller(item):
            if fails(candidate):
                item, changed = candidate, True
                break
    return item


def smaller(item: Any) -> Iterator[Any]:
    """Simpler inputs of the same shape, the boldest first."""
    if isinstance(item, (bytes, str, list)):
        step = max(1, len(item) // 2)
        while item:
            for start in range(0, len(item), step):
                yield item[:start] + item[start + step :]
            if step == 1:
                break
            step //= 2
    elif isinstance(item, tuple):
        for place, part in enumerate(item):
            for simpler in smaller(part):
                yield (*item[:place], simpler, *item[place + 1 :])
