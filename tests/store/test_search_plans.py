"""Searches of many messages: right whatever is asked, and by indexes, as SQLite says that it will do."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from bench.search import filters, questions
from bench.search_store import START, STEP, fill
from engine.security.keyring import open_keyring
from engine.store import columns, search
from engine.store.causes import fingerprint
from engine.store.store import open_store
from engine.store.tx import Q

COUNT = 9_000  # five stretches
LAZY = (  # met soon on the way from the newest message: rows are read in the order of ids until the page is full
    "newest", "channel_and_state", "type", "deliveries_sent", "deep_page", "since_the_first_half",
    "until_the_first_half", "an_hour", "destination_of_all",
)  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    found = open_store(folder, open_keyring(folder), mode="engine")
    fill(found, open_keyring(folder), COUNT, lambda line: None)
    found.writer.call(
        lambda tx: (
            tx.execute("UPDATE message SET received_at = received_at - 5000000 WHERE id % 7 = 0").rowcount
        )
    )
    yield found
    found.close()


@pytest.fixture(scope="module")
def everything(store):
    """Each message with all that filters look at, read without any of them."""
    tx = store.reader
    rows = tx.rows(
        "SELECT id, channel, state, received_at, control_id, mrn, visit, type FROM message ORDER BY id"
    )
    deliveries, kept = {}, {}
    for number, state, code, destination in tx.rows(
        "SELECT message_id, state, error_code, destination FROM delivery"
    ):
        deliveries.setdefault(number, []).append((state, code, destination))
    for number, name, value in tx.rows("SELECT message_id, name, value FROM message_column"):
        kept.setdefault(number, {})[name] = value
    return rows, deliveries, kept


def fits(tx, row, deliveries, kept, wanted):
    number, channel, state, at, control_id, mrn, visit, kind = row
    told = {
        "channel": lambda v: channel == v, "channels": lambda v: channel in v, "state": lambda v: state == v,
        "since": lambda v: at >= v, "until": lambda v: at < v, "control_id": lambda v: control_id == v,
        "mrn": lambda v: mrn == tx.blind(v), "visit": lambda v: visit == tx.blind(v),
        "type": lambda v: kind == v or kind.startswith(f"{v}^"), "after": lambda v: number < v,
        "columns": lambda v: all(
            kept["ward"].startswith(value[:-1]) if value.endswith("*")
            else kept[name] in (value, columns.stored(tx, name, value, False)) for name, value in v.items()
        ),
    }  # fmt: skip
    of_delivery = [wanted.get(name) for name in ("delivery_state", "error_code", "destination")]
    return all(told[name](value) for name, value in wanted.items() if name in told) and (
        of_delivery == [None] * 3
        or any(all(v in (None, has) for v, has in zip(of_delivery, one, strict=True)) for one in deliveries)
    )


MORE = {
    "discarded_of_a_destination": {"destination": "odoo", "delivery_state": "DISCARDED"},
    "errors_of_a_destination": {"state": "ERROR", "destination": "odoo"},
    "archived_of_a_channel": {"channel": "quiet", "destination": "archive"},
    "patient_of_a_channel": {"mrn": "1000003", "channel": "quiet"},
    "rare_and_filtered": {"type": "ADT^A01", "state": "FILTERED"},
    "discarded_of_a_patient": {"delivery_state": "DISCARDED", "mrn": "1000002"},
    "ward_in_a_time": {"columns": {"ward": "W1*"}, **filters(COUNT)["an_hour"], "channel": "bench"},
    "quiet_later": {"channel": "quiet", "after": 20},
}


@pytest.mark.parametrize("name", [*filters(COUNT), *MORE])
def test_exactly_what_fits_is_found_in_pages_from_both_ends(store, everything, name):
    wanted = {**filters(COUNT), **MORE}[name]
    rows, deliveries, kept = everything
    tx = store.reader
    expected = [
        row[0] for row in rows if fits(tx, row, deliveries.get(row[0], []), kept.get(row[0], {}), wanted)
    ]
    newest = [row.id for row in search.find(tx, **wanted, limit=COUNT)]
    assert newest == expected[::-1]
    assert [row.id for row in search.find(tx, **wanted, limit=20)] == newest[:20]
    if "after" not in wanted:
        assert [row.id for row in search.find(tx, **wanted, limit=20, oldest=True)] == expected[:20]


def test_any_two_filters_find_exactly_what_fits_both(store, everything):
    rows, deliveries, kept = everything
    tx, singles = store.reader, {name: one for name, one in filters(COUNT).items() if len(one) == 1}
    alone = {
        name: {row[0] for row in rows if fits(tx, row, deliveries.get(row[0], []), kept.get(row[0], {}), one)}
        for name, one in singles.items()
    }
    by_id, asked = {row[0]: row for row in rows}, 0
    for (first, one), (second, other) in combinations(singles.items(), 2):
        wanted = {**one, **other}
        if len(wanted) < 2:
            continue
        expected = [
            number
            for number in sorted(alone[first] & alone[second], reverse=True)
            if fits(tx, by_id[number], deliveries.get(number, []), kept.get(number, {}), wanted)
        ]
        assert [row.id for row in search.find(tx, **wanted, limit=30)] == expected[:30], (first, second)
        asked += 1
    assert asked > 200


@pytest.mark.parametrize("name", [name for name in questions(COUNT) if name not in LAZY])
def test_what_is_rare_is_found_by_an_index(store, name):
    asked, db = [], store.reader.db
    db.set_trace_callback(asked.append)
    questions(COUNT)[name](store.reader)
    db.set_trace_callback(None)
    plans = [row[3] for sql in asked if "SELECT" in sql for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert plans
    read = [
        step
        for step in plans
        if step in ("SCAN message", "SCAN m", "SCAN delivery", "SCAN body", "SCAN message_column")
    ]
    assert not read, plans


@pytest.mark.parametrize("name", LAZY)
def test_what_is_frequent_is_read_in_the_order_of_ids(store, name):
    asked, db = [], store.reader.db
    db.set_trace_callback(asked.append)
    questions(COUNT)[name](store.reader)
    db.set_trace_callback(None)
    (sql,) = [one for one in asked if one.startswith("SELECT id, channel")]
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_a_stretch_without_messages_is_forgotten(tmp_path):
    ring = open_keyring(tmp_path)
    one = open_store(tmp_path, ring, mode="engine")
    fill(one, ring, 5_000, lambda line: None)
    one.writer.call(lambda tx: tx.execute("DELETE FROM message WHERE id < 4500").rowcount)
    one.writer.call(lambda tx: tx.execute(Q["prune_kinds"]).rowcount)
    assert one.reader.rows("SELECT min(stretch) FROM message_kind") == [(2,)]
    assert search.find(one.reader, channel="quiet") == []
    one.close()


def looked_into(store, **wanted):
    """The stretches that a search asks for, in order."""
    asked, db = [], store.reader.db
    db.set_trace_callback(asked.append)
    found = search.find(store.reader, **wanted, limit=20)
    db.set_trace_callback(None)
    sql = next(one for one in asked if one.startswith("SELECT id, channel"))
    return [row.id for row in found], [int(one) for one in re.findall(r"id >= (\d+) << 11 AND", sql)]


def test_a_channel_that_hardly_ever_lets_one_through_is_not_read_wholly(tmp_path):
    ring = open_keyring(tmp_path)
    one = open_store(tmp_path, ring, mode="engine")
    fill(one, ring, 9_000, lambda line: None)

    def filtered(tx):
        """As if a filter had stopped all but the first message of stretch 1."""
        tx.execute("UPDATE message SET state = 'FILTERED' WHERE id <> 2048")
        return tx.execute("DELETE FROM message_outcome WHERE state = 'TRANSFORMED' AND stretch <> 1").rowcount

    one.writer.call(filtered)
    found, looks = looked_into(one, state="TRANSFORMED")
    assert found == [2048] and looks == [1]
    one.close()


def test_what_was_sent_although_something_is_told_of_it_is_found_without_reading_what_was_sent(tmp_path):
    ring = open_keyring(tmp_path)
    one = open_store(tmp_path, ring, mode="engine")
    fill(one, ring, 3_000, lambda line: None)
    sent = {"delivery_state": "SENT"}

    def tell(tx):
        sql = "UPDATE delivery SET {} WHERE message_id IN ({}) AND state = 'SENT'"
        tx.execute(sql.format("error_code = 'odd', error_place = 'PID-3'", "100, 2800"))
        return tx.execute(sql.format("error_place = 'PID-5'", "2900")).rowcount

    for wanted, fit in (
        ({"error_code": "odd"}, [2800, 100]),
        ({"error_code": "odd", "destination": "odoo"}, [2800, 100]),
        ({"error_code": "odd", "destination": "archive"}, []),
        ({"error_code": "odd", "until": START + 1000 * STEP}, [100]),
        ({"error_place": "PID-5"}, [2900]),
        ({"cause": fingerprint("odd", "PID-3")}, [2800, 100]),
        ({"error_code": "odd", "mrn": str(1_000_000 + 99)}, [100]),
    ):
        for told in (False, True):
            if told:
                one.writer.call(tell)
            found = [row.id for row in search.find(one.reader, **sent, **wanted, limit=20)]
            assert found == (fit if told else []), wanted
            asked, db = [], one.reader.db
            db.set_trace_callback(asked.append)
            search.find(one.reader, **sent, **wanted, limit=20)
            db.set_trace_callback(None)
            plans = [
                row[3]
                for sql in asked
                if sql.startswith("SELECT id, ")
                for row in db.execute(f"EXPLAIN QUERY PLAN {sql}")
            ]
            of_deliveries = [step for step in plans if "delivery" in step]
            assert of_deliveries and all("delivery_sent_error" in step for step in of_deliveries), plans
        one.writer.call(
            lambda tx: tx.execute("UPDATE delivery SET error_code = NULL, error_place = NULL").rowcount
        )
    one.close()


def test_a_deep_page_and_a_time_begin_where_they_are(store):
    """Not at the newest message: of a rare type every further page would be read from there, again and again."""
    until = filters(COUNT)["newest"] | {"delivery_state": "SENT", "until": START + 100 * STEP}
    _, looks = looked_into(store, **until)
    assert looks == [0], "from ten minutes later on, as clocks are set back"
    asked, db = [], store.reader.db
    db.set_trace_callback(asked.append)
    search.find(store.reader, channel="quiet", after=20)
    db.set_trace_callback(None)
    (sql,) = [one for one in asked if one.startswith("SELECT id, channel")]
    assert "+id < 20" in sql and "id < (0 + 1) << 11" in sql, "the range of ids is the stretch"
