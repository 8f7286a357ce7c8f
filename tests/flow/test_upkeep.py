"""The running engine looks after its store: retention, levels, keys and the disk, on the test's clock."""

from __future__ import annotations

from collections import Counter, namedtuple
from functools import partial
from threading import Event

import pytest
from desk import Desk, scripted
from reloading import reload

from channels import upkeep
from engine.errors import StoreError
from engine.states import Result
from engine.store import commands, maintenance, retention

DAY = 86_400
GIB = 1 << 30
CONFIG = """
channels:
  adt:
    listener: {mllp: {port: 0}}
    %s
    destinations:
      out: {scripted: {name: out}}
"""
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(name="desk")
def desk_of(tmp_path, monkeypatch):
    monkeypatch.delenv("ISTHMUS_KEY_FILE", raising=False)
    open_desks = []
    with scripted() as destinations:

        def make(options="", top=""):
            made = Desk(tmp_path, top + CONFIG % options)
            made.out = destinations["out"]
            open_desks.append(made)
            return made

        yield make
        for one in open_desks:
            one.stop()


def run(desk, seconds=0.0):
    """A run of the upkeep to its end, after a pause."""
    if seconds:
        desk.advance(seconds)
    desk.engine.upkeep.run()
    for _ in range(10_000):
        if not desk.engine.upkeep.status()["retention"]["running"]:
            return desk.settle()
        desk.advance(0.05)
    raise AssertionError("the run does not end")


def test_what_a_channel_keeps_that_is_switched_off_goes_at_its_age(desk):
    desk = desk("retention: {content: 30d}")
    desk.send(("C1", "1"))
    assert reload(desk, CONFIG % "retention: {content: 30d}\n    enabled: false")["taken"]
    assert desk.engine.channels == {} and count(desk, "body") > 0
    run(desk, 31 * DAY)
    assert count(desk, "body") == 0


def test_a_storage_level_that_could_not_be_kept_is_kept_by_the_next_run(desk):
    desk = desk("storage: no-content")
    engine, writer = desk.engine, desk.engine.writer
    writer.run(lambda tx: tx.execute("DELETE FROM setting WHERE name LIKE 'storage:%'"))
    desk.settle()
    writer.state, writer.error = "failed", StoreError("the disk is full", code="store.full")
    engine.upkeep._levels = None
    engine.upkeep.use(engine.reloader.running.configuration)
    desk.settle()
    writer.state, writer.error = "open", None
    run(desk)
    kept = desk.rows("SELECT name, value FROM setting WHERE name LIKE 'storage:%'")
    assert kept == [("storage:adt", "no-content")]


def count(desk, table):
    return desk.rows(f"SELECT count(*) FROM {table}")[0][0]


def ask(desk, verb, **args):
    numbers = []
    desk.engine.writer.run(lambda tx: commands.add(tx, "anna", verb, args)).addCallback(numbers.append)
    desk.settle()
    for _ in range(100):
        desk.advance(0.2)
        found = commands.get(desk.engine.store.reader, numbers[0])
        if found.state in ("done", "failed"):
            return found
    raise AssertionError("the command is not carried out")


def test_content_then_messages_go_at_their_ages_by_themselves(desk):
    desk = desk("retention: {content: 30d, messages: 365d}")
    desk.send(*[(f"C{n}", str(n)) for n in range(500)])
    bodies = count(desk, "body")
    desk.advance(29 * DAY)
    assert count(desk, "body") == bodies
    for _ in range(40):
        desk.advance(3600)
        for _ in range(100):
            desk.advance(0.05)
    assert (count(desk, "body"), count(desk, "message")) == (0, 500)
    assert desk.engine.status()["store"]["retention"]["counts"] == {}, "of the last run, which found nothing"
    run(desk, 336 * DAY)
    assert (count(desk, "message"), count(desk, "delivery")) == (0, 0)
    details = [row[0] for row in desk.rows("SELECT detail FROM event WHERE kind = 'retention'")]
    assert details == ["adt.content=500", "adt.messages=500"]
    assert dict(desk.rows("SELECT name, value FROM counter WHERE name LIKE '%pruned'")) == {
        "content_pruned": 500,
        "pruned": 500,
    }


def test_open_deliveries_are_kept_and_delivered_whatever_their_age(desk):
    desk = desk("retention: {content: 1d, messages: 8d}")
    desk.out.auto = lambda delivery: Result.RETRY
    desk.send(("C1", "1"))
    run(desk, 100 * DAY)
    desk.out.auto = lambda delivery: Result.SENT
    desk.advance(400)
    assert desk.out.effects == ["C1"]
    run(desk, DAY)
    assert count(desk, "message") == 0


def test_an_error_that_is_given_up_lets_go_who_waits_for_it(desk):
    desk = desk("retention: {errors: 90d}")
    desk.out.auto = lambda delivery: Result.PERMANENT
    desk.send(("C1", "1"))
    desk.out.auto = lambda delivery: Result.SENT
    desk.send(("C2", "1"), ("C3", "2"))
    assert desk.out.effects == ["C3"], "C2 is of the same patient as C1, which failed"
    run(desk, 89 * DAY)
    assert desk.out.effects == ["C3"]
    run(desk, 2 * DAY)
    assert desk.out.effects == ["C3", "C2"]
    assert desk.states() == {"C1": "DISCARDED", "C2": "SENT", "C3": "SENT"}
    assert desk.rows("SELECT kind, actor FROM event WHERE kind = 'discard'") == [("discard", "retention")]
    assert desk.engine.status()["store"]["retention"]["counts"] == {"adt.errors": 1}
    assert desk.open() == {"adt": 0}


def test_above_its_size_a_channel_loses_the_oldest_content(desk):
    desk = desk("retention: {max_size: 20KB}")
    desk.send(*[(f"C{n}", str(n)) for n in range(300)])
    run(desk)
    assert 18_000 < desk.rows("SELECT sum(length(data)) FROM body")[0][0] <= 20_000
    (oldest,) = desk.rows("SELECT min(id >> 12) FROM body")[0]
    assert {row[0] for row in desk.rows("SELECT DISTINCT id >> 12 FROM body")} == set(range(oldest, 301))
    assert count(desk, "message") == 300


def test_a_stop_in_the_middle_loses_nothing_and_the_next_start_goes_on(desk):
    desk = desk("retention: {content: 1d}")
    desk.send(*[(f"C{n}", str(n)) for n in range(1000)])
    desk.advance(DAY)
    desk.advance(2 * DAY)
    desk.engine.upkeep.run()
    desk.advance(0.05)
    desk.advance(0.05)
    left = count(desk, "body")
    desk.stop()
    desk.elapsed = desk.reactor.seconds()
    desk.start()
    assert 0 < count(desk, "body") <= left
    run(desk)
    assert desk.rows("SELECT DISTINCT id & 15 FROM body") == [(1,)], "ACKs, for a week"
    assert maintenance.check(desk.engine.store.reader) == []


def test_a_stop_does_not_wait_for_a_long_look_at_the_tables(desk, monkeypatch):
    desk = desk("retention: {max_size: 1GB}")
    begun = Event()

    def endless(sizes, tx, limit):
        tx.db.create_function("begun", 0, begun.set)
        tx.rows("SELECT begun() UNION ALL SELECT * FROM (WITH RECURSIVE n (i) AS"
                " (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n)")  # fmt: skip

    monkeypatch.setattr(retention.Sizes, "floor", endless)
    desk.engine.upkeep._in_thread = partial(upkeep.threaded, desk.reactor)
    desk.engine.upkeep.run()
    desk.reactor.run_handed(wait=True)
    assert begun.wait(10)
    stopped = []
    desk.engine.upkeep.stop().addCallback(stopped.append)
    while not stopped:
        desk.reactor.run_handed(wait=True)
    assert not desk.engine.upkeep.status()["retention"]["running"]


def test_a_busy_writer_is_waited_for_then_given_small_batches(desk, monkeypatch):
    desk = desk("retention: {content: 1d}")
    desk.send(*[(f"C{n}", str(n)) for n in range(100)])
    desk.advance(5)
    sizes = []
    real = retention.prune
    monkeypatch.setattr(
        retention, "prune", lambda tx, rule, ids, rows: (sizes.append(rows), real(tx, rule, ids, rows))[1]
    )
    desk.reactor.rightNow += 2 * DAY
    busy = type("Busy", (), {"state": "open", "error": None, "backlog": upkeep.QUIET + 1})()
    busy.run, busy.submit = desk.engine.writer.run, desk.engine.writer.submit
    desk.engine.upkeep._writer = busy
    desk.engine.upkeep.run()
    for _ in range(int((upkeep.PATIENCE - 0.2) / upkeep.PAUSE)):
        desk.advance(upkeep.PAUSE)
    assert sizes == []
    for _ in range(20):
        if not sizes:
            desk.advance(upkeep.PAUSE)
    assert sizes == [upkeep.BUSY_ROWS]
    for _ in range(
        5
    ):  # it waits once, not before every batch: else the store grows as long as the load lasts
        desk.advance(upkeep.PAUSE)
    assert sizes == [upkeep.BUSY_ROWS] * 6
    run(desk)
    assert set(sizes) == {upkeep.BUSY_ROWS}
    desk.engine.upkeep._writer = desk.engine.writer


def test_acks_beside_pruning_and_no_group_holds_more_than_a_batch(desk):
    """The real commit thread and the real reading thread; deleted rows are counted by the database itself."""
    desk = desk("retention: {content: 1d, messages: 8d}")
    desk.send(*[(f"C{n}", str(n)) for n in range(3000)])
    desk.engine.upkeep._in_thread = partial(upkeep.threaded, desk.reactor)
    writer, db = desk.engine.writer, desk.engine.store._writing.db
    deleted, groups = [0], []
    db.create_function("gone", 0, lambda: deleted.__setitem__(0, deleted[0] + 1))
    for table in ("message", "body", "delivery", "event"):
        db.execute(f"CREATE TEMP TRIGGER gone_{table} AFTER DELETE ON main.{table} BEGIN SELECT gone(); END")
    commit = writer._commit

    def counting(patient):
        groups.append(deleted[0])
        deleted[0] = 0
        return commit(patient)

    writer._commit = counting
    desk.reactor.rightNow += 9 * DAY
    before = count(desk, "body") + count(desk, "message") + count(desk, "delivery")
    desk.engine.upkeep.run()
    answered = Counter()
    number = 0
    while desk.engine.upkeep.status()["retention"]["running"]:
        number += 1
        incoming = desk.receive(f"N{number}", str(number))
        desk.reactor.advance(0.01)
        while not incoming.answers:
            desk.reactor.run_handed(wait=writer._committing is not None)
            desk.reactor.advance(0)
        answered[b"|AA|" in incoming.answers[0]] += 1
        while desk.reactor.run_handed(wait=False):
            pass
    desk.settle()
    assert answered == {True: number}
    assert number > 50
    assert max(groups) <= retention.ROWS
    assert sum(groups) >= before, "everything old is gone"
    assert desk.rows("SELECT count(*) FROM message WHERE control_id LIKE 'C%'") == [(0,)]
    assert desk.rows("SELECT count(*) FROM message WHERE control_id LIKE 'N%'") == [(number,)]


@pytest.mark.parametrize("storage", ["no-content", "metadata"])
def test_a_repeated_message_is_answered_though_its_content_is_gone(desk, storage):
    desk = desk(f"storage: {storage}")
    first = desk.receive("C1", "1")
    desk.settle()
    kinds = [row[0] & 15 for row in desk.rows("SELECT id FROM body")]
    assert kinds == ([1] if storage == "no-content" else [])
    again = desk.receive("C1", "1")
    desk.settle()
    assert b"\rMSA|AA|C1" in again.answers[0]
    assert (again.answers == first.answers) is (storage == "no-content")
    assert count(desk, "message") == 1
    assert desk.act("replay", "C1").changed == 0
    assert desk.out.effects == ["C1"]


def test_a_refused_message_that_is_repeated_is_refused_again_when_nothing_but_the_code_is_kept(desk):
    desk = desk("storage: metadata")
    first = desk.receive("B1", "1")
    desk.settle()
    desk.engine.writer.run(
        lambda tx: tx.execute(
            "UPDATE message SET state = 'ERROR', ack = 'AE', error_code = 'x' WHERE control_id = 'B1'"
        )
    )
    desk.settle()
    second = desk.receive("B1", "1")
    desk.settle()
    assert b"\rMSA|AA|B1" in first.answers[0]
    assert b"\rMSA|AE|B1" in second.answers[0]
    assert b"duplicate.refused" in second.answers[0]


def test_the_disk_pauses_then_refuses_and_both_end_with_room_to_spare(desk):
    desk = desk("backlog: {pause: 3, refuse: 4}")
    watch, channel = desk.engine.upkeep.disk, desk.engine.channels["adt"]
    free = [100 * GIB]
    watch._usage = lambda folder: Usage(100 * GIB, 0, free[0])

    def at(gib):
        free[0] = int(gib * GIB)
        desk.advance(2)
        return watch.state, channel.listener.paused, channel.intake.refusing is not None

    assert at(50) == ("ok", False, False)
    assert (watch.pause, watch.refuse) == (GIB, GIB // 2)
    assert at(0.9) == ("paused", True, False)
    assert at(1.1) == ("paused", True, False), "it does not flutter"
    assert at(0.4) == ("refusing", True, True)
    refused = desk.receive("C1", "1")
    assert b"\rMSA|AR|C1" in refused.answers[0]
    assert b"disk.full" in refused.answers[0]
    assert count(desk, "message") == 0
    assert at(0.6) == ("refusing", True, True)
    assert at(0.7) == ("paused", True, False)
    assert at(1.3) == ("ok", False, False)
    desk.send(("C1", "1"))
    assert desk.out.effects == ["C1"]


def test_disk_and_backlog_hold_a_channel_back_independently(desk):
    desk = desk("backlog: {pause: 3, refuse: 4}")
    watch, channel = desk.engine.upkeep.disk, desk.engine.channels["adt"]
    free = [100 * GIB]
    watch._usage = lambda folder: Usage(100 * GIB, 0, free[0])
    desk.out.auto = None
    desk.send(("C1", "1"), ("C2", "2"), ("C3", "3"), ("C4", "4"))
    assert channel.status()["held_back"] == ["backlog"]
    free[0] = GIB // 4
    desk.advance(2)
    assert channel.status()["held_back"] == ["backlog", "disk"]
    assert channel.status()["refusing"] == ["backlog", "disk"]
    desk.out.auto = lambda delivery: Result.SENT
    while desk.out.calls:
        desk.out.answer(Result.SENT)
        desk.settle()
    assert (channel.open, channel.status()["held_back"]) == (0, ["disk"])
    assert channel.listener.paused
    assert channel.intake.refusing is not None
    free[0] = 50 * GIB
    desk.advance(2)
    assert not channel.listener.paused
    assert channel.intake.refusing is None


def test_marks_from_the_configuration_and_of_a_small_disk(desk):
    desk = desk(top="disk: {pause: 10GiB, refuse: 2GiB}\n")
    watch = desk.engine.upkeep.disk
    watch._usage = lambda folder: Usage(100 * GIB, 0, 9 * GIB)
    desk.advance(2)
    assert (watch.state, watch.pause, watch.refuse) == ("paused", 10 * GIB, 2 * GIB)
    watch._marks = type(watch._marks)()
    watch._usage = lambda folder: Usage(10 * GIB, 0, 9 * GIB)
    desk.advance(2)
    assert watch.pause == int(10 * GIB * 0.02)


def test_a_disk_that_cannot_be_asked_changes_nothing(desk):
    desk = desk()
    watch = desk.engine.upkeep.disk

    def broken(folder):
        raise OSError(5, "Input/output error")

    watch._usage = lambda folder: Usage(100 * GIB, 0, GIB // 10)
    desk.advance(2)
    watch._usage = broken
    desk.advance(2)
    assert watch.state == "refusing"
    assert desk.engine.status()["store"]["disk"]["database"] > 0
