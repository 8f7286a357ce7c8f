"""Reading on from the store while it changes: a commit between two queries hides nothing."""

from __future__ import annotations

import sqlite3

import pytest
from engine_process import adt

import channels.wiring
import engine.store.standing
from engine.errors import StepTimeout
from engine.security.keyring import open_keyring
from engine.store import causes, messages, search
from engine.store.store import open_store

JOINED = """
channels:
  adt: {listener: {mllp: {port: 1}}, destinations: {out: {scripted: {name: out, connection: clinic}}}}
  siu:
    listener: {mllp: {port: 2}}
    order_with: adt
    destinations: {out: {scripted: {name: siu, connection: clinic}}}
"""


@pytest.fixture
def other(tmp_path):
    """Commits one message of each channel, as another transaction would; `other(True)` routes them too."""
    opened = []

    def commit(routed):
        store = open_store(tmp_path / "data", open_keyring(tmp_path / "data"), mode="client")
        opened.append(store)

        def work(tx):
            for n, channel in enumerate(("adt", "siu")):
                new = messages.NewMessage(channel, adt(f"c{n}"), 1, f"c{n}", "ADT^A08", "EHR|RGH", ack=b"MSH")
                stored = messages.receive(tx, new)
                if routed:
                    to = [messages.NewDelivery("out", b"c")]
                    messages.route(tx, messages.Routed(stored.id, "TRANSFORMED", 2, to))

        store.writer.call(work)

    yield commit
    for store in opened:
        store.close()


def between(monkeypatch, module, name, act):
    """Do something after the first call of a function."""
    function, calls = getattr(module, name), []

    def wrapped(*arguments):
        found = function(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            act()
        return found

    monkeypatch.setattr(module, name, wrapped)


def test_messages_of_joined_channels(make, monkeypatch, other):
    desk, _ = make(JOINED)
    between(monkeypatch, channels.wiring.messages, "unrouted", lambda: other(False))
    assert desk.engine.wiring._unrouted(["adt", "siu"], 0, 10) == []
    found = desk.engine.wiring._unrouted(["adt", "siu"], 0, 10)
    assert [one.meta.control_id for one in found] == ["c0", "c1"]


def test_deliveries_of_joined_channels(make, monkeypatch, other):
    desk, _ = make(JOINED)
    between(monkeypatch, engine.store.standing, "_read", lambda: other(True))
    pairs = [("adt", "out"), ("siu", "out")]
    assert desk.engine.wiring._standing(pairs, 0, 10) == []
    assert [one.channel for one in desk.engine.wiring._standing(pairs, 0, 10)] == ["adt", "siu"]


def failing(times):
    """A disk that cannot be read so many times."""
    left = [sqlite3.OperationalError("disk I/O error") for _ in range(times)]

    def check():
        if left:
            raise left.pop()

    return check


def test_a_store_that_cannot_be_read_stops_neither_routing_nor_delivering(make, monkeypatch):
    desk, out = make()
    out.auto = None
    desk.send(("a1", "A"), ("b1", "B"))
    routing, filling = failing(2), failing(2)
    unrouted, standing = channels.wiring.Wiring._unrouted, channels.wiring.Wiring._standing
    monkeypatch.setattr(channels.wiring.Wiring, "_unrouted", lambda *args: (routing(), unrouted(*args))[1])
    monkeypatch.setattr(channels.wiring.Wiring, "_standing", lambda *args: (filling(), standing(*args))[1])
    desk.crash()
    assert out.calls == []
    desk.send(("c1", "C"))
    for _ in range(4):
        desk.advance(1)
    assert sorted(out.asked()) == ["a1", "b1", "c1"]


def spoiled(desk):
    """Message errors: (control id, replay of, code), and they are counted and grouped as errors are."""
    reader = desk.engine.store.reader
    found = desk.rows(
        "SELECT control_id, parent_id, error_code FROM message WHERE state = 'ERROR' ORDER BY id"
    )
    assert [(group.code, group.count) for group in causes.error_groups(reader)] == [
        ("store.corrupt", len(found))
    ]
    assert search.backlog(reader)["adt"] == {"ERROR": len(found)}
    assert desk.rows("SELECT value FROM counter WHERE name = 'error'") == [(len(found),)]
    return found


@pytest.mark.parametrize("spoil", ["UPDATE body SET data = x'00'", "DELETE FROM body"])
def test_a_message_without_its_bytes_is_an_error_and_others_are_routed(make, spoil):
    desk, out = make()
    desk.channel("pause")
    desk.send(("a1", "A"), ("b1", "B"), ("a2", "A"))
    damaged = desk.id_of("a1") * 4096
    desk.engine.writer.run(lambda tx: tx.execute(f"{spoil} WHERE id = ?", (damaged,)))
    desk.settle()
    desk.crash()
    desk.advance(1)
    assert desk.states() == {"a1": "ERROR", "b1": "SENT", "a2": "SENT"}
    assert spoiled(desk) == [("a1", None, "store.corrupt")]
    assert out.effects == ["b1", "a2"] and desk.open() == {"adt": 0}


@pytest.mark.parametrize("spoil", ["UPDATE body SET data = x'00'", "DELETE FROM body"])
def test_one_replay_without_its_bytes_is_an_error_and_its_group_is_replayed(make, spoil):
    desk, out = make()
    desk.send(("a1", "A"), ("b1", "B"), ("c1", "C"))
    damaged = (desk.id_of("c1") + 2) * 4096  # the second replay
    trigger = f"AFTER INSERT ON body WHEN NEW.id = {damaged} BEGIN {spoil} WHERE id = NEW.id; END"
    desk.engine.writer.run(lambda tx: tx.execute(f"CREATE TRIGGER spoil {trigger}"))
    job = desk.act("replay", "a1", "b1", "c1")
    assert (job.state, job.changed) == ("done", 3)
    assert spoiled(desk) == [("b1", desk.id_of("b1"), "store.corrupt")]
    assert out.effects == ["a1", "b1", "c1", "a1", "c1"] and desk.open() == {"adt": 0}


def test_an_outcome_that_cannot_be_stored_is_an_error_and_the_others_of_its_batch_end(make):
    """A destination with a defect: an answer of it is text, no bytes."""
    desk, out = make()
    out.reply = lambda delivery: "text" if delivery.payload == b"b1" else b"bytes"
    desk.send(("a1", "A"), ("b1", "B"), ("b2", "B"), ("c1", "C"))
    assert desk.states() == {"a1": "SENT", "b1": "ERROR", "b2": "QUEUED", "c1": "SENT"}
    assert desk.rows("SELECT error_code, error_place, error_text FROM delivery WHERE state = 'ERROR'") == [
        (
            "deliver.refused",
            "deliver",
            "it ended as SENT, and what is told of that cannot be stored (TypeError)",
        )
    ]
    assert desk.open() == {"adt": 1}
    out.reply = lambda delivery: b"bytes"
    desk.act("resend", "b1")
    assert set(desk.states().values()) == {"SENT"} and desk.open() == {"adt": 0}
    assert out.effects == ["a1", "b1", "c1", "b1", "b2"]


@pytest.mark.parametrize("error", [StepTimeout, ValueError])
def test_a_defect_with_one_message_is_its_error_and_stops_nobody(make, monkeypatch, error):
    desk, _ = make()
    (router,) = {channel.router for channel in desk.engine.channels.values()}
    run = router.states.run

    def broken(pipeline, raw, meta):
        if meta.control_id == "a1":
            raise error
        return run(pipeline, raw, meta)

    monkeypatch.setattr(router.states, "run", broken)
    desk.send(("a1", "A"), ("b1", "B"), ("a2", "A"))
    desk.advance(1)
    assert desk.states() == {"a1": "ERROR", "b1": "SENT", "a2": "SENT"} and desk.open() == {"adt": 0}


def test_an_interruption_between_two_messages_loses_none(make, monkeypatch):
    """The alarm of a step may ring when the step has just ended."""
    desk, out = make()
    (router,) = {channel.router for channel in desk.engine.channels.values()}
    rings = [StepTimeout("late")]

    def ring():
        if rings:
            raise rings.pop()

    monkeypatch.setattr(router.guard, "arm", ring)
    desk.send(("a1", "A"), ("b1", "B"), ("a2", "A"))
    assert out.effects == []
    desk.send(("c1", "C"))
    desk.advance(1)
    desk.advance(1)
    assert sorted(out.effects) == ["a1", "a2", "b1", "c1"]
    assert out.effects.index("a1") < out.effects.index("a2")
    assert desk.open() == {"adt": 0}
