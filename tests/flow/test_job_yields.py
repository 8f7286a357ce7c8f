"""A job on many messages beside others: who sends and what waits for delivery come first, and it never stands still.

The desk's clock stands still while a step is taken; where it must not, `slow` lets each take its time of that clock.
"""

from __future__ import annotations

import pytest

from channels import jobs as running
from channels.deliver import CROWD
from channels.jobs import BUSY, CALM, FLOOR, LOOK, SHARE, YIELD, JobRunner
from engine.states import Result
from engine.store import jobs

STORED = 400
TICK = 0.01  # seconds


class Replay:
    """A desk with `STORED` messages that were sent, and the job that replays them."""

    def __init__(self, desk, out, **args):
        self.desk, self.out, self.args = desk, out, args
        self.names = [f"m{n}" for n in range(STORED)]
        desk.send(*((name, f"P{n}") for n, name in enumerate(self.names)))
        self.new = []

    def begin(self):
        ids = [self.desk.id_of(name) for name in self.names]

        def make(tx):
            return jobs.submit(lambda work: work(tx), "test", "replay", ids, **self.args)

        made = []
        self.desk.engine.writer.run(make).addCallback(made.append)
        self.desk.settle()
        (self.id,) = made

    @property
    def done(self):
        return self.look().done

    def look(self):
        return jobs.get(self.desk.engine.store.reader, self.id)

    def pass_(self, seconds, per_s=0.0):
        """Time goes by, with so many messages a second from outside; gives how many more were replayed."""
        before = self.done if hasattr(self, "id") else 0
        until, due = self.desk.reactor.seconds() + seconds, 0.0
        while self.desk.reactor.seconds() < until:
            due += per_s * TICK
            while due >= 1:
                due -= 1
                self.desk.receive(f"x{len(self.new)}", f"P{len(self.new) % STORED}")
                self.new.append(f"x{len(self.new)}")
            self.desk.advance(TICK)
        return self.done - before if hasattr(self, "id") else 0

    def finish(self):
        """Nobody sends, everything is answered: it ends, and every message was delivered as often as it must be."""
        self.out.auto = lambda delivery: Result.SENT
        while self.out.calls:
            self.out.answer(Result.SENT)
        while not self.look().over:
            self.pass_(0.1)
        self.pass_(70)  # whatever waits to be tried again
        assert self.look().changed == STORED
        assert sorted(self.out.effects) == sorted([*self.names, *self.names, *self.new])


@pytest.fixture
def slow(monkeypatch):
    """`slow(desk, seconds)`: from now on each step of a job takes so long; gives the times of them."""

    def be(desk, seconds):
        times, step = [], jobs.step

        def stepped(*given, **named):
            times.append(desk.reactor.seconds())
            desk.reactor.rightNow += seconds
            return step(*given, **named)

        monkeypatch.setattr(jobs, "step", stepped)
        return times

    return be


def test_who_sends_comes_first_and_it_goes_on_fast_when_that_is_over(make):
    replay = Replay(*make())
    replay.pass_(0.5, per_s=2 * BUSY)
    replay.begin()
    assert replay.pass_(1, per_s=2 * BUSY) <= 1 / YIELD + 1, "a message at a time, apart from each other"
    assert not replay.look().over
    assert replay.pass_(CALM - 4 * LOOK) <= 1 / YIELD, "who sent no more for a moment was perhaps held up"
    assert replay.pass_(6 * LOOK) > 250, "whole batches"
    replay.finish()


def test_it_notices_at_once_that_somebody_sends(make):
    replay = Replay(*make())
    replay.pass_(0.3)
    replay.begin()
    while not replay.done:
        replay.pass_(TICK)
    assert replay.pass_(0.05) > 100, "whole batches"
    replay.pass_(TICK, per_s=(BUSY * LOOK + 2) / TICK)
    assert replay.pass_(0.05) <= 0.05 / YIELD + 1
    replay.finish()


@pytest.mark.parametrize("args", [{}, {"rate": 1000}])
def test_it_takes_a_small_share_of_the_time_while_others_send(make, slow, args):
    desk, out = make()
    replay = Replay(desk, out, **args)
    replay.pass_(0.5, per_s=2 * BUSY)
    took = 0.003
    times = slow(desk, took)
    replay.begin()
    replay.pass_(0.5, per_s=2 * BUSY)
    times.clear()
    done = replay.pass_(4, per_s=2 * BUSY)
    assert done == len(times), "a message at a time"
    assert len(times) * took <= SHARE * 4 + took
    assert done >= 4 / (took / SHARE + 2 * TICK) - 1, "no less than its share"
    replay.finish()


def test_jobs_share_the_share(make, slow):
    desk, out = make()
    first, second = Replay(desk, out), None
    first.pass_(0.5, per_s=2 * BUSY)
    times = slow(desk, 0.001)
    first.begin()
    number, second = first.id, first
    second.begin()
    first.pass_(0.5, per_s=2 * BUSY)
    times.clear()
    first.pass_(4, per_s=2 * BUSY)
    assert len(times) * 0.001 <= SHARE * 4 + 0.002
    for one in (number, second.id):
        found = jobs.get(desk.engine.store.reader, one)
        assert found.done >= 15, "none of them waits for the other"


def test_it_goes_on_however_long_a_message_takes_and_however_many_are_sent(make, slow):
    desk, out = make()
    replay = Replay(desk, out)
    replay.pass_(0.5, per_s=10 * BUSY)
    slow(desk, 0.05)
    replay.begin()
    replay.pass_(0.5, per_s=10 * BUSY)
    assert 12 <= replay.pass_(4, per_s=10 * BUSY) <= 4 * FLOOR
    replay.finish()


def test_no_more_is_replayed_than_destinations_take_and_what_comes_meanwhile_waits_for_little(make):
    desk, out = make(batch=100, flight=1)
    replay = Replay(desk, out)
    out.auto = None  # it does not answer for now
    replay.begin()
    replay.pass_(1)
    ahead = 100 + CROWD + jobs.BATCH["replay"]  # under way, waiting, and the last batch
    assert CROWD < replay.done <= ahead + FLOOR
    assert 0 < replay.pass_(4) <= 4 * FLOOR + 1, "it goes on a little all the same"
    desk.send(("now", "P-other"))
    replay.new.append("now")
    batches = 0
    while "now" not in out.asked():
        out.answer(Result.SENT)
        desk.settle()
        batches += 1
    assert batches <= 3
    assert FLOOR + 1 < replay.pass_(1) <= ahead, "as much more as it has taken"
    replay.finish()


@pytest.mark.parametrize("how", ["down", "paused"])
def test_what_is_not_delivered_now_is_no_reason_to_wait(make, how):
    desk, out = make(batch=100, flight=1)
    replay = Replay(desk, out)
    if how == "down":
        out.auto = lambda delivery: Result.RETRY
        desk.send(*((f"d{n}", "P-down") for n in range(3)))
        replay.new += [f"d{n}" for n in range(3)]
        replay.pass_(10)
    else:
        desk.channel("pause")
    replay.begin()
    replay.pass_(2)
    assert replay.look().over
    if how == "paused":
        desk.channel("resume")
    replay.finish()


def test_discarding_makes_no_work_and_waits_for_no_delivery():
    runner = JobRunner(None, None, None, None, crowded=lambda channels: True)
    stands = {
        verb: runner._stands_in_line(jobs.Job(1, 0, "a", verb, {}, "running", 1, 0, 0, 0, None))
        for verb in jobs.BATCH
    }
    assert stands == {"replay": True, "resend": True, "discard": False}


def test_a_step_beside_others_is_one_message_replayed():
    for verb, whole in jobs.BATCH.items():
        job = jobs.Job(1, 0, "a", verb, {}, "running", 1, 0, 0, 0, None)
        assert (running.portion(job), running.portion(job, True)) == (whole, whole // jobs.BATCH["replay"])
