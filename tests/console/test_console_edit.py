"""Edit and replay in the console: by who may see and act, text and bytes both ways, nothing in clear."""

from __future__ import annotations

import base64

import pytest
from console_desk import BASE

from console import editing
from console.problems import Refused
from engine.security.roles import Grant, Role
from engine.store import audit, users

TEXT = (
    "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302||ADT^A01^ADT_A01|C1|P|2.5.1\n"
    "PID|1||100234^^^RGH^MR||Vogelsang^Nora||19840917|F\n"
)


@pytest.mark.parametrize(
    "raw",
    [
        b"MSH|^~\\&|A|B\rPID|1\r",
        b"MSH|^~\\&|A|B\r\nPID|1",
        "MSH|^~\\&|A|B||||||||||||||UNICODE UTF-8\rPID|1||Müller\r".encode(),
        "MSH|^~\\&|A|B||||||||||||||8859/1\rPID|1||Müller\r".encode("latin-1"),
        b'{"resourceType": "Patient",\n "id": "1"}\n',
    ],
)
def test_text_and_bytes_go_both_ways(raw):
    text = editing.text_of(raw)
    assert "\r" not in text
    assert editing.bytes_of(text, raw) == raw
    assert editing.bytes_of(text.replace("\n", "\r\n"), raw) == raw, "as a form sends it"


def test_a_character_that_the_set_has_not_is_told_with_its_line():
    raw = b"MSH|^~\\&|A|B||||||||||||||8859/1\rPID|1||Muller\r"
    with pytest.raises(Refused, match="line 2"):
        editing.bytes_of(editing.text_of(raw).replace("u", "ů"), raw)
    wider = editing.text_of(raw).replace("8859/1", "UNICODE UTF-8").replace("u", "ů")
    assert "Můller".encode() in editing.bytes_of(wider, raw)


def test_control_characters_are_not_put_into_a_form():
    with pytest.raises(Refused, match="control"):
        editing.text_of(b"MSH|^~\\&|A|B\rPID|1\x00\r")


def test_it_is_edited_looked_at_and_replayed(editor, put, store, engine):
    number = put()
    page = editor.post(f"/messages/{number}/edit")
    assert "Keller^Nora" in page.text and audit.find(store.reader, action="phi.reveal")[0].detail == "edit"
    looked = editor.post(f"/messages/{number}/edit/preview", text=TEXT, note="name was wrong")
    assert "<del>Keller</del>" in looked.text and "<ins>Vogelsang</ins>" in looked.text
    assert "Patient Name" in looked.text and "Replay as edited" in looked.text
    assert not engine
    done = editor.post(f"/messages/{number}/edit/replay", text=TEXT, note="name was wrong")
    assert done.status_code == 303 and done.headers["location"] == f"/messages/{number}"
    ((command, secret),) = engine
    assert secret == TEXT.replace("\n", "\r").encode() and command.actor == "editor"
    (row,) = audit.find(store.reader, action="messages.edit")
    assert (row.actor, row.object, row.detail) == ("editor", str(number), "name was wrong")
    clear = store.reader.rows("SELECT args FROM command") + store.reader.rows(
        "SELECT detail, object FROM audit"
    )
    assert "Vogelsang" not in str(clear)


def test_it_is_not_done_to_what_is_unchanged_older_or_gone(editor, put, store, engine):
    old = put()
    unchanged = editor.post(f"/messages/{old}/edit/replay", text=TEXT.replace("Vogelsang", "Keller"))
    assert unchanged.status_code == 422
    put("C2", mrn="200")
    other = TEXT.replace("100234", "200")
    assert "older data" in editor.post(f"/messages/{old}/edit/preview", text=other).text.lower()
    assert editor.post(f"/messages/{old}/edit/replay", text=other).status_code == 409
    assert audit.find(store.reader, action="messages.edit")[0].outcome == "refused"
    assert editor.post(f"/messages/{old}/edit/replay", text=other, force="1").status_code == 303
    assert editor.post("/messages/99/edit").status_code == 404
    store.writer.call(lambda tx: tx.execute("DELETE FROM body").rowcount)
    assert editor.post(f"/messages/{old}/edit").status_code == 409
    assert len(engine) == 1


def test_only_who_may_see_and_act_edits(browser, put, store, hashed):
    number = put(channel="siu")
    for name in ("seer", "operator", "analyst", "admin"):  # sees and does not act; acts and does not see
        assert browser(name).post(f"/messages/{number}/edit").status_code == 403
    store.writer.call(
        lambda tx: users.add(
            tx, "half", hashed, [Grant(Role.OPERATOR, ("adt",)), Grant(Role.VIEWER)], reveal=True
        )
    )
    one = browser("half")
    for path in ("edit", "edit/preview", "edit/replay"):
        assert one.post(f"/messages/{number}/{path}", text=TEXT).status_code == 403
    assert not store.reader.rows("SELECT 1 FROM command")


def test_the_api_does_the_same(editor, put, engine):
    number = put()
    headers = {"x-csrf-token": editor.csrf, "origin": BASE}
    path = f"/api/v1/messages/{number}/edit"
    made = editor.http.post(path, json={"text": TEXT, "note": "n"}, headers=headers)
    assert made.status_code == 201 and made.json() == {"id": number, "parent_id": number}
    assert engine[0][1] == TEXT.replace("\n", "\r").encode()
    exact = TEXT.replace("Vogelsang", "V\u00f6gel\x01").encode("latin-1")
    sent = {"content": base64.b64encode(exact).decode()}
    assert editor.http.post(path, json=sent, headers=headers).status_code == 201
    assert engine[1][1] == exact, "bytes are taken as they are"
    for wrong in ({"text": ""}, {}, sent | {"text": TEXT}, {"content": "no base64"}):
        assert editor.http.post(path, json=wrong, headers=headers).status_code == 422
