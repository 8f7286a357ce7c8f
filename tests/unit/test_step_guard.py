"""The budget of a message is its own: ticks of one timer for many messages, and none counts between two."""

import signal
import sys

import pytest

from channels.guard import TICK, Guard
from engine.errors import StepTimeout


@pytest.fixture
def guard():
    before = signal.getsignal(signal.SIGALRM)
    made = Guard(seconds=3 * TICK)
    made.install()
    assert made.active
    yield made
    signal.signal(signal.SIGALRM, before)


def tick(guard, times=1):
    for _ in range(times):
        guard._tick(signal.SIGALRM, None)


def test_every_message_has_the_whole_budget_and_at_most_one_tick_more(guard):
    for _ in range(3):
        guard.arm()
        tick(guard, 3)
        guard.disarm()
        tick(guard, 10)  # between two messages: nobody's
    guard.arm()
    tick(guard, 3)
    with pytest.raises(StepTimeout):
        tick(guard)
    with pytest.raises(StepTimeout):  # a step that swallowed the first
        tick(guard)
    guard.disarm()
    tick(guard)


def test_the_timer_runs_within_a_slice_only(guard):
    with guard.bounded():
        assert signal.getitimer(signal.ITIMER_REAL)[1] == pytest.approx(TICK, rel=0.1)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_a_loop_ends_and_leaves_no_timer_and_no_armed_message(guard):
    with pytest.raises(StepTimeout), guard.bounded():
        guard.arm()
        while True:
            pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    tick(guard, 10)


def test_ticks_at_every_call_while_the_bounds_are_taken_down_leave_nothing_behind(guard):
    """CPython looks at signals when a function begins: this is each place where a late tick can come."""

    def come(frame, event, _):
        if event == "call":
            guard._tick(signal.SIGALRM, frame)

    try:
        with guard.bounded():
            guard.arm()
            tick(guard, 3)
            sys.setprofile(come)
        sys.setprofile(None)
        guard.arm()
        tick(guard, 3)
        sys.setprofile(come)
        guard.disarm()
    finally:
        sys.setprofile(None)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    tick(guard, 10)
