"""Jobs: every message once, at their rate, until they are paused or cancelled; over the death of whoever runs them."""

import pytest
from store_bench import Bench
from twisted.internet.testing import Clock

from channels.jobs import EVERY, JobRunner
from engine.errors import StoreError
from engine.store import jobs
from engine.store.bodies import body_id
from engine.store.search import find


class Runner:
    """A runner on a clock, and what it told the lanes."""

    def __init__(self, bench):
        self.bench, self.clock, self.told = bench, Clock(), []
        self.runner = JobRunner(
            bench.writer, bench.reader, self.clock, lambda verb, changed: self.told.extend(changed)
        )

    def run(self, seconds, every=EVERY):
        for _ in range(round(seconds / every)):
            self.runner.poll()
            self.clock.advance(every)


@pytest.fixture
def stored(bench):
    bench.ids = [bench.receive(b"%d" % n, channel="gone").id for n in range(250)]
    for number in bench.ids:
        bench.route(number, "odoo")
        bench.deliver(number)
    return bench


def submit(bench, verb, ids, **args):
    return jobs.submit(bench.writer.call, "anna", verb, ids, **args)


def replays(bench):
    """How many replays each message has."""
    return dict(
        bench.reader.rows("SELECT parent_id, count(*) FROM message WHERE parent_id IS NOT NULL GROUP BY 1")
    )


def job(bench, number):
    return jobs.get(bench.reader, number)


@pytest.mark.parametrize("verb", ["replay", "resend", "discard"])
def test_a_job_acts_on_every_message_once_and_tells_the_lanes(stored, verb):
    if verb == "discard":
        submit(stored, "resend", stored.ids)
        Runner(stored).run(2)
    number = submit(stored, verb, [*stored.ids, stored.ids[0]], note="why" if verb == "discard" else "")
    runner = Runner(stored)
    runner.run(2)
    found = job(stored, number)
    assert (found.state, found.total, found.done, found.changed, found.failed) == ("done", 250, 250, 250, 0)
    assert found.finished_at and found.actor == "anna" and found.over
    assert [one[0] for one in runner.told] == stored.ids
    assert stored.reader.rows("SELECT count(*) FROM job_item") == [(0,)]
    if verb == "replay":
        assert replays(stored) == dict.fromkeys(stored.ids, 1)
    assert jobs.unfinished(stored.reader) == []


@pytest.mark.parametrize(("rate", "seconds"), [(50, 5), (5, 50), (0.5, 500), (1000, 0.25)])
def test_a_rate_is_kept(stored, rate, seconds):
    number = submit(stored, "replay", stored.ids, rate=rate)
    runner = Runner(stored)
    batch = max(1, int(rate * EVERY))
    elapsed, step = 0.0, batch / rate / 4
    while not job(stored, number).over and elapsed < seconds * 2:
        runner.runner.poll()
        runner.clock.advance(step)
        elapsed += step
        assert job(stored, number).done <= rate * elapsed + batch
    assert job(stored, number).state == "done"
    assert elapsed >= (250 - batch) / rate - step
    assert elapsed <= seconds * 1.3 + 1  # each batch may be late by one look at the clock


def test_pause_resume_and_cancel_hold_from_the_next_batch_on(stored):
    number = submit(stored, "replay", stored.ids, rate=50)
    runner = Runner(stored)
    runner.run(1)
    assert stored.call(jobs.move, number, "pause", "ben")
    done = job(stored, number).done
    assert 0 < done < 250
    runner.run(3)
    assert (job(stored, number).done, job(stored, number).state) == (done, "paused")
    assert not stored.call(jobs.move, number, "pause", "ben"), "it rests already"
    assert stored.call(jobs.move, number, "resume", "ben")
    runner.run(1)
    assert done < job(stored, number).done < 250
    assert stored.call(jobs.move, number, "cancel", "ben")
    cancelled = job(stored, number).done
    runner.run(3)
    assert (job(stored, number).done, job(stored, number).state) == (cancelled, "cancelled")
    assert replays(stored) == dict.fromkeys(stored.ids[:cancelled], 1)
    assert not stored.call(jobs.move, number, "resume", "ben")
    assert stored.reader.rows("SELECT count(*) FROM job_item") == [(0,)]
    told = stored.reader.rows("SELECT actor, detail FROM event WHERE kind = 'job' ORDER BY id")
    assert told == [("ben", f"job {number}: {act}") for act in ("pause", "resume", "cancel")]


def test_a_paused_job_rests_and_a_running_one_goes_on_with_the_next_engine(stored, folder):
    running = submit(stored, "replay", stored.ids, rate=50)
    paused = submit(stored, "resend", stored.ids)
    stored.call(jobs.move, paused, "pause", "ben")
    first = Runner(stored)
    first.run(1)
    first.runner.stop()
    first.run(5)
    assert job(stored, running).done < 100
    stored.store.close()
    again = Bench(folder)
    try:
        Runner(again).run(10)
        assert (job(again, running).state, job(again, paused).state) == ("done", "paused")
        assert job(again, paused).done == 0
        assert replays(again) == dict.fromkeys(stored.ids, 1)
    finally:
        again.store.close()


def test_jobs_run_beside_each_other(stored):
    slow = submit(stored, "replay", stored.ids, rate=5)
    quick = submit(stored, "resend", stored.ids)
    Runner(stored).run(2)
    assert (job(stored, slow).state, job(stored, quick).state) == ("running", "done")


@pytest.mark.parametrize("how", ["engine", "drain"])
def test_a_message_that_cannot_be_read_fails_alone(stored, how):
    broken = stored.ids[120]
    stored.call(lambda tx: tx.execute("UPDATE body SET data = x'00' WHERE id = ?", (body_id(broken, 0),)))
    number = submit(stored, "replay", stored.ids)
    if how == "engine":
        Runner(stored).run(30)
    else:
        jobs.drain(stored.writer.call, number, jobs.BATCH["replay"])
    found = job(stored, number)
    assert (found.state, found.done, found.changed, found.failed) == ("done", 250, 249, 1)
    assert replays(stored) == dict.fromkeys((one for one in stored.ids if one != broken), 1)


def test_what_is_not_kept_is_left_out(stored):
    stored.call(lambda tx: tx.execute("DELETE FROM body WHERE id = ?", (body_id(stored.ids[0], 0),)))
    number = submit(stored, "replay", stored.ids[:10])
    jobs.drain(stored.writer.call, number, 100)
    assert (job(stored, number).done, job(stored, number).changed, job(stored, number).failed) == (10, 9, 0)


def test_a_job_that_is_still_being_filled_does_not_run(stored):
    number = stored.call(jobs.begin, "anna", "replay", {})
    stored.call(jobs.fill, number, stored.ids)
    Runner(stored).run(2)
    assert (job(stored, number).state, job(stored, number).done) == ("filling", 0)
    assert stored.call(jobs.move, number, "cancel", "ben")


def test_jobs_that_cannot_be(stored):
    with pytest.raises(StoreError) as caught:
        submit(stored, "delete", stored.ids)
    assert caught.value.code == "job.verb"
    empty = submit(stored, "replay", [])
    Runner(stored).run(1)
    assert (job(stored, empty).state, job(stored, empty).done) == ("done", 0)
    absent = submit(stored, "replay", [10**9])
    Runner(stored).run(1)
    assert (job(stored, absent).done, job(stored, absent).changed) == (1, 0)
    assert job(stored, 99) is None
    assert not stored.call(jobs.move, 99, "cancel", "ben")
    assert [one.id for one in jobs.newest(stored.reader)] == [absent, empty]
    assert len(find(stored.reader, limit=1000)) == 250
