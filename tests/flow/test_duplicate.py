"""The `duplicate` filter: what came before goes no further, exactly, whatever crashes; a replay is no duplicate."""

import pytest
from desk import Desk, Sent, scripted
from test_split import RAW

CONFIG = """
channels:
  adt:
    listener: {{mllp: {{port: 2575}}}}
    duplicates: {{window: 0}}
    {steps}
    destinations:
      out: {{scripted: {{name: out}}{own}}}
      also: {{scripted: {{name: also}}}}
"""
CHANNEL = CONFIG.format(steps="filters: [{duplicate: {by: PID-3.1, window: 1h}}]", own="")


@pytest.fixture
def make(tmp_path):
    with scripted() as destinations:
        desks = []

        def start(text=CHANNEL):
            desk = Desk(tmp_path, text)
            desk.out, desk.also = destinations["out"], destinations["also"]
            desks.append(desk)
            return desk

        yield start
        for desk in desks:
            desk.stop()


def fates(desk):
    return desk.rows("SELECT control_id, state, reason FROM message ORDER BY id")


def test_within_the_window_once_and_after_it_again(make):
    desk = make()
    desk.send(("C1", "P1"), ("C2", "P1"), ("C3", "P2"))
    reason = "filters[0] duplicate: the same PID-3.1 came with message 1"
    assert fates(desk) == [
        ("C1", "TRANSFORMED", None),
        ("C2", "FILTERED", reason),
        ("C3", "TRANSFORMED", None),
    ]
    assert desk.out.effects == desk.also.effects == ["C1", "C3"]
    assert desk.open() == {"adt": 0}
    desk.advance(3600)
    desk.send(("C4", "P1"))  # still
    desk.advance(1)
    desk.send(("C5", "P1"), ("C6", "P1"))
    assert [row[1] for row in fates(desk)[3:]] == ["FILTERED", "TRANSFORMED", "FILTERED"]
    assert fates(desk)[5][2].endswith("message 5")


def test_a_value_that_is_not_there_is_no_duplicate(make):
    desk = make()
    desk.send(("C1", ""), ("C2", ""))
    assert [row[1] for row in fates(desk)] == ["TRANSFORMED"] * 2


def test_a_crash_at_any_moment_lets_one_pass_and_only_one(tmp_path):
    for turns in range(14):
        with scripted() as destinations:
            folder = tmp_path / str(turns)
            folder.mkdir()
            desk = Desk(folder, CHANNEL)
            for number in range(4):
                desk.receive(f"C{number}", "P1")
            for _ in range(turns):
                if not desk.reactor.run_handed(wait=desk.engine.writer._committing is not None):
                    desk.reactor.advance(0)
            desk.crash()
            desk.settle()
            states = [row[1] for row in fates(desk)]
            assert states == ["TRANSFORMED", "FILTERED", "FILTERED", "FILTERED"][: len(states)]
            assert set(destinations["out"].effects) <= {"C0"}
            desk.send(("C9", "P1"))
            assert [row[1] for row in fates(desk)].count("TRANSFORMED") == 1
            desk.stop()


def test_what_ended_in_error_has_not_come(make):
    broken = "transformers: [{set: {vars: {x: \"{{ 1 // 0 }}\"}, when: \"msg['MSH-10'] == 'C1'\"}}]"
    desk = make(CHANNEL.replace("    destinations", f"    {broken}\n    destinations"))
    desk.send(("C1", "P1"), ("C2", "P1"), ("C3", "P1"))
    assert [row[1] for row in fates(desk)] == ["ERROR", "TRANSFORMED", "FILTERED"]
    desk.act("replay", "C1")  # C2 has come meanwhile
    assert fates(desk)[3][1] == "FILTERED"


def test_a_replay_is_no_duplicate_of_what_it_repeats_but_of_others(make):
    desk = make()
    desk.send(("C1", "P1"), ("C2", "P1"))
    desk.act("replay", "C1")
    desk.act("replay", "C1")
    desk.act_on([3], "replay")
    assert [row[1] for row in fates(desk)] == ["TRANSFORMED", "FILTERED", *["TRANSFORMED"] * 3]
    desk.act("replay", "C2")
    desk.send(("C3", "P1"))
    assert [row[1] for row in fates(desk)[5:]] == ["FILTERED"] * 2


def test_in_a_destination_it_stops_what_went_there(make):
    desk = make(CONFIG.format(steps="", own=", filters: [{duplicate: {by: PID-3.1}}]"))
    desk.send(("C1", "P1"), ("C2", "P1"))
    assert (desk.out.effects, desk.also.effects) == (["C1"], ["C1", "C2"])
    assert [row[1] for row in fates(desk)] == ["TRANSFORMED"] * 2
    assert desk.open() == {"adt": 0}


def test_parts_of_a_message_are_compared_with_each_other_and_not_with_it(make):
    steps = "filters: [{duplicate: {by: OBR-4}}]\n    transformers: [{split: OBR}]"
    desk = make(CONFIG.format(steps=steps, own=""))
    raw = RAW.replace(b"OBR|3||C", b"OBR|3||A")  # the same as the first; OBR-4 is empty below: moved
    raw = raw.replace(b"||A", b"|||A").replace(b"||B", b"|||B")
    desk.engine.channels["adt"].receive(Sent(raw, desk.now()))
    desk.settle()
    assert [row[1] for row in fates(desk)] == ["FILTERED", "TRANSFORMED", "TRANSFORMED", "FILTERED"]
    assert desk.out.effects == ["C1-1", "C1-2"]
    desk.act_on([1], "replay")
    assert [row[1] for row in fates(desk)[4:]] == ["FILTERED", "TRANSFORMED", "TRANSFORMED", "FILTERED"]


def test_the_whole_message_but_what_may_differ(make):
    desk = make(CHANNEL.replace("by: PID-3.1", "ignore: [MSH-10, MSH-7]"))
    desk.send(("C1", "P1"), ("C2", "P1"), ("C3", "P2"))
    assert [row[1] for row in fates(desk)] == ["TRANSFORMED", "FILTERED", "TRANSFORMED"]


def test_what_no_window_needs_is_forgotten(make):
    desk = make()
    desk.send(*((f"C{n}", f"P{n}") for n in range(5)))
    assert desk.rows("SELECT count(*) FROM seen") == [(5,)]
    for _ in range(100):
        desk.advance(60)
    assert desk.rows("SELECT count(*) FROM seen") == [(0,)]
