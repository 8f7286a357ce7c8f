"""A short run of every target; the long one is `python -m tests.fuzz`."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from .runner import MEMORY, Target, minimise, run, verdict
from .targets import TARGETS

SEED = 20261122
SHORT = {"config": 60, "sandbox": 150, "pipeline": 150, "expressions": 250, "canonical": 300}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_breaks_a_promise(target: Target) -> None:
    result = run(target, SHORT.get(target.name, 1_200), SEED)
    assert not result.failures, [(one.number, one.why, one.small) for one in result.failures]
    assert result.peak < MEMORY


def test_a_failing_input_is_found_and_made_smaller() -> None:
    def check(item: Any) -> None:
        assert b"x" not in item[0] or item[1] < 3, "broken"

    target = Target("made-up", lambda rng: (rng.randbytes(200), rng.randrange(5)), check)
    result = run(target, 500, 1)
    (failure,) = result.failures
    assert failure.small[0] == b"x" and failure.small[1] >= 3
    assert result.inputs == failure.number + 1
    assert run(target, 1, 1, first=failure.number).failures[0].found == failure.found


def test_what_is_slow_or_hungry_fails() -> None:
    def spin(item: int) -> None:
        sum(range(item))

    def eat(item: int) -> None:
        bytearray(item)

    assert verdict(Target("spin", Random.random, spin, limit=0.005), 5_000_000)[0].startswith("Slow")
    assert verdict(Target("eat", Random.random, eat), MEMORY + 1)[0].startswith("Hungry")
    assert minimise(Target("eat", Random.random, eat), b"", "Slow: x") == b""
