"""The fields of a message beside its text: who chooses a part of one sees its place in the other."""

from __future__ import annotations

CHOSEN = "getSelection().toString()"


def part(page, path):
    return page.locator(".tree [data-at]", has=page.get_by_text(path, exact=True))


def test_a_part_and_its_place_in_the_text(open_page, picture):
    page = open_page("/messages/1")
    assert part(page, "PID-3.1").is_visible()
    page.get_by_role("button", name="Show patient data").click()
    page.locator(".segments", has_text="PID|").wait_for()
    picture(page, "fields", full_page=True)
    for path in ("PID-3.1", "PID-5.1", "PID-5", "MSH-9.2", "MSH-1", "PID-8"):
        link = part(page, path)
        shown = link.locator(".value").inner_text()
        link.click()
        assert page.evaluate(CHOSEN) == shown, path
    part(page, "PID-8").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(CHOSEN) in ("F", "M")


def test_a_place_in_the_text_shows_its_part(open_page):
    page = open_page("/messages/1")
    page.get_by_role("button", name="Show patient data").click()
    page.locator(".segments", has_text="PID|").wait_for()
    page.locator(".tree > li > details").evaluate_all("all => all.forEach(one => (one.open = false))")
    for path in ("PID-5.1", "MSH-9.2", "PID-8"):
        spot = page.evaluate(
            """path => {
              const at = document.querySelector(`.tree [data-at="${path}"]`);
              at.click();
              const box = getSelection().getRangeAt(0).getBoundingClientRect();
              getSelection().removeAllRanges();
              return [box.x + 2, box.y + box.height / 2];
            }""",
            part(page, path).get_attribute("data-at"),
        )
        page.mouse.click(*spot)
        assert page.evaluate("document.activeElement.querySelector('code').innerText") == path
        assert part(page, path).is_visible()
