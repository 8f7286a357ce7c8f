"""A channel is edited in the browser: completion, lint as one types, a message beside it, deployment to an engine."""

from __future__ import annotations

import re

from demo_console import sign_in
from engine_process import until


def text_of(page) -> str:
    return page.evaluate("document.getElementById('text').value")


def put_cursor_after(page, text: str) -> None:
    """By search, as one would: opens it, finds, closes it; the cursor is behind what was found."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+f")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")


def test_a_channel_is_edited_tried_and_deployed(open_page, demo, picture):
    page = open_page("/config", refused=422)
    page.get_by_role("link", name="channels.yaml", exact=True).click()
    page.locator(".cm-content").wait_for()
    page.locator("#problems").get_by_text("Nothing is wrong.").wait_for()
    put_cursor_after(page, "description: Patients and visits from the EHR")
    page.keyboard.type("\nlan")
    completion = page.locator(".cm-tooltip-autocomplete")
    completion.get_by_text("lanes").first.wait_for()
    picture(page, "editor-completion")
    page.keyboard.press("Escape")
    page.keyboard.type("se: 32")
    page.locator("#problems").get_by_text(re.compile("Did you mean 'lanes'")).wait_for()
    page.locator(".cm-lint-marker-error").first.wait_for()
    picture(page, "editor-lint")
    page.get_by_role("button", name="Deploy").click()  # refused, and the text is still there
    page.get_by_text("nothing was written").wait_for()
    assert "lanse: 32" in text_of(page)
    put_cursor_after(page, "lanse")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    page.keyboard.type("es")
    page.locator("#problems").get_by_text("Nothing is wrong.").wait_for()
    page.get_by_label("Sample").select_option("samples/01-register.hl7")
    page.get_by_role("button", name="Take it").click()
    page.locator("#result").get_by_text("TRANSFORMED").first.wait_for()  # tried by itself
    page.get_by_role("button", name="What changes").click()
    page.locator("#result").get_by_text("channel adt: lanes added: 32").wait_for()
    picture(page, "editor-diff", full_page=True)
    page.get_by_role("button", name="Plan").click()
    page.locator("#result").get_by_text("res.partner").first.wait_for()
    page.get_by_label("Note").fill("fewer lanes")
    page.get_by_role("button", name="Deploy").click()
    page.get_by_text(re.compile(r"Version \w+ runs\.")).wait_for()
    picture(page, "editor-deployed")
    assert "lanes: 32" in (demo.config / "channels.yaml").read_text()
    page.goto("/config")
    row = page.get_by_role("row", name=re.compile("fewer lanes"))
    assert "adt: options" in row.inner_text() and "admin" in row.inner_text()
    picture(page, "configuration")
    page.get_by_role("button", name="Compare").click()
    page.locator("#compared").get_by_text("lanes").first.wait_for()
    page.get_by_role("button", name=re.compile("Go back to")).first.click()
    page.get_by_text(re.compile(r"Version \w+ runs\.")).first.wait_for()
    assert "lanes: 32" not in (demo.config / "channels.yaml").read_text()


def test_two_editors_do_not_overwrite_each_other(open_page, demo):
    one, other = (
        open_page("/config/edit?file=tables/sex.yaml"),
        open_page("/config/edit?file=tables/sex.yaml"),
    )
    for page in (one, other):
        page.locator(".cm-content").wait_for()
    one.locator(".cm-content").click()
    one.keyboard.press("Control+End")
    one.keyboard.type("\nDIV: O")
    one.get_by_role("button", name="Deploy").click()
    one.get_by_text(re.compile(r"Version \w+ runs\.")).wait_for()
    other.locator(".cm-content").click()
    other.keyboard.press("Control+End")
    other.keyboard.type("\nNB: O")
    other.get_by_role("button", name="What changes").click()
    other.locator("#result").get_by_text("code DIV removed").or_(
        other.locator("#result").get_by_text("DIV")
    ).first.wait_for()
    assert "DIV: O" in (demo.config / "tables/sex.yaml").read_text()


def test_what_was_typed_outlives_the_session(open_page, demo):
    page = open_page("/config/edit?file=channels.yaml", refused=401)
    page.locator("#problems").get_by_text("Nothing is wrong.").wait_for()
    put_cursor_after(page, "description: Appointments from the scheduling system")
    page.keyboard.type(" of two sites")
    page.context.clear_cookies()
    page.get_by_role("button", name="What changes").click()
    ended = page.get_by_text("Your session has ended")
    ended.wait_for()
    page.get_by_role("button", name="Deploy").click()
    assert ended.is_visible() and "of two sites" in text_of(page)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in in another tab").click()
    signing_in = opened.value
    sign_in(signing_in)
    signing_in.wait_for_url(f"{demo.url}/")
    page.bring_to_front()
    page.get_by_role("button", name="Deploy").click()
    page.get_by_text(re.compile(r"Version \w+ runs\.")).wait_for()
    assert "of two sites" in demo.channels.read_text()


def test_hover_tells_what_a_key_is(open_page, picture):
    page = open_page("/config/edit")
    page.locator("#problems").get_by_text("Nothing is wrong.").wait_for()
    page.wait_for_function("document.getElementById('editor').dataset.schema")
    page.locator(".cm-content").get_by_text("database", exact=True).first.hover()
    page.locator(".cm-tooltip-hover .told").wait_for()
    picture(page, "editor-hover")


def test_the_editor_speaks_the_language_of_the_page(chromium, demo, signed_in, picture):
    context = chromium.new_context(storage_state=signed_in, base_url=demo.url, locale="de-DE")
    page = context.new_page()
    page.goto("/config/edit?file=tables/sex.yaml")
    page.locator(".cm-content").click()
    page.keyboard.press("Control+f")
    panel = page.locator(".cm-search")
    panel.get_by_placeholder("Suchen").wait_for()
    assert [one.lower() for one in panel.get_by_role("button").all_inner_texts()] == [
        "weiter", "zurück", "alle", "ersetzen", "alle ersetzen", "×",
    ]  # fmt: skip
    assert {one.strip() for one in panel.locator("label").all_inner_texts()} == {
        "Groß/klein",
        "Regex",
        "ganzes Wort",
    }
    picture(page, "editor-german")
    context.close()


def test_it_works_without_a_script(chromium, demo, signed_in):
    context = chromium.new_context(storage_state=signed_in, base_url=demo.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/config/edit?file=tables/sex.yaml")
    page.locator("#text").fill("M: [\n")
    page.get_by_role("button", name="Check").click()
    page.get_by_text("tables/sex.yaml:").first.wait_for()
    assert page.locator("#text").input_value().startswith("M: [")
    context.close()


def test_an_unmapped_code_is_added_with_one_click(open_page, demo, picture):
    demo.send("UNMAPPED1", "770009", sex="Q")
    page = open_page("/config/tables")
    picture(page, "tables")
    page.get_by_role("link", name="sex", exact=True).click()
    page.get_by_label("value of Q").fill("O")
    picture(page, "table", full_page=True)
    page.get_by_role("button", name="Add Q").click()
    page.get_by_text(re.compile(r"Version \w+ runs\.")).wait_for()
    assert "Q: O" in (demo.config / "tables/sex.yaml").read_text()
    demo.send("MAPPED1", "770010", sex="Q")
    page.goto("/messages?control_id=MAPPED1")
    until(lambda: (page.reload(), page.locator("tbody .state.transformed").count())[1], every=0.3)
