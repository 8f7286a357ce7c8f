"""A job on many messages beside a busy sender: it takes small steps with pauses, and goes on fast when it is quiet."""

from __future__ import annotations

from channels.jobs import BUSY, LOOK
from engine.store import jobs


def test_who_sends_comes_first_and_the_job_goes_on_fast_when_it_is_quiet(make):
    desk, out = make()
    names = [f"m{n}" for n in range(300)]
    desk.send(*((name, f"P{n % 50}") for n, name in enumerate(names)))
    ids = [desk.id_of(name) for name in names]
    made, new = [], []

    def look():
        return jobs.get(desk.engine.store.reader, made[0])

    def busy(seconds):
        """Twice as many as are a lot."""
        for _ in range(round(seconds * 100)):
            for _ in range(int(2 * BUSY / 100)):
                desk.receive(f"x{len(new)}", f"P{len(new) % 50}")
                new.append(len(new))
            desk.advance(0.01)

    busy(0.5)
    desk.engine.writer.run(lambda tx: jobs.submit(lambda work: work(tx), "test", "replay", ids)).addCallback(
        made.append
    )
    busy(0.5)
    begun = look().done
    busy(0.5)
    assert 10 <= look().done - begun <= 60 and not look().over, "a message at a time"
    for _ in range(12):
        desk.advance(LOOK / 5)  # it must notice
    before = look().done
    for _ in range(25):
        desk.advance(0.01)  # nobody sends
    assert look().done - before >= 50 or look().over
    while not look().over:
        desk.advance(0.05)
    assert look().changed == 300
    assert sorted(out.effects) == sorted([*names, *names, *(f"x{n}" for n in new)])
