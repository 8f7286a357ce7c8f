"""Every text of the console is there in every language, with the same values in it, and pages are shown in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from console_desk import Browser

import console
from console import language
from console.pages.render import FOLDER, env
from console.wording import Wording, texts, untranslated
from engine.store import deliveries, operate
from engine.store.messages import NewMessage

OTHERS = [one for one in language.LANGUAGES if one != "en"]
HERE = Path(console.__file__).parent


def everything() -> set[str]:
    """What templates say, and what code marks."""
    found = {*language.ACTS, *language.OUTCOMES, *language.EVENTS}
    for file in sorted(FOLDER.glob("*.html")):
        found |= texts(env, file.read_text("utf-8"))
    for file in HERE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "N_":
                found.add(ast.literal_eval(node.args[0]))
    return found


@pytest.mark.parametrize("name", OTHERS)
def test_no_text_is_missing_or_left_over(name):
    known, needed = language.catalogue(name), everything()
    assert len(needed) > 300
    assert sorted(needed - set(known)) == [], "add these lines to the catalogue"
    assert sorted(set(known) - needed) == [], "nobody says these any more"


@pytest.mark.parametrize("name", OTHERS)
def test_translations_hold_the_same_values_and_no_markup(name):
    for text, said in language.catalogue(name).items():
        assert said.strip(), text
        assert sorted(re.findall(r"%\(\w+\)s", said)) == sorted(re.findall(r"%\(\w+\)s", text)), text
        assert not set('<>"') & set(said.replace("„", "")), text


def test_no_expression_says_something_untranslated():
    found = {file.name: untranslated(env, file.read_text("utf-8")) for file in FOLDER.glob("*.html")}
    assert {name: said for name, said in found.items() if said} == {}


def test_text_between_tags_is_wrapped_as_it_stands():
    made = Wording(env).preprocess(
        '<p title="Look here">All {{ a.n | count }} of {{ b }}</p><code>plain</code> {% if x %}Yes sir{% endif %} 12 ·',
        None,
    )
    assert made == (
        '<p title="{{ _(\'Look here\') }}">{{ _("All %(n)s of %(b)s", n=(a.n | count), b=(b)) }}</p>'
        '<code>plain</code> {% if x %}{{ _("Yes sir") }}{% endif %} 12 ·'
    )


def test_a_word_that_is_a_constant_of_a_template_is_translated_at_each_rendering():
    template = env.from_string("{{ 'reload' | translated }}")
    said = []
    for name in language.LANGUAGES:
        language.choose(name)
        said.append(template.render())
    language.choose("en")
    assert said[0] == "reload" and len(set(said)) == len(language.LANGUAGES)


def test_values_are_escaped_in_every_language(monkeypatch):
    template = env.from_string("<b>Version {{ version }} runs.</b>")
    for name in ("en", *OTHERS):
        language.choose(name)
        assert "&lt;i&gt;" in template.render(version="<i>") and "<i>" not in template.render(version="<i>")
    language.choose("en")


@pytest.mark.parametrize(
    ("accepted", "title", "lang"),
    [
        ("de-CH,de;q=0.9,en;q=0.5", "Anmelden", "de"),
        ("it, fr;q=0.8", "Se connecter", "fr"),
        ("es", "Iniciar sesión", "es"),
        ("it", "Sign in", "en"),
        ("de;q=0, fr;q=x", "Sign in", "en"),
        (",;q=,*;q=1" * 200, "Sign in", "en"),
        ("", "Sign in", "en"),
    ],
)
def test_the_browser_says_which(app, people, accepted, title, lang):
    page = Browser(app).get("/login", headers={"accept-language": accepted}).text
    assert f"<h1>{title}</h1>" in page and f'<html lang="{lang}">' in page


def test_one_chooses_another(browser):
    one = browser("viewer")
    assert one.post("/account/language", language="fr").status_code == 303
    assert "<h1>Canaux</h1>" in one.get("/").text and "Se déconnecter" in one.get("/").text
    assert one.post("/account/language", language="../x").status_code == 303
    assert "<h1>Channels</h1>" in one.get("/").text
    wrong = one.http.post(
        "/account/password", data={"csrf": one.csrf, "old": "x", "password": "y" * 12, "again": "y" * 12},
        headers={"accept-language": "de"},
    )  # fmt: skip
    assert "Das Passwort ist ein anderes." in wrong.text


@pytest.mark.parametrize("name", OTHERS)
def test_every_page_is_shown_in_every_language(browser, put, name):
    put(error="table.code")
    one = browser("admin")
    one.http.cookies.set(language.COOKIE, name, domain="console.test")
    for path in (
        "/",
        "/messages",
        "/messages/1",
        "/errors",
        "/jobs",
        "/users",
        "/audit",
        "/account",
        "/config",
        "/nothing",
    ):
        answer = one.get(path)
        assert answer.status_code in (200, 404) and f'<html lang="{name}">' in answer.text, path
        assert "Sign out" not in answer.text and "%(" not in answer.text, path


@pytest.mark.parametrize(
    ("name", "copy", "replayed", "engine"),
    [
        ("de", "von Nachricht 1 checked", "wiederholt als Nachricht", "Engine table.code"),
        ("es", "del mensaje 1 checked", "repetido como mensaje", "motor table.code"),
        ("fr", "du message 1 checked", "rejoué comme message", "moteur table.code"),
    ],
)
def test_what_the_engine_keeps_of_a_message_is_told_in_every_language(
    store, browser, put, name, copy, replayed, engine
):
    first = put(error="table.code")
    new = NewMessage(
        "adt", b"MSH|^~\\&|EHR|RGH|||20260302||ADT^A01|C1|P|2.5.1\r", store.reader.now(), control_id="C1"
    )
    edited = store.writer.call(lambda tx: operate.edit(tx, first, new, "anna", "checked"))
    waiting = put("C2")
    again = store.writer.call(lambda tx: operate.replay(tx, [waiting], "anna"))[0].new
    store.writer.call(lambda tx: tx.event("job", message_id=again, detail="job 3 failed on it: odoo.busy"))
    one = browser("admin")
    one.http.cookies.set(language.COOKIE, name, domain="console.test")
    said = language.catalogue(name)

    def timeline(number):
        page = one.get(f"/messages/{number}").text
        return page[page.index('class="timeline"') : page.index("</ol>")]

    told = timeline(first)
    assert f"<strong>{said['edit']}</strong>" in told and f"<strong>{said['error']}</strong>" in told
    assert engine in told
    assert copy in timeline(edited.new)
    told = timeline(waiting)
    assert f"{replayed} {again}" in told and f"<strong>{said['replay']}</strong>" in told
    failed = said["job %(job)s failed on it: %(code)s"] % {"job": 3, "code": "odoo.busy"}
    assert f"<strong>{said['job']}</strong>" in timeline(again) and failed in timeline(again)


@pytest.mark.parametrize("name", OTHERS)
def test_what_becomes_of_a_record_keeps_the_name_of_a_method(name):
    language.choose(name)
    try:
        said = [language.outcome(f"{text}: action_done") for text in ("would call", "no such record")]
        assert said == [
            f"{language.catalogue(name)[text]}: action_done" for text in ("would call", "no such record")
        ]
        whole = "kept: merged into another"
        assert language.outcome(whole) == language.catalogue(name)[whole]
    finally:
        language.choose("en")


def test_every_kind_that_the_store_keeps_of_a_message_is_a_word():
    """Read in the code: what calls `event` with a `message_id`."""
    store = Path(operate.__file__).parent
    found = set(deliveries._EVENTS.values())
    for file in store.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            given = node.args[1:2] if called == "_decide" else node.args[:1]
            about = called == "_decide" or any(one.arg == "message_id" for one in node.keywords)
            if called in ("event", "_decide") and about and isinstance(given[0], ast.Constant):
                found.add(given[0].value)
    assert found == set(language.EVENTS)
