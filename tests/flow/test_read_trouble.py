"""A store that cannot be read for a moment: everybody is answered, and nothing is left where it was, later."""

import sqlite3

import pytest
from desk import config
from reloading import make_desk, reload  # noqa: F401

import channels.answers
import channels.operate
import channels.wiring
import engine.store.jobs
import engine.store.maintenance
from engine.states import Result

DELIVERED = config(batch=1, flight=1) + "    ack: delivered\n"


def failing(monkeypatch, module, name, times=1):
    """The next reads by this function find a disk that cannot be read."""
    read, left = getattr(module, name), [10] * times

    def broken(*args, **kwargs):
        if left:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = left.pop()
            raise error
        return read(*args, **kwargs)

    monkeypatch.setattr(module, name, broken)
    return left


def test_who_waits_for_a_late_answer_gets_it(make, monkeypatch):
    desk, to = make(DELIVERED)
    to["out"].auto = None
    sent = [desk.receive(name, name) for name in ("a1", "b1", "c1")]
    desk.settle()
    left = failing(monkeypatch, channels.answers, "fates")
    for _ in sent:
        assert to["out"].calls, "the next one goes"
        to["out"].answer(Result.SENT)
        desk.settle()
    assert not left and to["out"].effects == ["a1", "b1", "c1"]
    desk.advance(1)
    assert [b"\rMSA|AA|" in one.answers[0] for one in sent] == [True] * 3


def test_messages_are_delivered_when_who_waits_for_their_routing_cannot_be_told(make, monkeypatch):
    desk, to = make(config() + "    ack: routed\n")
    left = failing(monkeypatch, channels.answers, "fates")
    sent = [desk.receive(name, "A") for name in ("a1", "a2", "a3")]
    desk.settle()
    assert not left and to["out"].effects == ["a1", "a2", "a3"]
    desk.advance(1)
    assert [b"\rMSA|AA|" in one.answers[0] for one in sent] == [True] * 3 and desk.open() == {"adt": 0}


def test_replays_are_routed(make, monkeypatch):
    desk, to = make(config())
    desk.send(("a1", "A"), ("b1", "B"))
    left = failing(monkeypatch, channels.operate, "unrouted_of")
    desk.act("replay", "a1", "b1")
    desk.send(("a2", "A"))
    desk.advance(2)
    assert not left and sorted(to["out"].effects[2:]) == ["a1", "a2", "b1"]
    assert desk.open() == {"adt": 0}


@pytest.mark.parametrize("verb", ["resend", "discard"])
def test_what_operators_decide_reaches_the_lanes(make, monkeypatch, verb):
    desk, to = make(config())
    to["out"].auto = lambda delivery: Result.PERMANENT if delivery.payload == b"a1" else Result.SENT
    desk.send(("a1", "A"), ("a2", "A"))
    to["out"].auto = lambda delivery: Result.SENT
    left = failing(monkeypatch, channels.operate, "keys_of")
    desk.act(verb, "a1")
    desk.advance(2)
    assert not left and to["out"].effects == (["a1", "a2"] if verb == "resend" else ["a2"])
    assert desk.open() == {"adt": 0}


def test_commands_are_looked_for_again(make, monkeypatch):
    desk, _ = make(config())
    left = failing(monkeypatch, engine.store.jobs, "unfinished")
    desk.advance(0.25)
    assert not left and desk.channel("pause") == "paused"


@pytest.mark.parametrize("times", [1, 2])
def test_a_reload_is_taken_up_wholly_or_not_at_all(make, monkeypatch, times):
    desk, to = make(config())
    two = config() + "      more: {scripted: {name: more}}\n"
    desk.path.write_text(two)
    left = failing(monkeypatch, channels.wiring, "unfinished", times)
    for _ in range(times):
        assert not reload(desk)["taken"]
        desk.send((f"a{len(left)}", "A"))
    assert not left and len(to["out"].effects) == times
    assert reload(desk, two)["taken"]
    desk.send(("b1", "B"))
    assert to["out"].effects[-1] == "b1" and to["more"].effects == ["b1"] and desk.open() == {"adt": 0}


def test_upkeep_goes_on(make, monkeypatch):
    desk, _ = make(config())
    left = failing(monkeypatch, engine.store.maintenance, "reencrypting", times=2)
    desk.advance(11)
    desk.advance(7200)
    assert not left
    assert desk.engine.upkeep.status()["retention"]["at"] > "2023-11-14T22:15"
