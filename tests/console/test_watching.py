"""The dashboard for many: one look for all who watch, each sees what they may; what it counts, and work under way."""

from __future__ import annotations

import threading

from console.exporting import Export
from console.overview import RECENT
from engine.security.roles import Grant, Identity, Role

HOUR = 3_600_000_000
EVERYTHING = Identity("a", (Grant(Role.VIEWER),))
LAB = Identity("b", (Grant(Role.VIEWER, ("lab",)),))


def view(app, name):
    return next(one for one in app.state.watch.look().channels if one.name == name)


def test_twenty_who_watch_cost_one_look_and_see_only_what_they_may(app, beat, put):
    put(channel="lab")
    put("C2", channel="adt")
    watch = app.state.watch
    first = watch.look()
    found = []

    def one():
        found.append(watch.look(60))

    many = [threading.Thread(target=one) for _ in range(20)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    assert len(found) == 20 and all(one is first for one in found)
    assert watch.look() is not first, "who asks for what is new gets it"
    made = []

    def page(identity):
        def make():
            made.append(identity.name)
            return ",".join(one.name for one in watch.seen_by(identity, "", 60).channels)

        return watch.made((identity.grants, ""), 60, make)

    for _ in range(3):
        assert page(LAB) == "lab"
        assert page(EVERYTHING) == "free,lab,lab2,adt"
    assert made == ["b", "a"]


def test_counts_are_told_now_since_the_start_and_ever(app, beat, put):
    for number in range(3):
        put(f"A{number}", channel="adt")
    put("E1", channel="adt", error="table.code")
    beat({"totals_at_start": {"adt": {"received": 1, "error": 0, "queued/odoo": 2}}})
    adt = view(app, "adt")
    assert (adt.received, adt.errors, adt.queued) == (4, 1, 3)
    assert adt.ever == {"received": 4, "filtered": 0, "queued": 3, "sent": 0, "errors": 1}
    assert adt.since_start == {"received": 3, "filtered": 0, "queued": 1, "sent": 0, "errors": 1}
    assert adt.queue_age is not None and adt.queue_age >= 0


def test_a_quiet_feed_beside_a_busy_one_is_still_seen(app, beat, put, store):
    put("Q1", channel="lab")
    at = store.reader.now() - 2 * HOUR
    store.writer.call(lambda tx: tx.execute("UPDATE message SET received_at = ?", (at,)).rowcount)
    number = put("B1", channel="lab2")
    columns = ", ".join(row[1] for row in store.reader.rows("PRAGMA table_info(message)") if row[1] != "id")
    store.writer.call(
        lambda tx: (
            tx.execute(
                "WITH RECURSIVE more (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < ?)"
                f" INSERT INTO message (id, {columns}) SELECT ? + n, {columns} FROM message, more WHERE id = ?",
                (RECENT + 5, number, number),
            ).rowcount
        )
    )
    lab = view(app, "lab")
    assert lab.last_at == at and lab.silent


def test_what_retention_deleted_was_there_and_is_not_forgotten(app, beat, put, store):
    put("Q1", channel="lab")
    seen = view(app, "lab").last_at
    assert seen

    def gone(tx):
        tx.execute("DELETE FROM delivery")
        tx.execute("DELETE FROM message_kind")
        return tx.execute("DELETE FROM message").rowcount

    store.writer.call(gone)
    assert view(app, "lab").last_at == seen
    app.state.watch._sampler.__init__()  # another console, later
    beat({"totals_at_start": {"lab": {"received": 1}}})
    assert not view(app, "lab").silent
    store.writer.call(lambda tx: tx.execute("UPDATE node SET started_at = started_at - ?", (HOUR,)).rowcount)
    assert view(app, "lab").silent, "nothing came since the engine started, an hour ago"


def test_work_under_way_has_its_bar(app, beat, browser):
    retention = {"running": True, "part": 0.42, "counts": {"adt.messages": 1200}}
    beat({"store": {"state": "open", "retention": retention}})
    app.state.exports._known["x"] = Export("x", "operator", "hl7", False, 0, "running", 7, 0.3), None
    page = browser("operator").get("/").text
    assert 'id="retention"' in page and 'value="42"' in page and "1\u202f200 messages changed" in page
    assert 'href="/exports/x"' in page and 'value="30"' in page
    assert 'href="/exports/x"' not in browser("admin").get("/").text, "it is somebody else's"


def test_without_an_engine_the_groups_stay_and_nothing_can_be_started(app, beat, browser, store):
    store.writer.call(lambda tx: tx.execute("UPDATE node SET seen_at = seen_at - 60000000").rowcount)
    page = browser("admin").get("/").text
    assert "The engine is not running." in page and ">Laboratory<" in page
    assert "/channels/lab/" not in page and "/reload" not in page
