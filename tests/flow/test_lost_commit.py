"""A COMMIT that is there although the disk was said to have lost it is worked on when the store goes on."""

import pytest
from desk import config
from reloading import make_desk  # noqa: F401

from engine.errors import StoreError
from engine.states import Result
from engine.store import operate

LOST = StoreError("the disk reports an error", code="store.io")


class Disk:
    """Says of the next COMMITs that they are lost, and then that all is well."""

    def __init__(self, desk):
        self.desk, self.broken = desk, False
        desk.engine.writer._witness = lambda: LOST if self.broken else None

    def lose(self, act):
        self.broken = True
        made = act()
        self.desk.settle()
        assert self.desk.engine.writer.state == "failed"
        self.broken = False
        return made

    def recover(self):
        self.desk.reactor.advance(1)
        while self.desk.engine.writer.state != "open":
            self.desk.reactor.run_handed(wait=True)
        self.desk.settle()
        self.desk.advance(1)


@pytest.fixture
def world(make):
    desk, to = make(config(flight=1))
    return desk, to["out"], Disk(desk)


def test_a_message_that_is_there_is_routed_when_it_is_sent_again(world):
    desk, out, disk = world
    sent = disk.lose(lambda: desk.receive("a1", "A"))
    assert b"\rMSA|AR|" in sent.answers[0] and b"207" in sent.answers[0]
    disk.recover()
    desk.send(("a1", "A"), ("a2", "A"))
    assert out.effects == ["a1", "a2"] and desk.open() == {"adt": 0}


def test_what_was_routed_is_delivered(world):
    desk, out, disk = world
    sent = desk.receive("a1", "A")
    while not sent.answers:
        desk.reactor.run_handed(wait=desk.engine.writer._committing is not None) or desk.reactor.advance(0)
    disk.lose(lambda: None)
    assert desk.states() == {"a1": "QUEUED"} and out.effects == []
    disk.recover()
    desk.send(("a2", "A"))
    assert out.effects == ["a1", "a2"] and desk.open() == {"adt": 0}


def test_what_was_delivered_is_not_delivered_again(world):
    desk, out, disk = world
    out.auto = None
    desk.send(("a1", "A"))
    desk.send(("a2", "A"))
    disk.lose(lambda: out.answer(Result.SENT))
    out.auto = lambda delivery: Result.SENT
    disk.recover()
    assert out.effects == ["a1", "a2"] and desk.open() == {"adt": 0}


def test_a_resend_reaches_its_lane(world):
    desk, out, disk = world
    out.auto = lambda delivery: Result.PERMANENT
    desk.send(("a1", "A"), ("a2", "A"))
    out.auto = lambda delivery: Result.SENT
    disk.lose(lambda: desk.engine.writer.submit(lambda tx: operate.resend(tx, [desk.id_of("a1")], "test")))
    disk.recover()
    assert out.effects == ["a1", "a2"]


def test_a_router_rests_while_the_store_takes_nothing(world):
    desk, out, disk = world
    disk.lose(lambda: desk.receive("a1", "A"))
    router, reads = desk.engine.channels["adt"].router, []
    read = router.read

    def counted(after, limit):
        reads.append(after)
        assert len(reads) < 20
        return read(after, limit)

    router.read = counted
    disk.broken = True
    router.read_again(1)
    desk.advance(1)
    assert len(reads) == 1
    disk.broken = False
    disk.recover()
    assert out.effects == ["a1"]
