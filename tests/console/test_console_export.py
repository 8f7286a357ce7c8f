"""Exports: all that fits and no more, in bounded memory, masked without the right, audited before the first byte."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc

import pytest
from console_desk import Browser

from console import exporting
from console.acting import Desk
from console.queries import Query
from engine.security.roles import Grant, Identity, Role
from engine.store import audit


def export(one: Browser, form="hl7", status=200, **query):
    reveal = "&reveal=true" if query.pop("reveal", False) else ""
    answer = one.http.post(
        f"/api/v1/messages/export?format={form}{reveal}", json=query, headers={"x-csrf-token": one.csrf}
    )
    assert answer.status_code == status, answer.text
    return answer.content


def test_hl7_is_byte_for_byte_with_the_right_and_masked_without(editor, browser, put, store):
    put()
    put("C2", name="Vogelsang", raw=b"MSH|^~\\&|A|B||||||ADT^A01|C2|P|2.5\rPID|1||5||Vogelsang")
    whole = export(editor, reveal=True)
    assert whole.count(b"MSH|") == 2 and whole.endswith(b"||Vogelsang\r") and b"Keller^Nora" in whole
    assert [row.detail for row in audit.find(store.reader, action="phi.reveal")] == ["export hl7"]
    hidden = export(editor)
    assert b"Keller" not in hidden and b"Vogelsang" not in hidden and hidden.count(b"MSH|^~\\&|") == 2
    assert b"100234" not in export(browser("operator"))
    export(browser("operator"), status=403, reveal=True)
    export(browser("viewer"), status=403)


def test_json_holds_everything_that_they_may_see(editor, put):
    numbers = [put(), put("C2", error="table.code")]
    found = json.loads(export(editor, "json", reveal=True))
    assert [one["id"] for one in found] == numbers and "Keller" in found[0]["raw"]
    assert "Keller" not in export(editor, "json").decode()
    assert json.loads(export(editor, "json", channel="none")) == []


@pytest.mark.parametrize(
    ("evil", "harmless"),
    [
        *((one, f"'{one}") for one in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\tx", '=cmd|"/C calc"!A1')),
        *((one, f"'{one}") for one in ("\uff1d1+1", ' "=1', "'=1")),
        ("a;=1+1", "a;'=1+1"), ("a\t=1", "a\t'=1"), ('a,"@x', "a,'\"@x"), ("a\r\n-1", "a\r'\n-1"),
        ("A-1", "A-1"), ("a=b;c", "a=b;c"),
    ],
)  # fmt: skip
def test_a_table_holds_no_formula_also_where_another_sign_divides_cells(editor, put, evil, harmless):
    put(control_id=evil)
    (row,) = list(csv.DictReader(io.StringIO(export(editor, "csv").decode(), newline="")))
    assert row["control_id"] == harmless


def test_what_fits_is_exported_the_oldest_first(editor, browser, put, monkeypatch):
    monkeypatch.setattr(exporting, "PORTION", 2)
    numbers = [put(f"C{n}", channel="siu" if n == 3 else "adt") for n in range(7)]

    def ids(one=editor, **query):
        return [int(row["id"]) for row in csv.DictReader(io.StringIO(export(one, "csv", **query).decode()))]

    assert ids() == numbers
    assert ids(channel="siu") == numbers[3:4]
    assert ids(ids=[numbers[5], numbers[1]]) == [numbers[1], numbers[5]]
    assert ids(mrn="100234", state="TRANSFORMED") == numbers
    assert ids(text="keller") == numbers
    assert ids(browser("adt")) == [*numbers[:3], *numbers[4:]], "of their channels alone"


def test_who_took_which_message_is_kept_without_their_identifiers(editor, put, store):
    number = put()
    export(editor, "csv", mrn="100234")
    (row,) = audit.find(store.reader, action="messages.export")
    assert json.loads(row.detail) == {"by": ["mrn"], "format": "csv", "revealed": False}
    assert store.reader.rows("SELECT message_id, actor, detail FROM event WHERE kind = 'export'") == [
        (number, "editor", "csv")
    ]


def test_the_page_follows_it_and_gives_it_once(editor, browser, put):
    put()
    place = editor.post("/messages/export", format="csv").headers["location"]
    assert "Ready to be fetched" in editor.get(place).text
    assert browser("admin").get(place).status_code == 404, "another's"
    got = editor.get(f"{place}/file")
    assert got.headers["content-disposition"] == 'attachment; filename="messages.csv"'
    assert len(got.text.splitlines()) == 2
    assert "Complete" in editor.get(place).text and "hx-get" not in editor.get(place).text
    assert editor.get(f"{place}/file").status_code == 409
    assert editor.post("/messages/export", format="exe").status_code == 422


def test_an_export_that_nobody_reads_to_its_end_says_so_and_needs_no_memory(app, put, store):
    for n in range(60):
        put(f"C{n}", raw=b"MSH|^~\\&|A|B||||||ADT^A01|C%d|P|2.5\rOBX|1||%b\r" % (n, b"x%d" % n * 200_000))
    desk = Desk(app.state.stores, Identity("x", (Grant(Role.OPERATOR),), reveal=True), "")
    made = app.state.exports.offer(desk, Query(), "hl7", True)
    tracemalloc.start()
    told, pieces = app.state.exports.fetch(desk, made.id)
    size = sum(len(next(pieces)) for _ in range(50))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 20e6 and most < 8e6
    assert told.state == "running" and told.done >= 48
    pieces.close()
    assert told.state == "stopped"
