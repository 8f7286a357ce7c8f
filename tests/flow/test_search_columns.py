"""Searchable columns of a running engine: of what arrives, is replayed and split, whatever becomes of it."""

from __future__ import annotations

import pytest
from desk import config

from engine.cli.lint import linted
from engine.spec.channel import load
from engine.store import columns, search

COLUMNS = "    search: {columns: {number: PID-3.1, sender: {path: MSH-3, plain: true}, ward: PV1-3.1}}\n"


def declared(**options):
    return config(**options).replace("    lanes:", f"{COLUMNS}    lanes:")


def found(desk, **wanted):
    return [row.control_id for row in search.find(desk.engine.store.reader, columns=wanted)]


def test_what_arrives_is_found_by_its_columns(make):
    desk, _ = make(declared())
    desk.send(("a1", "A"), ("b1", "B"), ("a2", "A"))
    assert found(desk, number="A") == ["a2", "a1"]
    assert found(desk, sender="EH*", number="B") == ["b1"]
    assert found(desk, ward="ICU") == []
    desk.act("replay", "b1", force=True)
    assert found(desk, number="B") == ["b1", "b1"]
    assert {one.name for one in columns.declared(desk.engine.store.reader)["adt"]} == {
        "number",
        "sender",
        "ward",
    }


def test_a_channel_that_only_receives_has_columns_too(make):
    desk, _ = make(f"{config()}  lab:\n    listener: {{mllp: {{port: 2576}}}}\n{COLUMNS}")
    desk.send(("a1", "A"), ("b1", "B"), channel="lab")
    assert found(desk, number="B") == ["b1"]
    assert desk.rows("SELECT DISTINCT state FROM message") == [("TRANSFORMED",)]


def test_a_killed_engine_writes_them_once(make):
    desk, out = make(declared())
    out.auto = None
    desk.receive("a1", "A")
    desk.crash()
    desk.send(("a2", "A"))
    assert found(desk, number="A")[0] == "a2"
    assert desk.rows("SELECT count(*) FROM message_column WHERE name = 'number'") == desk.rows(
        "SELECT count(*) FROM message"
    )


@pytest.mark.parametrize(
    ("search_", "told"),
    [
        ("{columns: {ward: PV1-300}}", "4:34: error: PV1 Patient Visit has no field 300"),
        ("{columns: {ward: {path: 'PID-'}}}", "4:30: error: cannot read 'PID-'"),
        ("{columns: {Ward No: PV1-3}}", "4:33: error: search.columns.Ward No: must be of small letters"),
        (
            "{columns: {ward: {path: PV1-3, plane: true}}}",
            "4:44: error: unknown key 'plane'. Did you mean 'plain'?",
        ),
        ("{column: {ward: PV1-3}}", "4:14: error: unknown key 'column'. Did you mean 'columns'?"),
    ],
)
def test_wrong_columns_are_told_with_their_place(tmp_path, search_, told):
    file = tmp_path / "channels.yaml"
    file.write_text(f"channels:\n  adt:\n    listener: {{mllp: {{port: 2575}}}}\n    search: {search_}\n")
    problems = linted(load(file))
    assert [str(one) for one in problems if told in str(one)], [str(one) for one in problems]


def test_a_duplicate_that_goes_no_further_is_found_too(make):
    once = "    filters: [{duplicate: {by: PID-3.1, window: 1h}}]\n"
    desk, _ = make(declared().replace("    lanes:", f"{once}    lanes:"))
    desk.send(("a1", "A"), ("a2", "A"))
    assert desk.rows("SELECT state FROM message ORDER BY id") == [("TRANSFORMED",), ("FILTERED",)]
    assert found(desk, number="A") == ["a2", "a1"]
