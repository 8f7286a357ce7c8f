"""Every page of the console in each of its states: axe finds nothing serious in light and dark, wide and narrow, and
nothing is wider than a telephone. A page that nobody looked at fails the last test."""

from __future__ import annotations

import re
import socket
from urllib.parse import urlsplit

import httpx
import pyotp
import pytest
from demo_console import PASSWORD, Demo, sign_in
from engine_process import free_ports, until
from looking import CHANNELS, PROVIDERS, RESULTS, Looked

from console.pages import PAGES


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """With channels that wait, fail and are silent, and a message of each kind."""
    ports = dict(zip(("lab", "stock", "letters", "nobody"), free_ports(4), strict=True))
    with socket.create_server(("127.0.0.1", 0)) as other:
        ports["taken"] = other.getsockname()[1]
        folder = tmp_path_factory.mktemp("demo")
        (folder / "oidc.yaml").write_text(PROVIDERS)
        environ = {"ISTHMUS_OIDC": str(folder / "oidc.yaml")}
        found = Demo(folder, more=CHANNELS.format(**ports), environ=environ)
    found.send("REFUSED", "770301", sex="W")
    found.send("OLDER", "770302", sex="M")
    found.send("NEWER", "770302")
    for channel, body in (
        ("lab", RESULTS),
        (
            "stock",
            b'{"id": "S1", "event": "ward.stock", "patient": "770302", "items": [{"name": "gauze", "left": 4}]}',
        ),
        ("letters", b"<letter><to>Dr. Example</to><text>Seen today.</text></letter>"),
    ):
        answer = httpx.post(f"http://127.0.0.1:{ports[channel]}", content=body, trust_env=False)
        assert answer.status_code == 200, answer.text
    yield found
    found.terminate()
    assert "Traceback" not in found.text, found.text[-3000:]


@pytest.fixture(scope="module")
def seen():
    return set()


@pytest.fixture
def look(picture, seen):
    return Looked(seen, picture)


def id_of(page, control_id: str, channel: str = "") -> str:
    """The number of the newest message with a control id."""
    page.goto(f"/messages?control_id={control_id}&channel={channel}")
    link = page.get_by_role("link", name=re.compile(r"^\d+$")).first
    until(lambda: link.count() or not page.reload(), every=0.3)
    return link.inner_text()


def test_who_has_no_session_yet(chromium, demo, look):
    page = chromium.new_page(base_url=demo.url)
    look.follow(page)
    page.goto(demo.setup)
    look.at(page, "setup")
    for label, text in (
        ("Password (12 characters or more)", PASSWORD),
        ("The password again", "another one, longer"),
    ):
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Make the admin").click()
    page.get_by_role("alert").get_by_text("not the same").wait_for()
    look.at(page, "setup-refused")
    page.get_by_label("Password (12 characters or more)").fill(PASSWORD)
    page.get_by_label("The password again").fill(PASSWORD)
    page.get_by_role("button", name="Make the admin").click()
    page.get_by_role("button", name="Sign out").click()
    look.at(page, "login")
    sign_in(page, password="wrong")
    page.get_by_role("alert").get_by_text("did not fit").wait_for()
    look.at(page, "login-refused")
    page.get_by_role("link", name="Sign in with Clinic account").click()
    page.get_by_role("heading", level=1).wait_for()
    look.at(page, "oidc-absent")
    page.goto("/oidc/clinic/callback?state=x&code=y")
    look.at(page, "oidc-refused")
    page.close()


@pytest.fixture(scope="module")
def signed_in(chromium, demo):
    """The admin that the first test set up."""
    context = chromium.new_context(base_url=demo.url)
    page = context.new_page()
    page.goto("/login")
    sign_in(page)
    page.wait_for_url(f"{demo.url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def go(open_page, look):
    """Opens a page that is followed."""

    def opened(path, **more):
        page = open_page("about:blank", **more)
        look.follow(page)
        page.goto(path)
        return page

    return opened


def test_the_dashboard(go, demo, look):
    page = go("/", refused=504)
    page.get_by_text("failed").first.wait_for()
    page.locator(".spark polyline").first.wait_for(state="attached")
    page.get_by_role("button", name="pause siu").click()
    page.get_by_role("button", name="resume siu").wait_for()
    page.get_by_text("silent: lab").wait_for()
    look.at(page, "dashboard")
    page.get_by_role("link", name="night").first.click()
    page.get_by_role("link", name="all").wait_for()
    look.at(page, "dashboard-tag")
    good = demo.channels.read_text()
    demo.channels.write_text(f"{good}\nnonsense: 1\n")
    page.get_by_role("button", name="Reload the configuration").click()
    page.get_by_text("did not take the files").wait_for()
    demo.channels.write_text(good)
    look.at(page, "dashboard-refused")
    page.goto("/")
    page.get_by_role("button", name="resume siu").click()
    page.get_by_role("button", name="pause siu").wait_for()


def test_messages(go, look):
    page = go("/messages", refused=422)
    look.at(page, "messages")
    page.get_by_label("Text in content").fill("Keller")
    page.get_by_label("ward").fill("ICU*")
    page.get_by_role("button", name="Search").click()
    page.get_by_text("Looked into").wait_for()
    look.at(page, "messages-by-text")
    page.goto("/messages?control_id=NONE")
    page.get_by_text("No messages fit").wait_for()
    page.get_by_text("Save this search").click()
    page.get_by_label("Name", exact=True).fill("none of them")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="none of them").click()
    look.at(page, "messages-none")
    page.goto("/messages?since=nonsense")
    look.at(page, "messages-refused")


@pytest.mark.parametrize(
    ("name", "control_id", "channel"),
    [
        ("hl7", "OLDER", "adt"), ("error", "REFUSED", "adt"), ("split", "LAB1", "lab"), ("part", "LAB1-1", "lab"),
        ("json", "S1", "stock"), ("xml", "", "letters"), ("fhir", "", "fhir"),
    ],
)  # fmt: skip
def test_a_message(go, look, name, control_id, channel):
    page = go("/messages")
    number = id_of(page, control_id, channel)
    page.goto(f"/messages/{number}")
    if name == "hl7":
        look.at(page, f"message-{name}")
    page.get_by_role("button", name="Show patient data").click()
    page.get_by_text("this was audited").wait_for()
    if name == "hl7":
        page.get_by_role("link", name="What today's channel makes of it").click()
        page.locator("#trace article").wait_for()
        page.get_by_role("button", name="Show the values").click()
    else:  # at once what the button asks for
        page.evaluate("number => htmx.ajax('POST', `/messages/${number}/trace`, '#trace')", number)
    page.locator("#trace").get_by_text("this was audited").wait_for()
    look.at(page, f"message-{name}-shown")


def test_edit_compare_and_replay(go, look):
    page = go("/messages")
    old, older, newer = (id_of(page, one) for one in ("REFUSED", "OLDER", "NEWER"))
    page.goto(f"/messages/{old}")
    page.get_by_role("button", name="Edit and replay").click()
    text = page.get_by_label("The message")
    look.at(page, "edit")
    text.fill(text.input_value().replace("|W", "|F"))
    page.get_by_role("button", name="Look at what would change").click()
    page.locator("#effects").get_by_text("created").first.wait_for()
    look.at(page, "edited")
    page.get_by_role("button", name="Replay as edited").click()
    page.get_by_text("edited copy of").wait_for()
    look.at(page, "message-edited")
    page.get_by_role("link", name="compare").click()
    look.at(page, "compare-masked")
    page.get_by_role("button", name="Show patient data").click()
    page.get_by_text("this was audited").wait_for()
    look.at(page, "compare")
    page.goto(f"/messages/{older}/trace")
    look.at(page, "trace")
    page.goto("/messages?channel=adt")
    for one in (older, newer):
        page.get_by_label(f"Choose message {one}", exact=True).check()
    page.get_by_role("button", name="Compare the two ticked").click()
    page.get_by_role("heading", name="Messages").wait_for()
    page.goto("/messages?channel=adt&state=TRANSFORMED")
    for box in page.locator("tbody input[type=checkbox]").all()[:6]:
        box.check()
    page.get_by_role("button", name="Replay").first.click()
    page.locator("#preview").get_by_text("changed").first.wait_for()
    page.get_by_role("button", name="Show the values").click()
    page.locator("#preview").get_by_text("this was audited").wait_for()
    look.at(page, "confirm")
    page.get_by_label("Put older data over newer on purpose").check()
    page.get_by_label("At most so many a second").fill("0.2")
    page.get_by_role("button", name="Replay", exact=True).click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").wait_for()
    look.at(page, "job")
    page.goto("/jobs")
    look.at(page, "jobs")
    page.goto("/jobs/1")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("cancelled").wait_for()


def test_errors(go, demo, look):
    demo.send("AGAIN", "770303", sex="W")
    page = go("/errors")
    page.get_by_role("button", name="Would they pass now?").first.click()
    page.get_by_text("would fail").wait_for()
    look.at(page, "errors")


def test_export(go, look):
    page = go("/messages?control_id=NEWER")
    page.locator("details.export summary").click()
    look.at(page, "messages-export")
    page.get_by_role("button", name="Export").click()
    look.at(page, "export")
    with page.expect_download() as told:
        page.get_by_role("link", name="Download").click()
    look.seen.add(("GET", urlsplit(told.value.url).path))


def test_patients(go, look):
    page = go("/patients", refused=404)
    look.at(page, "patients")
    page.get_by_label("MRN, exactly").fill("770302")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Records").wait_for()
    look.at(page, "patient")
    page.goto("/patients/nobody")
    look.at(page, "patient-unknown")
    page.goto("/messages?control_id=NEWER")
    page.get_by_role("link", name=re.compile(r"^\d+$")).first.click()
    page.get_by_role("button", name="Everything about this patient").click()
    page.get_by_role("heading", name="Records").wait_for()


def test_the_configuration(go, demo, look):
    page = go("/config", refused=422)
    page.get_by_role("button", name="Compare").click()
    page.locator("#compared").wait_for()
    look.at(page, "config")
    page.goto("/config/edit?file=channels.yaml")
    page.locator(".cm-content").wait_for()
    page.locator("#problems").get_by_text("Nothing is wrong.").wait_for()
    page.get_by_label("Sample").select_option("samples/01-register.hl7")
    page.get_by_role("button", name="Take it").click()
    page.locator("#result").get_by_text("TRANSFORMED").first.wait_for()
    page.get_by_role("button", name="Plan").click()
    page.locator("#result").get_by_text("res.partner").first.wait_for()
    look.at(page, "editor-plan")
    page.locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("nonsense: 1\n")
    page.locator(".cm-lint-marker-error").first.wait_for()
    page.keyboard.press("Control+f")
    page.locator(".cm-search").wait_for()
    look.at(page, "editor-problems")
    page.get_by_role("button", name="What changes").click()
    page.locator("#result").get_by_text("Line by line").click()
    page.get_by_role("button", name="Deploy").click()
    page.get_by_text("nothing was written").wait_for()
    look.at(page, "editor-refused")
    page.goto("/config/edit?file=new.yaml")
    page.locator(".cm-content").wait_for()
    look.at(page, "editor-new")


def test_code_tables(go, demo, look):
    demo.send("UNMAPPED", "770304", sex="Q")
    page = go("/config/tables")
    look.at(page, "tables")
    page.get_by_role("link", name="sex", exact=True).click()
    look.at(page, "table")
    page.get_by_label("value of Q").fill("O")
    page.get_by_role("button", name="Add Q").click()
    page.get_by_text(re.compile(r"Version \w+ runs\.")).wait_for()
    page.goto("/config")
    page.get_by_role("button", name="Go back to").first.click()
    page.get_by_text(re.compile(r"Version \w+ runs\.")).first.wait_for()
    look.at(page, "config-went-back")


def test_users_and_audit(go, demo, look):
    page = go("/users", refused=422)
    form = page.locator("form.stack")
    page.locator("summary", has_text="Delete").click()
    form.get_by_label("Name").fill("nina")
    form.get_by_label("Password").fill("short")
    form.get_by_role("button", name="Add").click()
    page.get_by_role("alert").wait_for()
    look.at(page, "users-refused")
    form.get_by_label("Name").fill("nina")
    form.get_by_label("Role").select_option("operator")
    form.get_by_label("Channels").fill("adt tag:lab")
    form.get_by_label("Password").fill(PASSWORD)
    form.get_by_role("button", name="Add").click()
    page.get_by_role("row", name=re.compile("nina")).wait_for()
    look.at(page, "users")
    page.goto("/audit")
    look.at(page, "audit")


def test_ones_account(go, demo, look):
    page = go("/account", refused=422)
    look.at(page, "account")
    page.get_by_role("button", name="Set up a second factor").click()
    code = page.get_by_label("Code", exact=True)
    code.fill("123")
    page.get_by_role("button", name="Turn it on").click()
    page.get_by_role("alert").wait_for()
    look.at(page, "account-second-factor")
    code.fill(pyotp.TOTP(page.locator("input[name=secret]").input_value()).now())
    page.get_by_role("button", name="Turn it on").click()
    page.get_by_role("status").get_by_text("is on").wait_for()
    look.at(page, "account-with-second-factor")
    page.get_by_text("Make a token").click()
    page.get_by_label("Name of the token").fill("laboratory")
    page.get_by_role("button", name="Make it").click()
    page.get_by_text("shown this once").wait_for()
    page.get_by_text("Make a token").click()
    look.at(page, "account-token")
    page.get_by_label("How long the old secret stays good").select_option("24")
    page.get_by_role("button", name="New secret for laboratory").click()
    page.get_by_text("shown this once").wait_for()
    page.get_by_role("button", name="Revoke laboratory").first.click()
    page.get_by_text("revoked").wait_for()
    page.locator("select[name=language]").select_option("de")
    page.get_by_role("button", name="Use it").click()
    page.get_by_role("heading", name="Sprache").wait_for()
    look.at(page, "account-german")


def test_pages_that_are_not_there_or_not_for_everybody(go, chromium, demo, look):
    page = go("/nothing", refused=404)
    look.at(page, "not-found")
    page.goto("/messages/999999999")
    look.at(page, "message-unknown")
    context = chromium.new_context(base_url=demo.url)
    other = context.new_page()
    other.goto("/login?next=/users")
    sign_in(other, "nina")
    look.at(other, "forbidden")
    other.goto("/messages")
    look.at(other, "messages-of-an-operator")
    context.close()


def test_no_page_was_left_out(seen):
    """In order: the last of the file."""
    if not seen:
        pytest.skip("the other tests of this file did not run")
    routes = [(method, one) for router in PAGES for one in router.routes for method in one.methods]
    left = {
        (method, one.path)
        for method, one in routes
        if not any(method == how and one.path_regex.match(path) for how, path in seen)
    }
    assert left == {("POST", "/account/password")}, "its answer is the page of the account, or the login"
