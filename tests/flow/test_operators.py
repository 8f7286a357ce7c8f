"""What operators do to the whole engine: discard, resend, replay, pause, stop; counts stay exact."""

from __future__ import annotations

import pytest
from desk import config

import channels.backlog
import channels.route
from engine.states import Result


@pytest.mark.parametrize("behind", [False, True])
def test_discarding_what_waits(make, behind):
    desk, out = make()
    out.auto = None
    desk.send(("a1", "A"), ("a2", "A"), ("a3", "A"))
    if behind:
        desk.crash()
    desk.act("discard", "a2", note="by hand")
    out.answer(Result.SENT)
    desk.settle()
    assert out.waiting() == [["a3"]]
    assert desk.rows("SELECT note FROM delivery WHERE state = 'DISCARDED'") == [("by hand",)]
    assert desk.open() == {"adt": 1}


@pytest.mark.parametrize("verb", ["discard", "replay"])
def test_an_error_that_is_not_in_memory_was_not_open(make, monkeypatch, verb):
    desk, out = make()
    out.auto = lambda delivery: Result.PERMANENT if delivery.payload == b"c1" else Result.RETRY
    desk.send(("a1", "A"), ("b1", "B"), ("c1", "C"))
    assert desk.states()["c1"] == "ERROR"
    monkeypatch.setattr(channels.backlog, "WINDOW", 1)
    monkeypatch.setattr(channels.backlog, "CHUNK", 1)
    out.auto = None
    desk.crash()
    desk.act(verb, "c1")
    assert desk.states()["c1"] == "DISCARDED"
    assert desk.open() == {"adt": 2 if verb == "discard" else 3}


@pytest.mark.parametrize("ended", [Result.SENT, Result.RETRY, Result.PERMANENT, Result.CONFIG])
def test_what_is_on_its_way_is_decided_by_who_commits_first(make, ended):
    desk, out = make()
    out.auto = None
    desk.send(("a1", "A"), ("a2", "A"))
    desk.act("discard", "a1")
    assert out.waiting() == [["a1"]], "the next one waits until the first has come back"
    out.answer(ended)
    desk.settle()
    desk.advance(61)
    assert desk.states()["a1"] == "DISCARDED"
    assert out.waiting() == [["a2"]]
    assert desk.open() == {"adt": 1}


def test_discarded_on_its_way_and_sent_again(make):
    desk, out = make()
    out.auto = None
    desk.send(("a1", "A"))
    desk.act("discard", "a1")
    desk.act("resend", "a1")
    assert desk.open() == {"adt": 1}
    out.answer(Result.SENT)
    desk.settle()
    assert desk.states() == {"a1": "SENT"}
    assert desk.open() == {"adt": 0}


def test_resending_what_was_sent_goes_to_the_end(make):
    desk, out = make()
    desk.send(("a1", "A"), ("a2", "A"))
    out.auto = None
    desk.send(("a3", "A"), ("a4", "A"))
    desk.act("resend", "a1")
    assert desk.open() == {"adt": 3}
    while out.calls:
        out.answer(Result.SENT)
        desk.settle()
    assert out.effects == ["a1", "a2", "a3", "a4", "a1"]
    assert desk.open() == {"adt": 0}


def test_a_replay_is_a_new_message_through_the_channel_of_today(make):
    desk, out = make()
    desk.send(("a1", "A"), ("b1", "B"))
    job = desk.act("replay", "a1", "b1")
    assert (job.total, job.done, job.changed, job.failed) == (2, 2, 2, 0)
    assert desk.states() == dict.fromkeys(("a1", "b1", "a1*", "b1*"), "SENT")
    assert out.effects == ["a1", "b1", "a1", "b1"]
    assert desk.open() == {"adt": 0}


def test_a_thousand_replays_among_new_messages(make, monkeypatch):
    """More than memory holds, and new messages between them: every one is routed and delivered once."""
    monkeypatch.setattr(channels.route, "WINDOW", 50)
    monkeypatch.setattr(channels.backlog, "WINDOW", 50)
    monkeypatch.setattr(channels.backlog, "CHUNK", 20)
    desk, out = make()
    names = [f"m{n}" for n in range(1000)]
    desk.send(*((name, f"P{n % 50}") for n, name in enumerate(names)))
    out.effects.clear()
    new = []

    def interfere(batch):
        if len(new) < 200:
            new.append(f"x{len(new)}")
            desk.receive(new[-1], f"P{len(new) % 50}")

    out.watch = interfere
    desk.act("replay", *names)
    desk.settle()
    assert sorted(out.effects) == sorted(names + new)
    assert desk.rows("SELECT count(*) FROM message WHERE state = 'RECEIVED'") == [(0,)]
    for patient in range(50):
        mine = [one for one in out.effects if one in set(names[patient::50])]
        assert mine == names[patient::50]
    assert desk.open() == {"adt": 0}


def test_paused_it_receives_and_delivers_nothing(make):
    desk, out = make()
    desk.channel("pause")
    desk.send(("a1", "A"))
    desk.advance(100)
    assert out.sent == []
    desk.channel("resume")
    assert out.effects == ["a1"]


def test_stopped_and_started_and_started_again(make):
    desk, out = make()
    port = desk.engine.channels["adt"].where
    for act, state in (("stop", "stopped"), ("start", "started"), ("start", "started")):
        assert desk.channel(act) == state
    assert desk.engine.channels["adt"].where == port
    desk.channel("pause")
    assert desk.channel("start") == "started", "start ends a pause too"
    desk.send(("a1", "A"))
    assert out.effects == ["a1"]


def test_back_pressure_refuses_honestly_and_ends(make):
    desk, out = make(config().replace("    lanes:", "    backlog: {pause: 1000, refuse: 5}\n    lanes:"))
    out.auto = None
    desk.send(*((f"m{n}", f"P{n}") for n in range(5)))
    over = desk.receive("m5", "P5")
    desk.settle()
    assert b"\rMSA|AR|m5|" in over.answers[0] and b"|207^" in over.answers[0]
    out.auto = lambda delivery: Result.SENT
    while out.calls:
        out.answer(Result.SENT)
    desk.settle()
    desk.send(("m5", "P5"))
    assert sorted(out.effects) == [f"m{n}" for n in range(6)]
