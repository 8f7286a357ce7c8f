"""Another ordering key: what is open keeps its order with what comes under the new one."""

import sqlite3

from desk import DESTINATIONS, Desk
from reloading import TWO, make_desk, reload  # noqa: F401

import engine.store.rekey
from engine.errors import StoreError
from engine.states import Result
from engine.store import operate

OLD = TWO.replace("{name: out}", "{name: out, in_flight: 4}")
NEW = OLD.replace("  siu:", "    ordering_key: PID-3\n  siu:", 1)


def waiting(make):
    """A desk with a delivery of patient A that waits to be tried again, and one of B in ERROR."""
    desk, to = make(OLD)
    to["out"].auto = lambda delivery: Result.PERMANENT if delivery.payload == b"b1" else Result.RETRY
    desk.send(("a1", "A"), ("b1", "B"))
    to["out"].auto = lambda delivery: Result.SENT
    return desk, to["out"]


def test_a_reload(make):
    desk, out = waiting(make)
    assert reload(desk, NEW)["taken"]
    desk.send(("a2", "A"), ("b2", "B"), ("c1", "C"))
    assert out.effects == ["c1"], "a1 waits, b1 is held"
    desk.advance(100)
    assert out.effects == ["c1", "a1", "a2"]
    desk.act("resend", "b1")
    assert out.effects == ["c1", "a1", "a2", "b1", "b2"] and desk.open() == {"adt": 0, "siu": 0}


def test_a_start(make):
    desk, out = waiting(make)
    desk.channel("pause")
    desk.send(("a2", "A"))
    desk.path.write_text(NEW)
    desk.crash()
    desk.send(("a3", "A"), ("b2", "B"))
    desk.advance(100)
    assert out.effects == ["a1", "a2", "a3"]


def test_more_than_one_batch(make, monkeypatch):
    monkeypatch.setattr(engine.store.rekey, "ROWS", 1)
    desk, out = waiting(make)
    assert reload(desk, NEW)["taken"]
    desk.send(("a2", "A"), ("b2", "B"))
    desk.advance(100)
    assert out.effects == ["a1", "a2"]


def test_messages_are_taken_while_the_store_cannot_be_read(make, monkeypatch):
    desk, out = waiting(make)
    read, failures = engine.store.rekey.raw, [10, 10]

    def broken(tx, message_id):
        if failures:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = failures.pop()
            raise error
        return read(tx, message_id)

    monkeypatch.setattr(engine.store.rekey, "raw", broken)
    assert reload(desk, NEW)["taken"] and not failures
    desk.send(("a2", "A"), ("b2", "B"))
    desk.advance(100)
    assert out.effects == ["a1", "a2"]


def test_a_start_takes_messages_while_keys_are_made(make, monkeypatch):
    desk, out = waiting(make)
    desk.path.write_text(NEW)
    read, broken = engine.store.rekey.raw, [True]

    def full(tx, message_id):
        if broken:
            raise StoreError("no space", code="store.full")
        return read(tx, message_id)

    monkeypatch.setattr(engine.store.rekey, "raw", full)
    desk.crash()
    assert all(channel.listening for channel in desk.engine.channels.values())
    desk.send(("a2", "A"), ("b2", "B"))
    desk.send(("s1", "A"), channel="siu")
    assert DESTINATIONS["siu"].effects == ["s1"] and not out.effects
    broken.clear()
    desk.advance(100)
    assert out.effects == ["a1", "a2"]


def test_an_engine_stops_while_keys_are_made(make, monkeypatch):
    monkeypatch.setattr(engine.store.rekey, "ROWS", 1)
    desk, out = waiting(make)
    desk.path.write_text(NEW)
    starting = Desk.settle
    monkeypatch.setattr(Desk, "settle", lambda self: None)
    desk.crash()
    monkeypatch.setattr(Desk, "settle", starting)
    desk.stop()
    assert not desk.failures
    desk.elapsed = desk.reactor.seconds()
    desk.start()
    desk.send(("a2", "A"))
    desk.advance(100)
    assert out.effects == ["a1", "a2"]


def test_many_that_are_open_are_looked_for_once(make, monkeypatch):
    monkeypatch.setattr(engine.store.rekey, "ROWS", 1)
    desk, _ = waiting(make)
    asked = []
    desk.engine.store._writing.db.set_trace_callback(asked.append)
    assert reload(desk, NEW)["taken"]
    assert len([one for one in asked if "-- open_messages" in one or "ORDER BY 1" in one]) == 1


def test_a_replay_has_the_keys_of_today(make):
    desk, to = make(OLD)
    desk.send(("a1", "A"))
    assert reload(desk, NEW)["taken"]
    to["out"].auto = None
    desk.act("replay", "a1")
    desk.send(("a2", "A"))
    assert to["out"].sent == ["a1", "a1"]


def test_a_replay_while_no_engine_runs_has_them_from_the_next_start_on(make):
    desk, to = make(OLD)
    desk.send(("a1", "A"))
    assert reload(desk, NEW)["taken"]
    desk.channel("pause")
    old = desk.id_of("a1")
    desk.engine.writer.run(lambda tx: operate.replay(tx, [old], "test"))
    desk.settle()
    to["out"].auto = None
    desk.crash()
    desk.send(("a2", "A"))
    assert to["out"].sent == ["a1", "a1"], "a2 waits"


def test_the_same_key_as_before_changes_nothing(make):
    desk, _ = waiting(make)
    before = desk.rows("SELECT ordering_key FROM message ORDER BY id")
    assert reload(desk, OLD + "\n")["taken"]
    desk.crash()
    assert desk.rows("SELECT ordering_key FROM message ORDER BY id") == before
    assert reload(desk, NEW)["taken"] and reload(desk, OLD)["taken"]
    assert desk.rows("SELECT ordering_key FROM message ORDER BY id") == before
