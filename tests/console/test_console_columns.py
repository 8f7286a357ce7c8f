"""Searchable columns in console and API: a field of the search, never in an address, unknown ones told."""

from __future__ import annotations

import re

import pytest

from engine.store import audit, columns
from engine.store.columns import Column


@pytest.fixture
def declared(store):
    some = {"adt": [Column("account", "PID-18", False), Column("ward", "PV1-3.1", True)]}
    store.writer.call(lambda tx: columns.keep(tx, some))

    def kept(number, **values):
        found = [columns.Found(name, value, name == "ward") for name, value in values.items()]
        store.writer.call(lambda tx: columns.write(tx, number, found))

    return kept


def test_messages_are_found_by_a_column_without_a_trace_in_the_address(browser, put, declared, store):
    one, two = put(), put("C2")
    declared(one, account="4711", ward="ICU")
    declared(two, account="4712", ward="IMC")
    viewer = browser("viewer")
    page = viewer.get("/messages").text
    assert 'name="column.account"' in page and "ward ICU" in page and "4711" not in page
    got = viewer.post("/messages", **{"column.account": "4711"}).text
    assert f'href="/messages/{one}"' in got and f'href="/messages/{two}"' not in got
    links = " ".join(re.findall(r'(?:href|action)="([^"]*)"', got))
    assert "4711" not in links
    assert audit.find(store.reader, action="messages.search")
    headers = {"x-csrf-token": viewer.csrf}
    found = viewer.http.post(
        "/api/v1/messages/search", json={"columns": {"ward": "I*"}}, headers=headers
    ).json()
    assert [row["columns"] for row in found["messages"]] == [{"ward": "IMC"}, {"ward": "ICU"}]


def test_all_that_a_column_finds_is_acted_on(browser, put, declared):
    one, two = put(), put("C2", mrn="200")
    declared(one, account="4711")
    declared(two, account="4712")
    operator = browser("operator")
    asked = operator.post("/acts", verb="replay", **{"column.account": "4711"}).text
    assert "Replay 1 message?" in asked and 'name="column.account" value="4711"' in asked
    assert operator.post("/acts", verb="replay", sure="1", **{"column.account": "4711"}).status_code == 303


@pytest.mark.parametrize("name", ["room", "ward; DROP TABLE message", "' OR 1=1 --", "value"])
def test_an_unknown_column_is_refused_and_becomes_no_sql(browser, put, declared, store, name):
    put()
    viewer = browser("viewer")
    headers = {"x-csrf-token": viewer.csrf}
    for wanted in ({name: "x"}, {"account": "x*"}):
        got = viewer.http.post("/api/v1/messages/search", json={"columns": wanted}, headers=headers)
        assert got.status_code == 422, got.text
    assert store.reader.rows("SELECT count(*) FROM message") == [(1,)]
