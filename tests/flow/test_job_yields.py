"""A job on many messages beside a busy sender: it takes small steps with pauses, and goes on fast when it is quiet."""

from __future__ import annotations

from itertools import pairwise

from channels.jobs import BUSY, YIELD
from engine.store import jobs


def test_who_sends_comes_first_and_the_job_goes_on_fast_when_it_is_quiet(make):
    desk, out = make()
    names = [f"m{n}" for n in range(300)]
    desk.send(*((name, f"P{n % 50}") for n, name in enumerate(names)))
    ids = [desk.id_of(name) for name in names]
    made = []
    desk.engine.writer.run(lambda tx: jobs.submit(lambda work: work(tx), "test", "replay", ids)).addCallback(
        made.append
    )
    desk.settle()
    new, progress = 0, []

    def look():
        return jobs.get(desk.engine.store.reader, made[0])

    for _ in range(10):  # twice as many as are a lot
        for _ in range(int(2 * BUSY * YIELD)):
            desk.receive(f"x{new}", f"P{new % 50}")
            new += 1
        desk.advance(YIELD)
        progress.append(look().done)
    steps = [after - before for before, after in pairwise(progress[5:])]
    assert steps and all(0 < step <= 20 for step in steps), progress
    assert not look().over
    desk.advance(YIELD * 2)
    before = look().done
    desk.advance(0.25)  # nobody sends
    assert look().done - before >= 50 or look().over
    while not look().over:
        desk.advance(0.05)
    assert look().changed == 300
    assert sorted(out.effects) == sorted([*names, *names, *(f"x{n}" for n in range(new))])
