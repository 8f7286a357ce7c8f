"""Edit and replay, and the comparison of two messages, done in a browser."""

from __future__ import annotations

import re


def test_a_message_is_edited_compared_and_replayed(open_page, demo, picture):
    demo.send("EDIT1", "770101", sex="W")
    page = open_page("/messages?control_id=EDIT1")
    page.get_by_role("link", name=re.compile(r"^\d+$")).first.click()
    old = page.url.rpartition("/")[2]
    page.get_by_role("button", name="Edit and replay").click()
    text = page.get_by_label("The message")
    picture(page, "edit")
    text.fill(text.input_value().replace("|W", "|F").replace("Astrid", "Ingrid"))
    page.get_by_label("Why").fill("wrong code")
    page.get_by_role("button", name="Look at what would change").click()
    page.locator("#effects").get_by_text("created").first.wait_for()
    assert page.locator("del").all_inner_texts() == ["Astrid", "W"]
    assert "Ingrid Lindqvist" in page.locator("#effects").inner_text()
    picture(page, "edited")
    page.get_by_role("button", name="Replay as edited").click()
    page.wait_for_url(re.compile(rf"/messages/(?!{old}\b)\d+$"))
    page.get_by_text("edited copy of").wait_for()
    page.reload()
    page.get_by_text(re.compile(r"res\.partner,\d+")).first.wait_for()
    assert "Ingrid" not in page.content() and "770101" not in page.content()
    page.get_by_role("link", name="compare").click()
    page.get_by_role("heading", name="Message").wait_for()
    assert "Ingrid" not in page.content()
    page.get_by_role("button", name="Show patient data").click()
    page.get_by_text("Ingrid").wait_for()
    picture(page, "compare")
    page.goto("/errors")
    assert "EDIT1" not in page.content()


def test_everything_about_a_patient(open_page, demo, picture):
    demo.send("PAT1", "770102")
    demo.send("PAT2", "770102")
    page = open_page("/patients")
    picture(page, "patients")
    page.get_by_label("MRN, exactly").fill("770102")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Records").wait_for()
    assert "770102" not in page.url and "770102" not in page.content()
    for _ in range(20):
        page.reload()
        if page.get_by_role("rowheader", name=re.compile("res.partner")).count():
            break
        page.wait_for_timeout(250)
    assert page.get_by_role("link", name=re.compile(r"^\d+$")).count() >= 3
    picture(page, "patient")
    page.get_by_role("link", name=re.compile(r"^\d+$")).last.click()
    page.get_by_role("button", name="Everything about this patient").click()
    page.get_by_role("heading", name="Everything about a patient").wait_for()


def test_messages_are_exported(open_page, demo, picture):
    demo.send("EXP1", "770103")
    page = open_page("/messages?control_id=EXP1")
    page.locator("details.export summary").click()
    page.get_by_label("with patient data").check()
    picture(page, "messages-export")
    page.get_by_role("button", name="Export").click()
    page.get_by_text("Ready to be fetched").wait_for()
    picture(page, "export")
    with page.expect_download() as told:
        page.get_by_role("link", name="Download").click()
    content = told.value.path().read_bytes()
    assert content.startswith(b"MSH|") and b"EXP1" in content and b"770103" in content
    page.get_by_text("Complete").wait_for()
    page.get_by_text("1 messages written").wait_for()


def test_a_message_tells_where_each_value_comes_from(open_page, demo, picture):
    demo.send("TRACE1", "770104")
    page = open_page("/messages?control_id=TRACE1")
    page.get_by_role("link", name=re.compile(r"^\d+$")).first.click()
    page.get_by_role("link", name="What today's channel makes of it").click()
    trace = page.locator("#trace")
    trace.get_by_text("patient.").first.wait_for()
    assert "PID-5.1" in trace.inner_text() and "Lindqvist" not in page.content()
    trace.get_by_role("button", name="Show the values").click()
    trace.get_by_text("Astrid Lindqvist").first.wait_for()
    picture(page, "trace")


def test_after_a_fix_one_sees_what_would_now_pass(open_page, demo, picture):
    for number in range(3):
        demo.send(f"AGAIN{number}", f"77020{number}", sex="Q")
    page = open_page("/errors")
    page.get_by_role("button", name="Would they pass now?").first.click()
    page.get_by_text("would fail").wait_for()
    table = demo.config / "tables/sex.yaml"
    table.write_text(f"{table.read_text()}\nQ: F\nW: F\n")
    page.get_by_role("button", name="Would they pass now?").first.click()
    page.get_by_text("All 3 of them would now pass.").wait_for()
    picture(page, "errors-again")
