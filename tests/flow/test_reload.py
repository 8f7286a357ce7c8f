"""A configuration is edited under a running engine: only what changed is swapped, nothing is lost or reordered."""

from __future__ import annotations

import pytest
from reloading import TWO, Fresh, begin, make_desk, reload, result, version_of  # noqa: F401

from engine.cli.status import troubles
from engine.states import Result
from engine.store import search, versions


def test_only_what_changed_is_swapped(make):
    desk, _ = make()
    before = {
        name: (c, c.listener, c.router, c.intake, c.senders[0]) for name, c in desk.engine.channels.items()
    }
    steps = desk.engine.reloader.running.pipelines["siu"].routes
    desk.send(("no", "A"), ("a1", "A"))
    assert desk.states() == {"no": "FILTERED", "a1": "SENT"}
    old = desk.engine.reloader.running.version
    told = reload(desk, TWO.replace("!= 'no'", "!= 'never'"), note="let them in")
    assert told["taken"] and told["changes"] == {"adt": ["steps"]}
    after = {
        name: (c, c.listener, c.router, c.intake, c.senders[0]) for name, c in desk.engine.channels.items()
    }
    assert before == after, "filters change no port, no lanes, no intake"
    assert desk.engine.reloader.running.pipelines["siu"].routes is steps
    desk.send(("no2", "A"), ("s1", "S"))
    desk.send(("s2", "S"), channel="siu")
    assert version_of(desk, "no") == version_of(desk, "a1") == old
    assert version_of(desk, "no2") == version_of(desk, "s2") == told["version"] != old
    newest, first = versions.history(desk.engine.store.reader)
    assert (newest.version, newest.actor, newest.note, newest.changes) == (
        told["version"], "test", "let them in", [("adt", ["steps"])],
    )  # fmt: skip
    assert first.version == old
    assert versions.files(desk.engine.store.reader, old) == {"channels.yaml": TWO.encode()}
    assert reload(desk)["changes"] == {} and len(versions.history(desk.engine.store.reader)) == 2


def test_what_was_rendered_keeps_the_version_that_rendered_it(make):
    desk, _ = make()
    old = desk.engine.reloader.running.version
    desk.receive("a1", "A")
    router = desk.engine.channels["adt"].router
    for _ in range(1000):  # until C2 is on its way
        if router.pending:
            break
        if not desk.reactor.run_handed(wait=desk.engine.writer._committing is not None):
            desk.reactor.advance(0)
    assert router.pending == 1
    desk.path.write_text(TWO.replace("!= 'no'", "!= 'never'"))
    done = []
    desk.engine.reloader.reload({"actor": "test"}).addBoth(done.append)
    assert done[0]["taken"] and router.pending == 1
    desk.settle()
    assert version_of(desk, "a1") == old
    desk.send(("a2", "A"))
    assert version_of(desk, "a2") == done[0]["version"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (TWO.replace("condition", "conditon"), "channels.yaml:5:"),
        (TWO.replace("!= 'no'", "!= ="), "channels.yaml:5:"),
        ("channels: [", "channels.yaml:"),
    ],
)
def test_a_bad_edit_keeps_the_old_one_and_says_why(make, wrong, words):
    desk, _ = make()
    old = desk.engine.reloader.running
    told = reload(desk, wrong)
    assert not told["taken"] and words in told["problems"][0]
    assert desk.engine.reloader.running is old
    status = desk.engine.status()
    assert words in status["config_problem"]["why"] and status["config_version"] == old.version
    assert desk.rows("SELECT kind, actor FROM event WHERE kind = 'config.not_taken'") == [
        ("config.not_taken", "test")
    ]
    desk.send(("a1", "A"), ("no", "A"))
    assert desk.states() == {"a1": "SENT", "no": "FILTERED"}
    assert reload(desk, TWO)["taken"] and desk.engine.status()["config_problem"] is None


def test_a_destination_is_handed_over(make):
    text = TWO.replace("scripted: {name: out}", "fresh: {name: out}")
    desk, _ = make(text)
    first = Fresh.made[-1]
    first.auto = None
    desk.send(("a1", "A"), ("a2", "A"))
    assert first.waiting() == [["a1"]]
    told = reload(desk, text.replace("fresh: {name: out}", "fresh: {name: out, batch_size: 7}"))
    assert told["changes"] == {"adt": ["destination out"]}
    second = desk.engine.channels["adt"].senders[0].destination
    assert second is not first and second.batch_size == 7 and second.life == ["start"]
    assert first.life == ["start"], "it has a call to answer"
    assert second.sent == [], "the next of the same patient waits"
    first.answer(Result.SENT)
    desk.settle()
    assert first.life == ["start", "stop"]
    assert second.sent == ["a2"] and desk.open() == {"adt": 0, "siu": 0}


def test_lanes_are_made_anew_in_order(make):
    text = TWO.replace("scripted: {name: out}", "fresh: {name: out}")
    desk, _ = make(text)
    out = Fresh.made[-1]
    out.auto = None
    desk.send(("a1", "A"), ("a2", "A"), ("b1", "B"))
    desk.path.write_text(text.replace("fresh: {name: out}", "fresh: {name: out}, on_error: hold_lane"))
    number = begin(desk)
    assert result(desk, number) is None, "it waits for what is on its way"
    late = desk.receive("a3", "A")
    desk.settle()
    assert late.answers, "nobody waits for an answer meanwhile"
    while out.calls:
        out.answer(Result.SENT)
        desk.settle()
    out.auto = lambda delivery: Result.SENT
    desk.advance(0.5)
    assert result(desk, number)["taken"]
    assert desk.engine.channels["adt"].senders[0].destination is out, "its connection stays"
    assert out.life == ["start"]
    assert [name for name in out.effects if name[0] == "a"] == ["a1", "a2", "a3"] and "b1" in out.effects
    assert sorted(out.effects) == ["a1", "a2", "a3", "b1"]
    assert desk.open() == {"adt": 0, "siu": 0}


def test_deliveries_that_do_not_end_leave_everything_as_it_was(make):
    text = TWO.replace("scripted: {name: out}", "fresh: {name: out}")
    desk, _ = make(text)
    out = Fresh.made[-1]
    out.auto = None
    desk.send(("a1", "A"), ("a2", "A"))
    told = []
    desk.path.write_text(text.replace("fresh: {name: out}", "fresh: {name: out}, on_error: hold_lane"))
    desk.engine.reloader.reload({"actor": "test"}).addBoth(told.append)
    desk.advance(61)
    assert not told[0]["taken"] and "did not end" in told[0]["problems"][0]
    out.answer(Result.SENT)
    desk.settle()
    assert out.waiting() == [["a2"]], "it goes on"


def test_order_with_joins_and_parts(make):
    text = TWO.replace("{name: out}", "{name: out, connection: c}").replace(
        "{name: siu}", "{name: siu, connection: c}"
    )
    desk, to = make(text)
    joined = text.replace("port: 2576}}", "port: 2576}}\n    order_with: adt")
    assert reload(desk, joined)["taken"]
    channels = desk.engine.channels
    assert channels["adt"].router is channels["siu"].router
    to["out"].auto = None
    desk.send(("a1", "A"))
    desk.send(("s1", "A"), channel="siu")
    assert to["siu"].effects == [], "the same patient waits over both channels"
    to["out"].answer(Result.SENT)
    desk.settle()
    assert to["siu"].effects == ["s1"]
    to["out"].auto = lambda delivery: Result.SENT
    assert reload(desk, text)["taken"]
    assert channels["adt"].router is not channels["siu"].router
    desk.send(("a2", "A"))
    assert to["out"].effects == ["a1", "a2"] and desk.open() == {"adt": 0, "siu": 0}


def test_a_channel_comes_and_goes(make):
    desk, to = make()
    third = "  lab:\n    listener: {mllp: {port: 2577}}\n    destinations: {out: {scripted: {name: lab}}}\n"
    assert reload(desk, TWO + third)["changes"] == {"lab": ["new"]}
    desk.send(("l1", "A"), channel="lab")
    assert to["lab"].effects == ["l1"]
    to["lab"].auto = lambda delivery: Result.RETRY
    desk.send(("l2", "A"), channel="lab")
    lab = desk.engine.channels["lab"]
    assert reload(desk, TWO)["changes"] == {"lab": ["removed"]}
    desk.advance(6)
    assert lab.state == "stopped" and not lab.listening and "lab" not in desk.engine.channels
    assert desk.states()["l2"] == "QUEUED", "it stays in the store"
    to["lab"].auto = lambda delivery: Result.SENT
    assert reload(desk, TWO + third)["taken"]
    desk.advance(61)
    assert desk.states()["l2"] == "SENT" and desk.open()["lab"] == 0


def test_a_removed_destination_keeps_what_is_open_and_frees_its_channel(make):
    both = TWO.replace(
        "{out: {scripted: {name: out}}}", "{out: {scripted: {name: out}}, b: {fresh: {name: b}}}"
    )
    desk, _ = make(both)
    b = Fresh.made[-1]
    b.auto = lambda delivery: Result.RETRY
    desk.send(("a1", "A"))
    adt = desk.engine.channels["adt"]
    assert adt.open == 1
    assert "destination b" in reload(desk, TWO)["changes"]["adt"]
    assert adt.open == 0 and b.life == ["start", "stop"]
    assert desk.rows("SELECT state FROM delivery WHERE destination = 'b'") == [("QUEUED",)]
    told = {"running": True, "engine": {"status": desk.engine.status()}}
    (trouble,) = troubles({**told, "now": search.backlog(desk.engine.store.reader)})
    assert trouble.startswith("adt, b: 1 deliveries are open, and the configuration has no such destination")
    reload(desk, both)
    assert not troubles({**told, "engine": {"status": desk.engine.status()}, "now": {"adt": {"QUEUED/b": 1}}})
    assert adt.open == 1 or desk.rows("SELECT state FROM delivery WHERE destination = 'b'") == [("SENT",)]
    desk.advance(61)
    assert desk.rows("SELECT state FROM delivery WHERE destination = 'b'") == [("SENT",)] and adt.open == 0


def test_who_waits_for_a_late_answer_gets_it(make):
    late = TWO.replace("port: 2575}}", "port: 2575}}\n    ack: delivered").replace(
        "scripted: {name: out}", "fresh: {name: out}"
    )
    desk, _ = make(late)
    out = Fresh.made[-1]
    out.auto = None
    waiting = desk.receive("a1", "A")
    desk.settle()
    assert not waiting.answers
    assert reload(desk, late.replace("ack: delivered", "ack: stored"))["taken"]
    at_once = desk.receive("b1", "B")
    desk.settle()
    assert at_once.answers and not waiting.answers
    out.answer(Result.SENT)
    desk.settle()
    assert b"MSA|AA|a1" in waiting.answers[0]


def test_edits_are_seen_when_they_have_come_to_rest(make):
    desk, _ = make()
    watch = desk.engine.reloader.watch
    watch.start()
    desk.advance(3)
    old = desk.engine.reloader.running.version
    assert not desk.rows("SELECT 1 FROM command WHERE verb = 'reload'")
    desk.path.write_text(TWO.replace("!= 'no'", "!= 'never'"))
    desk.reactor.advance(1)
    assert not desk.rows("SELECT 1 FROM command WHERE verb = 'reload'"), "perhaps it is still being written"
    for _ in range(4):
        desk.advance(1)
    assert desk.engine.reloader.running.version != old
    desk.path.write_text("channels: [")
    for _ in range(6):
        desk.advance(1)
    assert desk.engine.status()["config_problem"]
    rows = desk.rows("SELECT actor, state FROM command WHERE verb = 'reload'")
    assert rows == [("watch", "done")] * 2, "a bad edit is told once"


def test_what_the_history_keeps_is_encrypted(make):
    desk, _ = make()
    blob = desk.rows("SELECT files FROM config")[0][0]
    assert b"channels" not in blob
