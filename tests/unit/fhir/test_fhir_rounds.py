"""Rounds on a FHIR server: one at a time, at growing pauses, however long it is away."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from engine.fhirserver.rounds import Rounds, growing


class Work:
    """Rounds of something that ends when the test says so."""

    def __init__(self):
        self.clock, self.begun, self.waiting, self.ended = Clock(), [], None, []
        self.rounds = Rounds(self.clock, self.one, self.pause)

    async def one(self):
        self.begun.append(self.clock.seconds())
        self.waiting = Deferred()
        await self.waiting

    def pause(self, error, failures):
        self.ended.append((type(error), failures))
        return 100.0 if error is None else growing(1.0, failures, 60.0)

    def end(self, error=None):
        waiting, self.waiting = self.waiting, None
        waiting.callback(None) if error is None else waiting.errback(error)


def test_who_hurries_while_a_round_is_under_way_gets_one_more():
    work = Work()
    work.rounds.start()
    work.clock.advance(0)
    for _ in range(3):
        work.rounds.soon(0)
    work.clock.advance(50)
    assert work.begun == [0.0]
    work.end()
    work.clock.advance(0)
    assert work.begun == [0.0, 50.0]
    work.end()
    work.clock.advance(99)
    assert len(work.begun) == 2
    work.clock.advance(1)
    assert work.begun == [0.0, 50.0, 150.0]


def test_stopped_and_started_while_a_round_is_under_way_it_is_still_one_at_a_time():
    work = Work()
    work.rounds.start()
    work.clock.advance(0)
    work.rounds.stop()
    work.rounds.start()
    work.clock.advance(10)
    assert work.begun == [0.0]
    work.end()
    work.clock.advance(0)
    assert work.begun == [0.0, 10.0]
    work.rounds.stop()
    work.end()
    work.clock.advance(1000)
    assert work.begun == [0.0, 10.0] and work.clock.getDelayedCalls() == []


def test_an_outage_of_days_ends_nothing():
    """A power of two with more than 1,023 in it is no float any more."""
    work = Work()
    work.rounds.start()
    for _ in range(1500):
        work.clock.advance(60)
        work.end(OSError("down"))
    assert work.ended[-1] == (OSError, 1500) and len(work.begun) == 1500
    assert work.begun[-1] - work.begun[-2] == 60.0
    work.clock.advance(60)
    work.end()
    assert work.ended[-1] == (type(None), 0)
