"""Steps and provenance of a message, its family, and whether what failed would now pass: masked, for who may see it."""

from __future__ import annotations

import json

import pytest

from console.again import spread
from console.tracing import hidden
from engine.store import audit, deliveries, family, messages, servers
from tests.small import small

VALUES = """{name: "{{ msg['PID-5.2'] }} {{ msg['PID-5.1'] }}", function: "{{ msg['PID-8'] }}"}"""
CONFIG = small(
    VALUES, filters="""[{condition: "msg['PV1-2'] != 'T'"}]""", sexes="{F: female}, otherwise: error"
)


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "channels.yaml").write_text(CONFIG)


def test_each_value_is_told_with_its_source_and_masked_until_revealed(configured, browser, put, store):
    number = put()
    viewer, seer = browser("viewer"), browser("seer")
    page = viewer.get(f"/messages/{number}/trace").text
    assert "code_table" in page and "PID-8" in page and "PID-5.1" in page and "res.partner" in page
    assert "patient.registered" in page or "Canonical event" in page
    assert not [word for word in ("Keller", "Nora", "100234", "female") if word in page]
    assert viewer.post(f"/messages/{number}/trace").status_code == 403
    shown = seer.post(f"/messages/{number}/trace").text
    assert "Nora Keller" in shown and "female" in shown and "patient/100234" in shown
    assert audit.find(store.reader, action="phi.reveal")[0].detail == "trace"
    told = viewer.get(f"/api/v1/messages/{number}/trace").json()
    (operation,) = told["destinations"][0]["operations"]
    name = next(value for value in operation["values"] if value["field"] == "name")
    assert [place["path"] for place in name["sources"]] == ["PID-5.1", "PID-5.2"] and name["value"] == "•••"
    assert "msg['PID-5.2']" in name["text"]


def test_a_trace_without_values_says_nothing_of_the_patient():
    secret = "Keller"
    place = {"path": "PID-5.1", "name": "Family Name", "value": secret}
    told = {
        "because": [place], "why": "",
        "steps": [{"label": "x", "saw": [place], "changed": [{"path": "PID-5", "old": secret, "new": secret}],
                   "rows": [{"table": "sex", "code": secret, "value": secret, "where": secret}]}],
        "variables": [{"field": "v", "value": {"deep": secret}, "sources": [place], "rows": []}],
        "events": [{"type": "patient.registered", "subject": secret, "values": [{"field": "name", "value": secret}]}],
        "destinations": [{"payload": secret, "operations": [{"key": secret, "values": [{"value": [secret]}]}]}],
        "answers": [f"MSH|^~\\&|A\rMSA|AA|1\rZZZ|{secret}\r"],
    }  # fmt: skip
    found = json.dumps(hidden(told))
    assert secret not in found and "PID-5.1" in found and "MSA|AA|1" in found
    assert secret in json.dumps(told), "the trace itself stays as it is"


def test_a_trace_of_what_cannot_be_traced_says_why(configured, browser, put, store):
    elsewhere = put(channel="siu")
    one = browser("adt")
    assert one.get(f"/messages/{elsewhere}/trace").status_code == 404
    assert one.get("/messages/99/trace").status_code == 404
    assert "no channel" in browser("viewer").get(f"/messages/{elsewhere}/trace").text
    here = put("C2")
    store.writer.call(lambda tx: tx.execute("DELETE FROM body").rowcount)
    assert "not kept" in one.get(f"/messages/{here}/trace").text


def test_a_family_is_told_over_channels(browser, put, store):
    eldest, other = put(), put("C9")
    child = put("C2", channel="siu")
    grandchild, sibling = put("C3"), put("C4")
    lines = [(eldest, messages.PART, child), (child, messages.EDITED, grandchild), (eldest, 0, sibling)]
    store.writer.call(
        lambda tx: tx.executemany("UPDATE message SET parent_id = ?, flags = ? WHERE id = ?", lines).rowcount
    )
    expected = [
        (eldest, 0, ""),
        (child, 1, "part"),
        (grandchild, 2, "edited copy"),
        (sibling, 1, "replay"),
    ]
    for number in (eldest, child, grandchild, sibling):
        found = family.family(store.reader, number)
        assert [(one.id, one.depth, one.lineage) for one in found] == expected
    assert [one.id for one in family.family(store.reader, other)] == [other]
    assert family.family(store.reader, 99) == []
    page = browser("viewer").get(f"/messages/{sibling}").text
    assert f'href="/messages/{grandchild}"' in page
    timeline = page[page.index('class="timeline"') : page.index("</ol>")]
    told = [
        timeline.index(text)
        for text in ("the origin</strong> adt", "a part</strong> siu", "an edited copy</strong> adt")
    ]
    assert told == sorted(told), "what came of it and of its relatives, over channels, in the order of time"
    assert all(f'href="/messages/{one}"' in timeline for one in (eldest, child, grandchild))
    assert f'href="/messages/{sibling}"' not in timeline
    hidden_channel = browser("adt").get(f"/messages/{sibling}").text
    assert f'href="/messages/{child}"' not in hidden_channel


def test_what_failed_is_tried_again_after_a_fix(configured, browser, put, tmp_path):
    raw = b"MSH|^~\\&|A|B|||20260302||ADT^A01|C%d|P|2.5\rPID|1||%d||A^B|||%b\rPV1|1|%b\r"
    for n, (sex, kind) in enumerate([(b"F", b"I"), (b"F", b"T"), (b"W", b"I"), (b"X", b"I")]):
        put(f"C{n}", error="table.code", raw=raw % (n, n, sex, kind))
    one = browser("operator")
    headers = {"x-csrf-token": one.csrf}
    (group,) = one.get("/api/v1/errors").json()
    kind = {"channel": group["channel"], "cause": group["cause"]}

    def tried():
        return one.http.post("/api/v1/errors/again", json=kind, headers=headers).json()

    found = tried()
    assert (found["total"], found["looked_at"]) == (4, 4)
    assert (found["passing"], found["filtered"], found["failing"]) == (1, 1, 2)
    assert "PID-8" in found["reasons"][0]["why"] and not found["destination_asked"]
    (tmp_path / "channels.yaml").write_text(CONFIG.replace("{F: female}", "{F: female, W: female, X: x}"))
    assert tried()["passing"] == 3
    assert "3 would now pass" in one.post("/errors/again", **kind).text
    assert browser("viewer").post("/errors/again", **kind).status_code == 403
    gone = one.http.post("/api/v1/errors/again", json=kind | {"cause": "ffff"}, headers=headers)
    assert gone.status_code == 422


@pytest.mark.parametrize(("count", "most"), [(1, 5), (5, 5), (6, 5), (312, 50), (10_000, 1000)])
def test_a_sample_is_even_and_holds_both_ends(count, most):
    ids = list(range(1, count + 1))
    some = spread(ids, most)
    assert len(set(some)) == len(some) == min(count, most)
    assert some[0] == 1 and some[-1] == count and some == sorted(some)


def test_records_link_to_odoo_at_the_address_of_the_connection(browser, put, store):
    number, other = put(), put("C2", channel="siu")
    for one in (number, other):
        sent = deliveries.Delivered(
            one, "odoo", "SENT", store.reader.now(), record="res.partner,7 sale.order,9"
        )
        store.writer.call(lambda tx, sent=sent: deliveries.deliver(tx, sent))
    places = {
        "adt": {"odoo": "https://odoo.test/", "other": "https://name:secret@odoo.test"},
        "siu": {"odoo": "sandbox:"},
    }
    store.writer.call(lambda tx: servers.keep(tx, places))
    assert servers.known(store.reader)["adt"] == {"odoo": "https://odoo.test/"}
    viewer = browser("viewer")
    page = viewer.get(f"/messages/{number}").text
    assert 'href="https://odoo.test/web#id=7&amp;model=res.partner&amp;view_type=form"' in page
    assert "sale.order,9" in page
    hidden_ = viewer.get(f"/messages/{other}").text
    assert "<code>res.partner,7</code>" in hidden_ and "web#id" not in hidden_
    told = viewer.get(f"/api/v1/messages/{number}").json()["deliveries"][0]["links"]
    assert [one["name"] for one in told] == ["res.partner,7", "sale.order,9"]
    patient = viewer.get(viewer.post("/patients", mrn="100234").headers["location"]).text
    assert "https://odoo.test/web#id=9" in patient
