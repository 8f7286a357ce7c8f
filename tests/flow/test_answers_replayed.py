"""A late answer is true of what took the place of the message, too: a replay, an edited copy."""

from desk import config
from reloading import make_desk, reload  # noqa: F401

from engine.states import Result

DELIVERED = config() + "    ack: delivered\n"


def code(sent):
    return sent.answers[0].partition(b"\rMSA|")[2][:2] if sent.answers else None


def test_who_waits_is_told_when_the_replay_is_delivered(make):
    desk, to = make(DELIVERED)
    to["out"].auto = lambda delivery: Result.RETRY
    sent = desk.receive("a1", "A")
    desk.settle()
    desk.act("replay", "a1")
    assert desk.states() == {"a1": "DISCARDED", "a1*": "QUEUED"} and code(sent) is None
    to["out"].auto = lambda delivery: Result.SENT
    desk.advance(20)
    assert to["out"].effects == ["a1"] and code(sent) == b"AA"


def test_a_repeated_message_is_not_told_delivered_while_its_replay_is_not(make):
    desk, to = make(DELIVERED)
    to["out"].auto = lambda delivery: Result.PERMANENT
    first = desk.receive("a1", "A")
    desk.settle()
    desk.act("replay", "a1")
    again = desk.receive("a1", "A")
    desk.settle()
    assert [code(first), code(again)] == [b"AE", b"AE"]
    assert desk.states() == {"a1": "DISCARDED", "a1*": "ERROR"}


def test_a_repeated_message_whose_replay_went_well_is_told_so(make):
    wrong = DELIVERED + "    filters: [{condition: \"1 / (msg['MSH-10'] == 'x')\"}]\n"
    desk, _ = make(wrong)
    first = desk.receive("a1", "A")
    desk.settle()
    assert reload(desk, DELIVERED)["taken"]
    desk.act("replay", "a1")
    again = desk.receive("a1", "A")
    desk.settle()
    assert desk.states() == {"a1": "ERROR", "a1*": "SENT"}
    assert [code(first), code(again)] == [b"AE", b"AA"]
