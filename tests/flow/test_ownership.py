"""An engine that slept while another took its store over sends nothing more."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from engine.states import Result
from engine.store.sqlite import DATABASE


def taken_over(desk) -> None:
    """Another engine starts on the same data."""
    with closing(sqlite3.connect(desk.folder / "data" / DATABASE)) as db, db:
        db.execute("INSERT INTO node (pid, started_at, seen_at) VALUES (1, 1, 1)")


def test_what_waited_for_another_try_is_not_sent_by_the_old_engine(make):
    desk, out = make()
    out.auto = lambda delivery: Result.RETRY
    desk.send(("a1", "A"))
    assert out.sent == ["a1"]
    taken_over(desk)
    out.auto = lambda delivery: Result.SENT
    desk.reactor.advance(5)  # the try is due before anything is committed
    desk.settle()
    assert out.sent == ["a1"] and out.effects == []
    assert desk.engine.writer.state == "fenced"


def test_what_is_ready_behind_a_call_is_not_sent_either(make):
    desk, out = make(flight=1, batch=1)
    out.auto = None
    desk.send(("a1", "A"), ("b1", "B"))
    assert out.asked() == ["a1"]
    taken_over(desk)
    out.answer(Result.SENT)
    desk.settle()
    assert out.sent == ["a1"]


def test_an_unreadable_store_is_no_reason_to_stop(make, monkeypatch):
    desk, _ = make()

    def broken(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(desk.engine.store.reader, "rows", broken)
    assert desk.engine.store.owned()
