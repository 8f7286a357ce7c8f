"""What people do in the console, done in a browser: by mouse, by keyboard, on a telephone."""

from __future__ import annotations

import re

from demo_console import PASSWORD


def received(page) -> int:
    """What the dashboard shows as received on `adt`."""
    cell = page.locator("tr", has=page.get_by_role("rowheader", name=re.compile("^adt"))).locator("td").nth(2)
    return int(re.match(r"\d+", cell.inner_text().replace("\u202f", ""))[0])


def test_the_dashboard_changes_by_itself(open_page, demo, picture):
    page = open_page()
    before = received(page)
    assert before > 5
    page.evaluate("window.stillHere = true")
    demo.send("LIVE1", "770001")
    page.wait_for_function(
        "n => [...document.querySelectorAll('tr')].some(r => r.innerText.startsWith('adt')"
        " && parseInt(r.children[3].innerText) > n)",
        arg=before,
    )
    assert page.evaluate("window.stillHere"), "the page was not loaded again"
    page.get_by_role("button", name="pause adt").click()
    page.get_by_role("button", name="resume adt").wait_for()
    page.locator(".spark polyline").first.wait_for()  # two samples are there
    picture(page, "dashboard-paused", clip={"x": 0, "y": 0, "width": 1360, "height": 470})
    page.get_by_role("button", name="resume adt").click()
    page.get_by_role("button", name="pause adt").wait_for()
    assert page.evaluate("window.stillHere")


def test_a_failed_message_is_replayed_and_its_record_seen_in_under_ten_clicks(open_page, demo, picture):
    demo.send("BROKEN1", "770002", sex="W")
    page = open_page()
    page.locator("#channels a.bad").first.wait_for()  # shown by itself
    clicks = 0

    def click(role, name):
        nonlocal clicks
        clicks += 1
        page.get_by_role(role, name=name).first.click()

    click("link", "Errors")
    page.get_by_role("button", name="Replay the 1 of this kind").wait_for()
    picture(page, "errors")
    table = demo.config / "tables/sex.yaml"
    table.write_text(f"{table.read_text()}\nW: F\n")
    demo.reload()
    click("button", "Replay the 1 of this kind")
    preview = page.locator("#preview")
    preview.get_by_text("created").first.wait_for()
    assert "res.partner" in preview.inner_text()
    assert "Lindqvist" not in page.content() and "770002" not in page.content()
    picture(page, "replay-masked", full_page=True)
    click("button", "Show the values")
    preview.get_by_text("Astrid Lindqvist").first.wait_for()
    picture(page, "replay-preview", full_page=True)
    click("button", "Replay")
    page.get_by_text("1 of 1 messages, 1 changed").wait_for()
    picture(page, "job")
    click("link", "Messages")
    click("link", re.compile(r"^\d+$"))
    page.get_by_text(re.compile(r"res\.partner,\d+")).first.wait_for()
    assert "Lindqvist" not in page.content()
    picture(page, "message-masked", full_page=True)
    click("button", "Show patient data")
    page.get_by_text("Lindqvist").first.wait_for()
    picture(page, "message", full_page=True)
    assert clicks < 10
    page.goto("/errors")
    page.get_by_text("Nothing is in error").wait_for()
    page.goto("/audit?action=phi.reveal")
    assert page.get_by_role("row").count() >= 3


def test_messages_are_found_by_patient_without_a_trace_in_the_address(open_page, demo, picture):
    page = open_page("/messages")
    page.keyboard.press("/")
    page.get_by_label("MRN").fill("100234")
    page.keyboard.press("Enter")
    page.get_by_role("link", name=re.compile(r"^\d+$")).first.wait_for()
    assert "100234" not in page.url
    picture(page, "search")
    found = page.get_by_role("link", name=re.compile(r"^\d+$")).count()
    assert 0 < found < 16
    page.get_by_role("link", name=re.compile(r"^\d+$")).last.click()
    page.get_by_role("heading", name="Timeline").wait_for()


def test_one_signs_in_with_the_keyboard_alone(open_page, demo):
    page = open_page("/login", state=None)
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{demo.url}/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'")
    page.keyboard.press("Tab")
    page.wait_for_function("() => document.querySelector('#main :focus') !== null")


def test_who_reads_or_works_by_keyboard_keeps_their_place_while_the_dashboard_changes(open_page, demo):
    page = open_page()
    page.get_by_role("button", name="stop adt").wait_for()
    page.evaluate("""() => {
        window.updates = 0;
        document.body.addEventListener("htmx:sseBeforeMessage", () => (window.updates += 1));
    }""")
    row = page.locator("#channel-adt")
    for place in (row.get_by_role("link").first, row.get_by_role("button", name="stop adt")):
        place.focus()
        page.evaluate("""() => {
            window.focused = document.activeElement;
            getSelection().selectAllChildren(document.querySelector("#channel-siu th a"));
        }""")
        for _ in range(2):
            before = page.evaluate("window.updates")
            demo.send(f"PLACE{before}", "770003")
            page.wait_for_function("n => window.updates > n", arg=before)
        page.wait_for_function("() => document.querySelector('.htmx-settling') === null")
        assert page.evaluate("window.focused.isConnected && document.activeElement === window.focused")
        assert page.evaluate("getSelection().toString()") == "siu"
    page.get_by_role("button", name="pause adt").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="resume adt").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "resume adt"
    page.keyboard.press("Enter")
    page.get_by_role("button", name="pause adt").wait_for()


def test_results_stream_in_below_each_other_as_one_scrolls(open_page, demo):
    for number in range(110):
        demo.send(f"STREAM{number}", "770004")
    page = open_page("/messages?channel=adt&type=ADT^A28")
    page.evaluate("window.stillHere = true")
    rows = page.locator("tbody input[type=checkbox]")
    assert rows.count() == 50
    rows.first.check()
    page.wait_for_function(
        "() => { const more = document.getElementById('more'); more?.scrollIntoView(); return !more; }"
    )
    assert page.evaluate("window.stillHere") and rows.first.is_checked(), (
        "the page stayed, with what was ticked"
    )
    numbers = [int(one) for one in page.locator("tbody td.n").all_inner_texts()]
    assert len(numbers) > 110 and numbers == sorted(set(numbers), reverse=True)
    page.get_by_label("MRN").fill("770004")  # patient data: posted, and never in an address
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelectorAll('tbody input[type=checkbox]').length === 50")
    page.get_by_role("button", name="Older").click()
    page.wait_for_function("() => document.querySelectorAll('tbody input[type=checkbox]').length === 100")
    assert "770004" not in page.url
