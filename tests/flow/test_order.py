"""Order, holds, merges, retries and what operators do, in the whole engine with a destination on a leash."""

from __future__ import annotations

import sqlite3
from itertools import pairwise

import pytest
from desk import DESTINATIONS

import channels.backlog
import channels.route
from engine.states import Result


def test_one_patient_in_order_others_pass(make):
    desk, out = make()
    out.auto = None
    desk.send(("a1", "A"), ("a2", "A"), ("b1", "B"), ("a3", "A"))
    assert out.asked() == ["a1", "b1"]
    while out.calls:
        out.answer(Result.SENT)
        desk.settle()
    assert out.effects.index("a1") < out.effects.index("a2") < out.effects.index("a3")
    assert sorted(out.effects) == ["a1", "a2", "a3", "b1"]
    assert desk.open() == {"adt": 0}


def test_messages_without_a_key_wait_for_nobody(make):
    desk, out = make()
    out.auto = None
    desk.send(("n1", ""), ("n2", ""), ("n3", ""))
    assert sorted(out.asked()) == ["n1", "n2", "n3"]


def refuse(*control_ids):
    return lambda delivery: Result.PERMANENT if delivery.payload.decode() in control_ids else Result.SENT


def test_an_error_holds_its_patient_only(make):
    desk, out = make()
    out.auto = refuse("a1")
    desk.send(("a1", "A"), ("a2", "A"), ("b1", "B"), ("b2", "B"))
    assert desk.states() == {"a1": "ERROR", "a2": "QUEUED", "b1": "SENT", "b2": "SENT"}
    assert desk.open() == {"adt": 1}
    desk.crash()
    desk.send(("a3", "A"))
    assert desk.states()["a2"] == desk.states()["a3"] == "QUEUED", "after a restart too"
    out.auto = lambda delivery: Result.SENT
    desk.act("resend", "a1")
    assert set(desk.states().values()) == {"SENT"}
    assert out.effects == ["b1", "b2", "a1", "a2", "a3"]
    assert desk.open() == {"adt": 0}


def test_an_error_holds_its_lane(make):
    desk, out = make(on_error="hold_lane", lanes=1)
    out.auto = refuse("a1")
    desk.send(("a1", "A"), ("b1", "B"), ("n1", ""))
    assert desk.states() == {"a1": "ERROR", "b1": "QUEUED", "n1": "SENT"}
    desk.act("discard", "a1")
    assert desk.states() == {"a1": "DISCARDED", "b1": "SENT", "n1": "SENT"}


def test_an_error_holds_nothing(make):
    desk, out = make(on_error="skip")
    out.auto = refuse("a1")
    desk.send(("a1", "A"), ("a2", "A"))
    assert desk.states() == {"a1": "ERROR", "a2": "SENT"}
    desk.crash()
    desk.send(("a3", "A"))
    assert desk.states() == {"a1": "ERROR", "a2": "SENT", "a3": "SENT"}


def test_a_merge_is_a_barrier_for_both_patients_and_nobody_else(make):
    desk, out = make()
    out.auto = None
    desk.send(("a1", "A"), ("b1", "B"), ("m", "A", "B"), ("a2", "A"), ("b2", "B"), ("c1", "C"))
    assert out.asked() == ["a1", "b1", "c1"]
    out.answer(lambda delivery: Result.SENT)
    desk.settle()
    assert out.asked() == ["m"]
    out.answer(Result.SENT)
    desk.settle()
    assert sorted(out.asked()) == ["a2", "b2"]


def test_a_merge_waits_for_the_slower_patient(make):
    desk, out = make(batch=1)
    out.auto = None
    desk.send(("a1", "A"), ("b1", "B"), ("m", "B", "A"), ("a2", "A"))
    assert out.waiting() == [["a1"], ["b1"]]
    out.answer(Result.SENT)
    desk.settle()
    assert out.waiting() == [["b1"]], "a2 waits for the merge, the merge for b1"
    out.answer(Result.PERMANENT)
    desk.settle()
    assert out.waiting() == []
    desk.crash()
    assert out.waiting() == []
    out.auto = lambda delivery: Result.SENT
    desk.act("discard", "b1")
    assert out.effects == ["a1", "m", "a2"]


def test_a_merge_in_error_holds_both_patients(make):
    desk, out = make()
    out.auto = refuse("m")
    desk.send(("m", "A", "B"), ("a1", "A"), ("b1", "B"), ("c1", "C"))
    assert desk.states() == {"m": "ERROR", "a1": "QUEUED", "b1": "QUEUED", "c1": "SENT"}


def test_waiting_times_grow_and_outlive_a_restart(make):
    desk, out = make()
    out.auto = lambda delivery: Result.RETRY
    desk.send(("a1", "A"))
    times = [desk.now()]
    while len(times) < 8:
        before = len(out.sent)
        while len(out.sent) == before:
            desk.advance(0.25)
        times.append(desk.now())
    waits = [(later - earlier) / 1e6 for earlier, later in pairwise(times)]
    for wait, expected in zip(waits, [1, 2, 4, 8, 16, 32, 60], strict=True):
        assert expected <= wait <= expected + 0.5, waits
    before = len(out.sent)
    desk.crash()
    desk.advance(20)
    assert len(out.sent) == before, "the time of the next attempt is in the store"
    out.auto = lambda delivery: Result.SENT
    desk.advance(45)
    assert out.effects == ["a1"]
    assert desk.rows("SELECT attempts FROM delivery") == [(before + 1,)]


def test_one_that_fails_alone_waits_alone(make):
    desk, out = make()
    out.auto = lambda delivery: Result.RETRY if delivery.payload == b"a1" else Result.SENT
    desk.send(("a1", "A"), ("a2", "A"), ("b1", "B"))
    desk.send(("c1", "C"))
    assert out.effects == ["b1", "c1"]
    out.auto = lambda delivery: Result.SENT
    desk.advance(1.1)
    assert out.effects == ["b1", "c1", "a1", "a2"]


def test_given_up_after_so_many_attempts(make):
    desk, out = make(retry=", attempts: 3")
    out.auto = lambda delivery: Result.RETRY
    desk.send(("a1", "A"))
    for _ in range(10):
        desk.advance(10)
    assert out.sent == ["a1"] * 3
    assert desk.states() == {"a1": "ERROR"}
    assert desk.rows("SELECT attempts, error_code FROM delivery") == [(3, "test.retry")]


def test_a_breaker_opens_probes_and_closes(make):
    desk, out = make(batch=10, flight=1)
    (sender,) = desk.engine.channels["adt"].senders
    out.auto = lambda delivery: Result.RETRY
    desk.send(*((f"m{n}", f"P{n}") for n in range(40)))
    assert sender.status()["state"] == "open"
    asked = len(out.sent)
    assert asked <= 40, "three batches, then silence"
    desk.advance(0.5)
    assert len(out.sent) == asked
    for _ in range(12):
        before = len(out.sent)
        desk.advance(61)
        assert len(out.sent) - before <= 2, "probed, not hammered"
    out.auto = lambda delivery: Result.SENT
    desk.advance(61)
    assert sender.status()["state"] == "closed"
    assert sorted(out.effects) == sorted(f"m{n}" for n in range(40))
    assert desk.open() == {"adt": 0}


def test_a_probe_that_was_discarded_does_not_stop_the_probing(make):
    desk, out = make()
    out.auto = lambda delivery: Result.CONFIG
    desk.send(("a1", "A"))
    (sender,) = desk.engine.channels["adt"].senders
    assert sender.status()["state"] == "held"
    desk.act("discard", "a1")
    desk.advance(120)
    out.auto = lambda delivery: Result.SENT
    desk.send(("b1", "B"))
    desk.advance(120)
    assert out.effects == ["b1"]


def test_a_refusal_of_us_holds_the_destination_and_nothing_becomes_error(make):
    desk, out = make()
    out.auto = lambda delivery: Result.CONFIG
    desk.send(("a1", "A"), ("b1", "B"))
    status = desk.engine.channels["adt"].senders[0].status()
    assert status["state"] == "held" and "test.config" in status["why"]
    for _ in range(5):
        desk.advance(61)
    assert desk.states() == {"a1": "QUEUED", "b1": "QUEUED"}
    out.auto = lambda delivery: Result.SENT
    desk.channel("resume")
    assert sorted(out.effects) == ["a1", "b1"], "an operator need not wait for the probe"


def test_an_unknown_outcome_is_sent_again_unchanged(make):
    desk, out = make()
    seen = []
    out.watch = lambda batch: seen.extend((one.message_id, bytes(one.payload)) for one in batch)
    out.auto = lambda delivery: Result.UNKNOWN
    desk.send(("a1", "A"))
    out.auto = lambda delivery: Result.SENT
    desk.advance(2)
    assert seen[0] == seen[1] and len(seen) == 2
    assert desk.states() == {"a1": "SENT"}


def test_a_destination_that_raises_or_forgets_an_outcome_is_asked_again(make):
    desk, out = make()

    def broken(delivery):
        raise ValueError("a defect")

    out.auto = broken
    desk.send(("a1", "A"))
    assert desk.rows("SELECT state, error_code FROM delivery") == [("QUEUED", "destination.raised")]
    out.auto = None
    desk.advance(2)
    out.calls.pop().done.callback([])
    desk.settle()
    assert desk.rows("SELECT state, error_code FROM delivery") == [("QUEUED", "destination.silent")]
    out.auto = lambda delivery: Result.SENT
    desk.advance(5)
    assert desk.states() == {"a1": "SENT"}
    assert desk.open() == {"adt": 0}


def test_a_damaged_payload_is_an_error_and_others_go_on(make):
    desk, out = make()
    out.auto = None
    desk.send(("x1", "X"), ("a1", "A"), ("a2", "A"), ("b1", "B"))
    damaged = desk.id_of("a1") * 4096 + 16 + 2
    desk.engine.writer.run(lambda tx: tx.execute("UPDATE body SET data = x'00' WHERE id = ?", (damaged,)))
    desk.settle()
    desk.crash()
    assert sorted(out.asked()) == ["b1", "x1"]
    assert desk.states()["a1"] == "ERROR" and desk.states()["a2"] == "QUEUED"
    assert desk.rows("SELECT error_code FROM delivery WHERE state = 'ERROR'") == [("delivery.unreadable",)]
    out.auto = lambda delivery: Result.SENT
    out.answer(Result.SENT)
    desk.settle()
    desk.act("discard", "a1")
    assert desk.states()["a2"] == "SENT"
    assert desk.open() == {"adt": 0}


def test_a_store_that_cannot_be_read_is_read_again(make, monkeypatch):
    desk, out = make()
    desk.channel("pause")
    desk.send(("a1", "A"))
    desk.crash()
    (sender,) = desk.engine.channels["adt"].senders
    assert out.effects == ["a1"], "a pause does not outlive the engine"
    out.effects.clear()
    sender.pause()
    desk.send(("a2", "A"))
    read, failures = sender.payload, [10, 10]

    def broken(message_id, name):
        if failures:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = failures.pop()
            raise error
        return read(message_id, name)

    monkeypatch.setattr(sender, "payload", broken)
    desk.engine.backlogs["adt", "out"].lanes.find(desk.id_of("a2"), sender).payload = None
    sender.resume()
    desk.settle()
    assert out.effects == []
    desk.advance(1)
    desk.advance(1)
    assert out.effects == ["a2"] and not failures


@pytest.mark.parametrize("restart", [False, True])
def test_more_than_memory_holds(make, monkeypatch, restart):
    monkeypatch.setattr(channels.route, "WINDOW", 20)
    monkeypatch.setattr(channels.backlog, "WINDOW", 20)
    monkeypatch.setattr(channels.backlog, "CHUNK", 7)
    monkeypatch.setattr(channels.backlog, "CACHED", 5)
    desk, out = make(batch=3, flight=1)
    out.auto = None
    for first in range(0, 300, 50):
        desk.send(*((f"m{n}", f"P{n % 11}") for n in range(first, first + 50)))
    if restart:
        desk.crash()
    assert desk.open() == {"adt": 300}
    assert len(desk.engine.backlogs["adt", "out"].lanes) < 60
    out.auto = lambda delivery: Result.SENT
    out.answer(Result.SENT)
    desk.settle()
    assert len(out.effects) == 300
    for patient in range(11):
        assert [n for n in (int(one[1:]) for one in out.effects) if n % 11 == patient] == list(
            range(patient, 300, 11)
        )
    assert desk.open() == {"adt": 0}


def test_behind_a_held_patient_everybody_else_is_found(make, monkeypatch):
    monkeypatch.setattr(channels.backlog, "WINDOW", 10)
    monkeypatch.setattr(channels.backlog, "CHUNK", 5)
    desk, out = make()
    out.auto = refuse("a0")
    desk.send(*((f"a{n}", "A") for n in range(40)))
    desk.send(("b1", "B"), ("c1", "C"))
    desk.advance(1)
    assert out.effects == ["b1", "c1"]


JOINED = """
channels:
  adt:
    listener: {{mllp: {{port: 1}}}}
    destinations: {{out: {{scripted: {{name: out, connection: clinic, batch_size: 1, in_flight: 8}}, on_error: {adt}}}}}
  siu:
    listener: {{mllp: {{port: 2}}}}
    order_with: adt
    destinations: {{out: {{scripted: {{name: siu, connection: clinic, batch_size: 1, in_flight: 8}}, on_error: {siu}}}}}
"""


@pytest.mark.parametrize(
    ("adt", "siu"), [("hold_key", "hold_key"), ("hold_lane", "hold_key"), ("skip", "hold_lane")]
)
def test_two_channels_in_order_with_each_other(make, adt, siu):
    desk, out = make(JOINED.format(adt=adt, siu=siu))
    other = DESTINATIONS["siu"]
    out.auto = other.auto = None
    desk.send(("a1", "A"))
    desk.send(("s1", "A"), ("s2", "B"), channel="siu")
    desk.send(("a2", "A"))
    assert out.waiting() == [["a1"]]
    if siu == "hold_key":
        assert other.waiting() == [["s2"]]
    desk.crash()
    assert out.waiting() == [["a1"]]
    out.answer(Result.SENT)
    desk.settle()
    assert ["s1"] in other.waiting() and out.waiting() == []
    for _ in range(2):
        other.answer(Result.SENT)
        desk.settle()
    assert out.waiting() == [["a2"]]


def test_pausing_one_of_two_joined_channels_leaves_the_other(make):
    desk, out = make(JOINED.format(adt="hold_key", siu="hold_key"))
    desk.channel("pause")
    desk.send(("a1", "A"))
    desk.send(("s1", "A"), ("s2", "B"), channel="siu")
    assert out.effects == [] and DESTINATIONS["siu"].effects == ["s2"], "A waits for a1, B does not"
    desk.channel("resume")
    assert out.effects == ["a1"] and DESTINATIONS["siu"].effects == ["s2", "s1"]


def test_what_cannot_be_stored_is_an_error_in_its_place(make):
    """A destination with a defect: its payload is no bytes. Later messages of the patient do not overtake others."""
    desk, out = make()
    render = out.render
    out.render = lambda scope: 7 if scope.message.control_id == "3" else render(scope)
    names = [str(number) for number in range(1, 101)]
    for name in names:
        desk.receive(name, "P1")
    desk.settle()
    assert out.effects == [name for name in names if name != "3"]
    assert desk.rows("SELECT control_id, error_code FROM message WHERE state = 'ERROR'") == [
        ("3", "route.refused")
    ]
    assert desk.rows("SELECT sum(value) FROM counter WHERE name = 'transformed'") == [(99,)]
