"""Searchable columns: written in C2, blind unless plain, found wherever they are, gone with their message."""

from __future__ import annotations

import sqlite3

import pytest
from store_bench import START

from engine.errors import StoreError
from engine.store import columns, messages, retention, search
from engine.store.columns import Column, Found

DECLARED = {"adt": [Column("account", "PID-18", False), Column("ward", "PV1-3", True)]}


@pytest.fixture
def filled(bench):
    bench.call(columns.keep, DECLARED)
    for n in range(1, 7):
        bench.receive(b"m%d" % n, at=START + n, control_id=f"C{n}", channel="adt", type="ADT^A01")
        found = [Found("account", f"A{n % 2}", False), Found("ward", "ICU" if n < 4 else "IMC", True)]
        bench.call(messages.route, messages.Routed(n, "FILTERED", START + n, columns=found))
    return bench


def ids(bench, **filters):
    return [row.id for row in search.find(bench.reader, **filters)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"account": "A1"}, [5, 3, 1]),
        ({"ward": "ICU"}, [3, 2, 1]),
        ({"ward": "I*"}, [6, 5, 4, 3, 2, 1]),
        ({"ward": "IM*"}, [6, 5, 4]),
        ({"ward": "icu"}, []),
        ({"ward": "ICU", "account": "A0"}, [2]),
        ({"ward": "' OR 1=1 --"}, []),
        ({"ward": "A1"}, []),
    ],
)
def test_a_column_finds_its_messages(filled, wanted, expected):
    assert ids(filled, columns=wanted) == expected
    assert ids(filled, columns=wanted, limit=2) == expected[:2]
    assert ids(filled, columns=wanted, limit=2, oldest=True) == expected[::-1][:2]
    assert ids(filled, columns=wanted, after=3) == [one for one in expected if one < 3]


def test_what_no_channel_declares_and_what_is_hidden_is_refused(filled):
    with pytest.raises(StoreError, match="no channel declares") as told:
        ids(filled, columns={"room": "1"})
    assert "account, ward" in str(told.value)
    with pytest.raises(StoreError, match="not plain"):
        ids(filled, columns={"account": "A*"})


def test_plain_values_are_shown_and_others_are_nowhere_in_clear(filled):
    assert search.find(filled.reader, ids=[1])[0].columns == {"ward": "ICU"}
    values = {
        value for (value,) in filled.reader.rows("SELECT value FROM message_column WHERE name = 'account'")
    }
    assert all(isinstance(value, int) for value in values) and len(values) == 2
    one = columns.stored(filled.reader, "account", "A1", False)
    assert one in values and one != columns.stored(filled.reader, "other", "A1", False)


def test_a_value_that_is_too_long_is_found_all_the_same(filled):
    long = "x" * 1000
    filled.receive(b"m7", at=START + 7, control_id="C7", channel="adt")
    made = messages.Routed(
        7, "FILTERED", START, columns=[Found("account", long, False), Found("ward", long, True)]
    )
    filled.call(messages.route, made)
    assert ids(filled, columns={"account": long}) == ids(filled, columns={"ward": long}) == [7]


def test_columns_go_with_their_message(filled):
    rule = retention.Rule("adt", "messages", START + 4)
    filled.call(retention.prune, rule, [1, 2, 3])
    assert filled.reader.rows("SELECT DISTINCT message_id FROM message_column") == [(4,), (5,), (6,)]


@pytest.mark.parametrize(
    "filters", [{"mrn": "M1"}, {"columns": {"ward": "ICU"}}, {"visit": "V1", "mrn": "M1"}]
)
def test_stretches_far_apart_are_all_looked_into(bench, filters):
    """As in a store of millions: the same rows, the ids set apart."""
    bench.call(columns.keep, DECLARED)
    expected = []
    for number, message_id in enumerate([1, 2047, 2048, 9_000, 70_000, 70_001, 1_000_000, 1_000_001], 1):
        mine = number % 2 == 0
        bench.receive(
            b"m%d" % number, control_id=f"C{number}", channel="adt", mrn="M1" if mine else "M2", visit="V1"
        )
        found = [Found("ward", "ICU" if mine else "IMC", True)]
        bench.call(messages.route, messages.Routed(number, "FILTERED", START, columns=found))
        for table, column in (("message_column", "message_id"), ("message", "id")):
            bench.call(
                lambda tx, t=table, c=column, n=number, i=-message_id: (
                    tx.execute(f"UPDATE {t} SET {c} = ? WHERE {c} = ?", (i, n)).rowcount
                )
            )
        expected += [message_id] * mine
    for table, column in (("message_column", "message_id"), ("message", "id")):
        bench.call(lambda tx, t=table, c=column: tx.execute(f"UPDATE {t} SET {c} = -{c}").rowcount)
    newest = expected[::-1]
    for limit in (1, 3, 100, 5000):
        assert ids(bench, **filters, limit=limit) == newest[:limit]
        assert ids(bench, **filters, limit=limit, oldest=True) == expected[:limit]
    assert ids(bench, **filters, after=70_001) == [one for one in newest if one < 70_001]
    assert ids(bench, **filters, after=2047, oldest=True) == [one for one in expected if one > 2047]


def test_searches_use_their_indexes(filled):
    """Not the clock: what SQLite says that it will do."""
    sql: list[str] = []
    db: sqlite3.Connection = filled.reader.db
    db.set_trace_callback(sql.append)
    ids(filled, columns={"ward": "ICU"})
    ids(filled, mrn="M1")
    db.set_trace_callback(None)
    plans = [
        " ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {one}"))
        for one in sql
        if "FROM message WHERE" in one and "stretch" in one
    ]
    assert len(plans) == 2
    assert "message_column_value (<expr>=? AND name=? AND value=?)" in plans[0]
    assert "message_mrn (<expr>=? AND mrn=?)" in plans[1]
    assert not any("SCAN message" in plan for plan in plans)
