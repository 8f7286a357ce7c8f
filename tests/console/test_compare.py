"""Two messages side by side: every difference once, at its path and by its name; masked until revealed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.compare import compare
from engine.hl7.er7 import Message
from engine.store import audit

HEAD = b"MSH|^~\\&|EHR|RGH|||20260302||ADT^A01|C1|P|2.5.1\r"


def told(old, new, reveal=True):
    return [
        (one.path, one.kind, one.old, one.new)
        for part in compare(old, new, reveal).parts
        for one in part.differences
    ]


def test_fields_are_told_by_path_and_name():
    found = compare(HEAD + b"PID|1||7||Keller^Nora\r", HEAD + b"PID|1||7||Keller^Nina^B\r", True)
    part = found.parts[1]
    assert (part.path, part.name, part.kind) == ("PID", "Patient Identification", "changed")
    assert [(one.path, one.kind, one.old, one.new) for one in part.differences] == [
        ("PID-5.2", "changed", "Nora", "Nina"), ("PID-5.3", "added", None, "B"),
    ]  # fmt: skip
    assert part.differences[0].name == "Patient Name / Given Name"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"PID|1||7\r", b'PID|1||""\r', [("PID-3", "changed", "7", '""')]),
        (b"PID|1||7\r", b"PID|1\r", [("PID-3", "removed", "7", None)]),
        (b"PID|1||7~8\r", b"PID|1||7~9\r", [("PID-3[2]", "changed", "8", "9")]),
        (b"PID|1||a\\T\\b\r", b"PID|1||a&b\r", [("PID-3", "removed", "a&b", None), ("PID-3.1.1", "added", None, "a"),
                                               ("PID-3.1.2", "added", None, "b")]),
        (b"OBX|1||A\rOBX|2||B\rOBX|3||C\r", b"OBX|1||A\rOBX|3||C\r", [("OBX[2]-1", "removed", "2", None),
                                                                    ("OBX[2]-3", "removed", "B", None)]),
        (b"NTE|1||x\rPID|1\r", b"PID|1\r", [("NTE-1", "removed", "1", None), ("NTE-3", "removed", "x", None)]),
        (b"ZPX|1|a\r", b"ZPX|1|b\r", [("ZPX-2", "changed", "a", "b")]),
    ],
)  # fmt: skip
def test_segments_stand_in_line(old, new, expected):
    assert told(HEAD + old, HEAD + new) == expected


def test_other_delimiters_and_character_sets_are_no_difference():
    old = "MSH|^~\\&|A|||||||||2.5||||||8859/1\rPID|1||7^8||Müller\r".encode("latin-1")
    new = "MSH#*~\\&#A#########2.5######UNICODE UTF-8\rPID#1##7*8##Müller\r".encode()
    assert [one[0] for one in told(old, new)] == ["MSH-18"]


def test_json_is_compared_by_its_places_and_text_by_its_lines():
    assert told(b'{"a": [1, {"b/c": "x"}]}', b'{"a": [1, {"b/c": "y"}], "d": null}') == [
        ("/a/1/b~1c", "changed", "x", "y"), ("/d", "added", None, "null"),
    ]  # fmt: skip
    assert told(b"a;b\nc;d\n", b"a;b\nc;e\n") == [("line 2", "changed", "c;d", "c;e")]


def test_without_the_right_only_places_are_told():
    old, new = HEAD + b"PID|1||7||Keller\rKeller\r", HEAD.replace(b"C1", b"C2") + b"PID|1||8||Vogel\rVogel\r"
    found = str(compare(old, new, False))
    assert not re.search(r"Keller|Vogel|'[78]'", found)
    assert "'C1'" in found and "'C2'" in found, "the header says nothing of a patient"
    assert "Vogel" in str(compare(old, new, True))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text('AB|^~&\\\r" 1', max_size=12), max_size=6), st.data())
def test_equal_messages_have_no_difference_and_others_have_one(lines, data):
    old = HEAD + "\r".join(f"PID|{line}" for line in lines).encode()
    assert told(old, old) == [] and compare(old, old, True).same
    new = HEAD + "\r".join(f"PID|{line}" for line in data.draw(st.permutations(lines))).encode()
    if [one.text for one in Message(old)] == [one.text for one in Message(new)]:
        return
    values = [dict(Message(one).leaves()) for one in (old, new)]
    if values[0] != values[1]:
        assert any(part.kind != "same" for part in compare(old, new, True).parts)


def test_the_page_is_masked_until_it_is_revealed(browser, put, store):
    one, two = put(), put("C2", name="Vogelsang")
    viewer, seer = browser("viewer"), browser("seer")
    chosen = viewer.http.post("/messages/compare", data={"id": [one, two], "csrf": viewer.csrf})
    assert chosen.headers["location"] == f"/messages/{one}/compare?other={two}"
    page = viewer.get(chosen.headers["location"])
    assert "PID-5.1" in page.text and "Keller" not in page.text and "Vogelsang" not in page.text
    assert viewer.post(chosen.headers["location"]).status_code == 403
    assert "Vogelsang" in seer.post(chosen.headers["location"]).text
    (row,) = audit.find(store.reader, action="phi.reveal")
    assert (row.object, row.detail) == (f"{one},{two}", "comparison")
    assert viewer.http.post("/messages/compare", data={"id": [one], "csrf": viewer.csrf}).status_code == 422


def test_a_message_of_another_channel_is_not_there(browser, put):
    here, there = put(), put("C2", channel="siu")
    one = browser("adt")
    for path in (f"/messages/{here}/compare?other={there}", f"/api/v1/messages/{there}/compare?other={here}"):
        assert one.get(path).status_code == 404
