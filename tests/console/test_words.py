"""What pages show beside data is in the catalogues: they are read in a language that puts every text in brackets."""

from __future__ import annotations

import re

import pytest
from lxml import html

from console import language

BRACKETS = re.compile(r"⟦[^⟦⟧]*⟧")
SILENT = (
    "//script|//style|//code|//pre|//textarea|//time|//title|//option|//*[contains(@class, 'state')]"
    "|//ul[@class='tree']|//table[@class='compare']//td[1]"  # names of HL7's fields are the standard's
)
SHOWN = ("title", "aria-label", "placeholder", "alt")
NAMES = re.compile(r"[A-Z][A-Za-z0-9]*\d|MRN|UTC|JSON|CSV|Isthmus|ACK( A[AER])?|HL7|ICU\*|ADT\^A01|EHR\|RGH")
DATA = re.compile(
    r"(: |→ )?(adt|lab2?|free|odoo|night|ehr|Laboratory|Registration|<b>)( ·|, which)?|[a-z]+[.-][a-z.-]+"
    r"|admin|analyst|operator|viewer|seer|editor|adt tag:lab|tag:lab|channels/lab.yaml"
    r"|(?i:no such table)( PID-8 \[table.code\])?|\[table.code\]|\{\"count\".*"
)
STATES = re.compile(
    "RECEIVED|TRANSFORMED|FILTERED|QUEUED|SENT|ERROR|started|stopped|paused|running|done|ok|refused|phi|error|replay"
    "|engine( table.code)?"
)
MEASURED = re.compile(r"[\d\u202f.]+ (ms|s|min|h|d)( / [\d\u202f.]+ (ms|s|min|h|d))?|[\d.]+/s")


class Bracketed(dict):
    def get(self, text, default=None):
        return f"⟦{text}⟧"


@pytest.fixture
def outside(monkeypatch):
    """Gives what a page shows outside of brackets and is no data."""
    monkeypatch.setattr(language, "catalogue", lambda name: Bracketed())

    def found(page):
        assert page.status_code in (200, 404), page.text
        root = html.fromstring(page.text)
        for one in root.xpath(SILENT):
            one.drop_tree()
        texts = [*root.itertext(), *(one.get(name) or "" for one in root.iter("*") for name in SHOWN)]
        shown = "\n".join(texts)
        assert "⟦" in shown
        while BRACKETS.search(shown):
            shown = BRACKETS.sub("", shown)
        words = {line.strip(" ·,:") for line in shown.splitlines() if re.search("[A-Za-z]{2}", line)}
        return {
            one for one in words if not any(known.fullmatch(one) for known in (NAMES, DATA, STATES, MEASURED))
        }

    return found


def test_a_text_that_is_in_no_catalogue_is_found(outside, browser):
    page = browser("admin").get("/messages")
    page._content = page.content.replace(b"<h1>", b"<p>Surprise</p><p title='Told here'></p><h1>")
    assert outside(page) == {"Surprise", "Told here"}


@pytest.mark.parametrize(
    "path",
    ["/", "/messages", "/messages?state=ERROR", "/messages/1", "/messages/2", "/messages/3", "/patients",
     "/messages/1/compare?other=2", "/errors", "/jobs", "/config", "/users", "/audit", "/account"],
)  # fmt: skip
def test_pages(outside, browser, put, beat, editor, path):
    put()
    put(error="table.code", control_id="C2")
    put(raw=b'{"a": 1}', control_id="C3")
    assert editor.post("/acts", verb="replay", id="1", sure="1", force="1").status_code == 303
    assert outside(browser("admin").get(path)) == set()


def test_what_is_asked_and_done(outside, put, browser, beat, editor, store):
    put()
    put(error="table.code", control_id="C2")
    admin = browser("admin")
    text = editor.post("/messages/1/edit").text.partition("required>\n")[2].partition("</text")[0]
    for who, path, fields in (
        (editor, "/acts", {"verb": "replay", "id": "1"}), (editor, "/acts", {"verb": "discard", "id": "2"}),
        (editor, "/messages/1/edit", {}), (editor, "/messages/1/edit/preview", {"text": text}),
        (editor, "/messages/1/edit/preview", {"text": text.replace("|F", "|M")}),
        (editor, "/messages", {"text": "Keller"}), (admin, "/account/totp", {}),
        (admin, "/account/tokens", {"name": "lab", "role": "viewer"}),
    ):  # fmt: skip
        assert outside(who.post(path, **fields)) == set(), path
    followed = {"csrf": editor.csrf}
    for path, fields in (
        ("/messages/export", {"format": "csv"}), ("/messages/1/patient", {}),
        ("/acts", {"verb": "replay", "id": "1", "sure": "1", "force": "1"}),
    ):  # fmt: skip
        assert outside(editor.http.post(path, data=followed | fields, follow_redirects=True)) == set(), path


def test_who_is_not_signed_in(outside, browser):
    assert outside(browser("").get("/login")) == set()
