"""Text in content: a search says how far it looked and goes on; acts and exports by text are whole, or refused."""

from __future__ import annotations

import csv
import io
import re
from contextlib import contextmanager

from console import content
from engine.security.roles import Grant, Identity, Role
from engine.store import jobs, search

SEER = Identity("x", (Grant(Role.OPERATOR),), reveal=True)


def api(one, path, **body):
    return one.http.post(f"/api/v1/messages/{path}", json=body, headers={"x-csrf-token": one.csrf})


def test_a_search_tells_how_far_it_looked_and_goes_on_from_there(editor, put, monkeypatch):
    monkeypatch.setattr(content, "PORTION", 2)
    monkeypatch.setattr(content, "LOOKED_AT", 3)
    wanted = put("C0", name="Vogelsang")
    for n in range(1, 6):
        put(f"C{n}")
    first = api(editor, "search", text="vogelsang").json()
    assert first["messages"] == [] and first["looked_at"] == 3 and first["next"] and first["back_to"]
    rest = api(editor, f"search?after={first['next']}", text="vogelsang").json()
    assert [row["id"] for row in rest["messages"]] == [wanted]
    end = api(editor, f"search?after={rest['next']}", text="vogelsang").json() if rest["next"] else rest
    assert end["next"] is None
    assert api(editor, "search", type="ADT").json()["looked_at"] is None
    shown = editor.post("/messages", text="vogelsang").text
    assert (
        "Look further" in shown
        and "Looked into 3 messages, back to" in shown
        and "No messages fit so far" in shown
    )
    after = re.search(r'name="after" value="(\d+)"', shown)[1]
    further = editor.post("/messages", text="vogelsang", after=after).text
    assert f'href="/messages/{wanted}"' in further


def test_a_page_that_is_full_goes_on_below_its_last_message(editor, put):
    numbers = [put(f"C{n}", name="Vogelsang") for n in range(4)]
    first = api(editor, "search?limit=3", text="vogelsang").json()
    assert [row["id"] for row in first["messages"]] == numbers[:0:-1] and first["next"] == numbers[1]
    rest = api(editor, f"search?limit=3&after={first['next']}", text="vogelsang").json()
    assert [row["id"] for row in rest["messages"]] == numbers[:1] and rest["next"] is None


def test_an_act_by_text_is_about_every_message_or_about_none(editor, put, store, monkeypatch):
    monkeypatch.setattr(content, "PORTION", 2)
    monkeypatch.setattr(content, "LOOKED_AT", 3)
    numbers = [put(f"C{n}", name="Vogelsang" if n % 2 else "Keller", error="table.code") for n in range(9)]
    act = {"verb": "discard", "query": {"text": "vogelsang"}}
    assert api(editor, "acts/weigh", **act).json()["messages"] == 4
    monkeypatch.setattr("console.queries.ACTED", 8)
    refused = api(editor, "acts", **act)
    assert refused.status_code == 422 and "query.wide" in refused.json()["type"], refused.text
    assert jobs.newest(store.reader, 5) == []
    assert api(editor, "acts", **act, limit=3).json()["job"]["total"] == 3, (
        "the oldest three are within reach"
    )
    monkeypatch.setattr("console.queries.ACTED", 9)
    made = api(editor, "acts", **act).json()["job"]
    assert made["total"] == len(numbers) // 2


def test_an_act_on_many_is_chosen_in_portions_the_oldest_first_and_bounded(editor, put, store, monkeypatch):
    monkeypatch.setattr(search, "PORTION", 2)
    monkeypatch.setattr("console.queries.MOST", 5)
    numbers = [put(f"C{n}", error="table.code") for n in range(6)]
    act = {"verb": "discard", "query": {"state": "ERROR"}}
    refused = api(editor, "acts", **act)
    assert refused.status_code == 422 and refused.json()["title"] == "query.wide"
    job = api(editor, "acts", **act, limit=3).json()["job"]["id"]
    chosen = store.reader.rows("SELECT message_id FROM job_item WHERE job_id = ?", (job,))
    assert [number for (number,) in chosen] == numbers[:3]

    @contextmanager
    def reading():
        put(f"D{len(seen)}")
        seen.append(1)
        yield store.reader

    seen: list[int] = []
    assert search.ids(reading, 100, channel="adt") == [*numbers, numbers[-1] + 1] and len(seen) == 4


def test_an_export_by_text_is_whole(editor, put, monkeypatch):
    monkeypatch.setattr(content, "PORTION", 2)
    monkeypatch.setattr(content, "LOOKED_AT", 3)
    numbers = [put(f"C{n}", name="Vogelsang") for n in range(7)]
    put("D")
    answer = api(editor, "export?format=csv", text="vogelsang")
    assert [int(row["id"]) for row in csv.DictReader(io.StringIO(answer.text))] == numbers


def test_it_keeps_still_while_senders_are_busy_and_leaves_out_what_comes(app, put, monkeypatch):
    monkeypatch.setattr(content, "PORTION", 2)
    monkeypatch.setattr(content, "BUSY", 0)
    rests = []
    monkeypatch.setattr(content.time, "sleep", rests.append)
    numbers = [put(f"C{n}", name="Vogelsang") for n in range(6)]
    every = content.every(app.state.stores, SEER, "vogelsang", {})
    assert [row.id for row in every] == numbers and rests == [], "nobody sends"
    found = []
    for row in content.every(app.state.stores, SEER, "vogelsang", {}):
        found.append(row.id)
        put(f"D{row.id}", name="Vogelsang")
    assert found == numbers
    assert rests and all(rest > 0 for rest in rests)


def test_a_search_ends_in_time(app, put, monkeypatch):
    monkeypatch.setattr(content, "PORTION", 1)
    monkeypatch.setattr(content, "PATIENCE", -1)
    numbers = [put(f"C{n}") for n in range(3)]
    found = content.look(app.state.stores, SEER, "vogelsang", {}, None, 50)
    assert (found.rows, found.next, found.looked_at) == ([], numbers[2], 1)
