"""The dashboard at three in the morning: what is refused, what died, what takes long, what is silent; in a browser."""

from __future__ import annotations

import os
import re
import signal

from demo_console import PASSWORD, Demo, sign_in
from engine_process import until

SLOW = 60_000  # milliseconds that a process may take to come back


def messages(demo, count, begin):
    for number in range(begin, begin + count):
        demo.send(f"DASH{number}", str(771000 + number))


def test_an_act_that_no_engine_carries_out_is_told(open_page, demo, picture):
    page = open_page(refused=504)
    page.get_by_role("button", name="pause siu").wait_for()
    engine = demo.process("engine")
    os.kill(engine, signal.SIGSTOP)
    try:
        page.get_by_role("button", name="pause siu").click()
        page.get_by_role("alert").get_by_text("No engine has answered yet").wait_for(timeout=SLOW)
        page.get_by_text("The engine is not running.").wait_for(timeout=SLOW)
        assert page.get_by_role("button", name=re.compile("^pause")).count() == 0
        picture(page, "dashboard-engine-absent")
    finally:
        os.kill(engine, signal.SIGCONT)
    page.get_by_role("button", name="resume siu").click(timeout=SLOW)  # it was carried out after all
    page.get_by_role("button", name="pause siu").wait_for(timeout=SLOW)
    assert page.get_by_role("alert").count() == 0


def test_what_a_user_may_no_more_is_told_and_not_done(open_page, demo):
    page = open_page(refused=404)
    button = page.get_by_role("button", name="stop siu")
    button.evaluate(
        "element => { element.setAttribute('hx-post', '/channels/none/stop'); htmx.process(element); }"
    )
    button.click()
    page.get_by_role("alert").get_by_text("There is no such channel").wait_for()
    page.get_by_role("button", name="pause fhir").click()
    page.get_by_role("button", name="resume fhir").click()
    page.get_by_role("button", name="pause fhir").wait_for()
    assert page.get_by_role("alert").count() == 0, "what is done well ends the complaint"


def test_a_dashboard_whose_session_ended_leads_to_the_sign_in(open_page, demo):
    page = open_page("/login?next=/%3Ftag%3Dnone", state=None, absent=True)

    sign_in(page)
    page.get_by_text("Engine runs").wait_for()
    beside = page.context.new_page()
    beside.goto("/account")
    beside.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile("/login"), timeout=SLOW)
    sign_in(page)
    page.wait_for_url(f"{demo.url}/?tag=none")


def test_a_killed_console_is_told_and_the_page_goes_on_when_it_is_back(open_page, demo):
    page = open_page(refused=0, absent=True)
    page.get_by_role("button", name="pause adt").wait_for()
    engine = demo.process("engine")
    os.kill(demo.process("console"), signal.SIGKILL)
    page.get_by_text("The connection to the console was lost").wait_for()
    demo.send("DASHKILL1", "770901")
    page.get_by_text("The connection to the console was lost").wait_for(state="hidden", timeout=SLOW)
    assert demo.process("engine") == engine
    before = page.locator("#channel-adt td").nth(2).inner_text()
    demo.send("DASHKILL2", "770902")
    page.wait_for_function(
        "before => document.querySelectorAll('#channel-adt td')[2].innerText !== before",
        arg=before,
        timeout=SLOW,
    )


def test_a_killed_engine_is_seen_and_comes_back_by_itself(open_page, demo):
    page = open_page()
    page.get_by_text(f"process {demo.process('engine')}").wait_for()
    console, engine = demo.process("console"), demo.process("engine")
    os.kill(engine, signal.SIGKILL)
    again = until(lambda: (found := demo.process("engine")) != engine and found, 60)
    page.get_by_text(f"process {again}").wait_for(timeout=SLOW)
    assert demo.process("console") == console
    demo.send("DASHBACK", "770903")


def test_the_configuration_is_taken_up_and_a_silent_feed_is_seen_at_once(open_page, demo, picture):
    page = open_page()
    good = demo.channels.read_text()
    demo.channels.write_text(f"{good}\nnonsense: 1\n")
    page.get_by_role("button", name="Reload the configuration").click()
    page.get_by_text("did not take the files").wait_for(timeout=SLOW)
    assert "nonsense" in page.locator("#reloaded").inner_text()
    demo.channels.write_text(good.replace("  siu:\n", "  siu:\n    silent_after: 1\n"))
    page.get_by_role("button", name="Reload the configuration").click()
    page.locator("#reloaded").get_by_text("runs.").wait_for(timeout=SLOW)
    page.get_by_text("1 channel is silent: siu").wait_for(timeout=SLOW)
    picture(page, "dashboard-silent")
    page.get_by_role("button", name="reload siu").click()
    page.locator("#reloaded").get_by_text("siu:").wait_for(timeout=SLOW)
    demo.channels.write_text(good)
    demo.reload()


def test_a_bulk_replay_shows_how_far_it_is_and_is_paused_and_cancelled(open_page, demo, picture):
    messages(demo, 12, 100)
    page = open_page("/messages?channel=adt&state=TRANSFORMED")
    for box in page.locator("tbody input[type=checkbox]").all()[:12]:
        box.check()
    page.get_by_role("button", name="Replay").first.click()
    page.get_by_label("At most so many a second").fill("0.5")
    if page.get_by_label("Put older data over newer on purpose").count():
        page.get_by_label("Put older data over newer on purpose").check()
    page.get_by_role("button", name="Replay", exact=True).click()
    page.get_by_role("heading", name=re.compile("Replay, job")).wait_for()
    job = page.url
    page.get_by_text(re.compile(r"[1-9]\d* of 12 messages")).wait_for(timeout=SLOW)  # by itself
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    page.goto("/")
    bar = page.locator("p.progress")
    bar.get_by_text(re.compile(r"of 12 \(paused\)")).wait_for()
    assert 0 < bar.get_by_role("progressbar").evaluate("bar => bar.value / bar.max") < 1
    picture(page, "dashboard-job")
    page.goto("/jobs")
    page.get_by_text("paused").first.wait_for()
    page.goto(job)
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("cancelled").wait_for()
    page.goto("/")
    page.get_by_role("heading", name="Channels").wait_for()
    assert page.locator("p.progress").count() == 0


def test_older_data_goes_over_newer_only_on_purpose(open_page, demo, picture):
    demo.send("STALE1", "770905", sex="M")
    demo.send("STALE2", "770905", sex="F")
    page = open_page("/messages?control_id=STALE2")
    until(lambda: (page.reload(), page.locator("tbody .state.sent").count())[1], every=0.3)
    page.goto("/messages?control_id=STALE1")
    page.locator("tbody input[type=checkbox]").first.check()
    page.get_by_role("button", name="Replay").first.click()
    page.get_by_text("Older data would be put over newer").wait_for()
    preview = page.locator("#preview")
    preview.get_by_text("changed").wait_for(timeout=SLOW)
    preview.get_by_role("button", name="Show the values").click()
    row = preview.get_by_role("row", name=re.compile("comment"))
    row.get_by_text("Sex: male").wait_for(timeout=SLOW)
    assert [re.search("Sex: (\\w+)", cell)[1] for cell in row.get_by_role("cell").all_inner_texts()] == [
        "female",
        "male",
    ]
    picture(page, "replay-stale", full_page=True)
    page.get_by_role("button", name="Replay", exact=True).click()
    assert page.get_by_text("Older data would be put over newer").count(), "not without the tick"
    page.get_by_label("Put older data over newer on purpose").check()
    page.get_by_role("button", name="Replay", exact=True).click()
    page.get_by_text("1 of 1 messages, 1 changed").wait_for()


def test_from_the_demo_to_a_record_out_of_a_failed_message_in_under_ten_clicks(chromium, tmp_path, picture):
    """The shipped demo as it is, and nothing but the console: its set-up, what failed, the mended copy, its record."""
    demo = Demo(tmp_path, broken=True)
    page = chromium.new_page(viewport={"width": 1360, "height": 800})
    page.set_default_timeout(SLOW)
    clicks = 0

    def click(role, name):
        nonlocal clicks
        clicks += 1
        page.get_by_role(role, name=name).first.click()

    try:
        page.goto(demo.setup)
        page.get_by_label("Password (12 characters or more)").fill(PASSWORD)
        page.get_by_label("The password again").fill(PASSWORD)
        click("button", "Make the admin")
        page.get_by_text("1 channel has errors: adt").wait_for()
        click("link", re.compile("^1$"))  # what the dashboard says is in error
        page.get_by_text("PID-3").first.wait_for()
        click("link", re.compile(r"^\d+$"))
        click("button", "Edit and replay")
        text = page.get_by_label("The message")
        text.fill(text.input_value().replace("PID|1||||", "PID|1||100987^^^RGH^MR||"))
        click("button", "Look at what would change")
        page.locator("#effects").get_by_text("created").first.wait_for()
        click("button", "Replay as edited")
        page.get_by_text("edited copy of").wait_for()
        until(
            lambda: (page.reload(), page.get_by_text(re.compile(r"res\.partner,\d+")).count())[1], every=0.5
        )
        picture(page, "mended", full_page=True)
        assert clicks < 10
    finally:
        page.close()
        demo.terminate()
