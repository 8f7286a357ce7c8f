"""What people see and do: the first admin, patient data masked until revealed, replay, errors, users, the audit log."""

import html
import re
import time
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pyotp
import pytest
import segno
from console_desk import BASE, PASSWORD, Browser, InThread

from engine.security import passwords
from engine.store import audit, jobs, tokens, users

PAGES = ("/", "/messages", "/patients", "/errors", "/jobs", "/users", "/audit", "/account")
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_the_first_start_asks_for_an_admin_once(app, store):
    secret = store.writer.call(users.offer_setup)
    one = Browser(app)
    assert one.get("/login").headers["location"] == "/setup"
    wrong = one.post("/setup", csrf=False, token="x", name="root", password=PASSWORD, again=PASSWORD)
    assert wrong.status_code == 422 and "not good" in wrong.text
    weak = one.post(
        "/setup", csrf=False, token=secret, name="root", password="password1234", again="password1234"
    )
    assert weak.status_code == 422
    done = one.post("/setup", csrf=False, token=secret, name="root", password=PASSWORD, again=PASSWORD)
    assert done.status_code == 303 and one.get("/users").status_code == 200
    assert store.writer.call(users.offer_setup) is None
    again = Browser(app).post(
        "/setup", csrf=False, token=secret, name="two", password=PASSWORD, again=PASSWORD
    )
    assert again.status_code == 422


@pytest.mark.parametrize("path", PAGES)
def test_pages_can_be_read_empty_and_full(browser, put, path):
    one = browser("admin")
    assert one.get(path).status_code == 200
    put()
    put("C2", error="table.code")
    assert one.get(path).status_code == 200


def test_what_a_message_holds_is_masked_until_it_is_revealed_and_that_is_kept(browser, put, store):
    number = put()
    seer, viewer = browser("seer"), browser("viewer")
    for one in (seer, viewer):
        page = one.get(f"/messages/{number}").text
        assert "Keller" not in page and "100234" not in page and "ADT^A01" in page
    assert viewer.post(f"/messages/{number}/reveal").status_code == 403
    assert not audit.find(store.reader, action="phi.reveal")
    shown = seer.post(f"/messages/{number}/reveal")
    assert shown.status_code == 200 and "Keller" in shown.text
    (row,) = audit.find(store.reader, action="phi.reveal")
    assert (row.actor, row.object) == ("seer", str(number))


def test_a_search_by_patient_stays_out_of_addresses(browser, put, store):
    number = put()
    put("C2", mrn="555")
    one = browser("viewer")
    page = one.post("/messages", mrn="100234")
    assert f'href="/messages/{number}"' in page.text
    links = " ".join(re.findall(r'(?:href|action)="([^"]*)"', page.text))
    assert "100234" not in links
    assert audit.find(store.reader, action="messages.search")


def test_a_search_by_patient_is_not_kept_as_one_for_everybody(browser, put):
    put()
    one, page = browser("operator"), {"Referer": f"{BASE}/messages?channel=adt"}
    refused = one.http.post(
        "/messages/saved", data={"csrf": one.csrf, "name": "mine", "mrn": "100234"}, headers=page
    )
    assert refused.status_code == 422 and "mrn is not kept in a saved search" in refused.text.lower()
    assert 'href="/messages?channel=adt">Back<' in refused.text
    assert one.post("/messages/saved", name="mine", zone="UTC").status_code == 422
    kept = one.post("/messages/saved", name="mine", channel="adt", type="ADT")
    assert kept.headers["location"] == "/messages?channel=adt&type=ADT"
    assert ">mine<" in one.get("/messages").text
    assert one.post("/messages/saved", name="mine", forget="1").headers["location"] == "/messages"
    assert ">mine<" not in one.get("/messages").text


def test_the_way_back_from_an_error_leads_to_a_page(browser):
    one = browser("viewer")
    for referer in ("/acts", "/nothing", "https://evil.test/messages", "/errors"):
        shown = one.get(
            "/messages/999", headers={"Referer": referer if "evil" in referer else BASE + referer}
        )
        assert ('href="/errors">Back<' in shown.text) == (referer == "/errors"), referer


def test_text_in_content_is_found_by_who_may_see_it(browser, put):
    number = put(name="Vogelsang")
    put("C2")
    assert f'href="/messages/{number}"' in browser("seer").post("/messages", text="vogelsang").text
    assert browser("viewer").post("/messages", text="vogelsang").status_code == 403


def test_a_failed_message_is_replayed_after_a_question(browser, put, store):
    number = put(error="table.code")
    one = browser("operator")
    assert "Replay the 1 of this kind" in one.get("/errors").text
    cause = re.search(r'name="cause" value="(\w+)"', one.get("/errors").text)[1]
    asked = one.post("/acts", cause=cause, channel="adt", verb="replay")
    assert "Replay 1 message?" in asked.text and not jobs.newest(store.reader)
    done = one.post("/acts", cause=cause, channel="adt", verb="replay", sure="1")
    assert done.status_code == 303
    (job,) = jobs.newest(store.reader)
    assert (job.verb, job.total, job.actor) == ("replay", 1, "operator")
    assert audit.find(store.reader, action="messages.replay")[0].object == str(number)
    assert one.get(done.headers["location"]).status_code == 200


def test_a_message_that_somebody_replayed_meanwhile_is_asked_about_again(browser, put, store):
    number = put(error="table.code")
    one, other = browser("operator"), browser("admin")
    asked = [each.post("/acts", id=number, verb="replay").text for each in (one, other)]
    assert all("Replay 1 message?" in text and "replayed already" not in text for text in asked)
    sure = {"ids": number, "verb": "replay", "sure": "1", "newest": "0"}
    assert one.post("/acts", **sure).status_code == 303
    (job,) = jobs.newest(store.reader)
    jobs.drain(store.writer.call, job.id, jobs.BATCH["replay"])
    late = other.post("/acts", **sure)
    assert late.status_code == 200 and "replayed already" in late.text and len(jobs.newest(store.reader)) == 1
    newest = re.search(r'name="newest" value="(\d+)"', late.text)[1]
    assert int(newest) > number
    assert other.post("/acts", **{**sure, "newest": newest}).status_code == 303


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id": "S1", "name": "Astrid"}',
        b"<letter><to>Astrid</to></letter>",
        b"id;name\n1;Astrid\n",
        b"\xff\x00",
    ],
)
def test_a_message_that_is_no_hl7_has_its_page(browser, put, raw):
    put(raw=raw)
    for who in ("admin", "seer"):
        one = browser(who)
        page = one.get("/messages/1")
        assert page.status_code == 200 and "<h2>Message</h2>" in page.text and "Astrid" not in page.text
    assert ("Astrid" in one.post("/messages/1/reveal").text) is (b"Astrid" in raw)


def test_xml_is_shown_an_element_a_line_and_masked_but_for_its_names(browser, put):
    put(
        raw=b'<letter id="770"><!-- Astrid --><to kind="x">Astrid</to>'
        b"<p>a <b>Keller</b> c</p><?pi Astrid?></letter>"
    )
    one = browser("seer")
    masked = html.unescape(one.get("/messages/1").text)
    assert '<letter id="•••">\n  <!--•••-->\n  <to kind="•••">•••</to>\n  <p>•••<b>•••</b>•••</p>' in masked
    assert not any(word in masked for word in ("Astrid", "770", "Keller"))
    shown = html.unescape(one.post("/messages/1/reveal").text)
    assert '  <to kind="x">Astrid</to>\n  <p>a <b>Keller</b> c</p>\n  <?pi Astrid?>\n</letter>' in shown
    put(raw=b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', control_id="C2")
    assert "•••" in one.get("/messages/2").text and "root:" not in one.post("/messages/2/reveal").text


def test_every_field_of_a_message_is_shown_as_text(browser, put):
    """Stored cross-site scripting through each field that pages show."""
    evil = EVIL.encode()
    raw = (
        b"MSH|^~\\&|"
        + b"|".join([evil] * 9)
        + b"\r"
        + b"\r".join(name + b"|" + b"|".join([evil] * 12) for name in (b"PID", b"PV1", b"ZZZ"))
    )
    number = put(control_id=EVIL, raw=raw, channel=EVIL, error=EVIL)
    one = browser("admin")
    for page in (one.get(f"/messages/{number}"), one.get("/messages"), one.get("/errors"), one.get("/")):
        assert page.status_code == 200
        assert "<script>alert" not in page.text and "<img src=x" not in page.text
    seer = browser("seer").post(f"/messages/{number}/reveal")
    assert "<script>alert" not in seer.text and "&lt;script&gt;" in seer.text


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "1); DROP TABLE message; --", '"', "%", "\x00", "*", "ADT^A01' UNION SELECT 1"]
)
def test_no_search_parameter_becomes_sql(browser, put, store, text):
    put()
    one = browser("seer")
    for field in ("channel", "destination", "cause", "code", "type", "control_id", "mrn", "visit", "text"):
        answer = one.http.post(
            "/api/v1/messages/search", json={field: text}, headers={"x-csrf-token": one.csrf}
        )
        assert answer.status_code == 200 and answer.json()["messages"] == [], field
    for field in ("state", "delivery", "since", "until", "order", "id; DROP"):
        answer = one.http.post(
            "/api/v1/messages/search", json={field: text}, headers={"x-csrf-token": one.csrf}
        )
        assert answer.status_code == 422, field
    assert store.reader.rows("SELECT count(*) FROM message") == [(1,)]


def test_users_are_managed_and_the_last_admin_stays(browser, store):
    one = browser("admin")
    assert one.post("/users", name="new", role="viewer", password=PASSWORD, act="add").status_code == 303
    assert one.post("/users", name="new", role="viewer", password="short", act="add").status_code == 422
    assert one.post("/users", name="admin", act="delete").status_code == 422
    assert one.post("/users", name="admin", act="disable").status_code == 422
    assert one.post("/users", name="new", act="delete").status_code == 303
    assert users.get(store.reader, "new") is None and users.get(store.reader, "admin") is not None


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET actor = 'somebody' WHERE id = 3",
        "DELETE FROM audit WHERE id = 3",
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
    ],
)
def test_a_changed_audit_log_is_noticed(store, change):
    for number in range(5):
        store.writer.call(lambda tx, number=number: audit.record(tx, "x", "y", str(number)))
    whole = audit.verify(store.reader)
    assert (whole.rows, whole.broken) == (5, 0) and audit.holds(store.reader, whole.head)
    store.writer.call(lambda tx: tx.execute(change).rowcount)
    assert audit.verify(store.reader).broken


def test_a_second_factor_is_asked_for_and_a_code_is_good_once(app, browser, store):
    one = browser("viewer")
    page = one.post("/account/totp").text
    secret = re.search(r'name="secret" value="(\w+)"', page)[1]
    assert one.post("/account/totp", secret=secret, code="000000").status_code == 422
    code = pyotp.TOTP(secret).at(int(time.time()))
    assert one.post("/account/totp", secret=secret, code=code).status_code == 200
    assert Browser(app).sign_in("viewer").status_code == 401
    assert Browser(app).sign_in("viewer", code=code).status_code == 401
    code = pyotp.TOTP(secret).at(int(time.time()) + 30)
    assert Browser(app).sign_in("viewer", code=code).status_code == 303
    assert Browser(app).sign_in("viewer", code=code).status_code == 401
    assert secret.encode() not in store.reader.rows("SELECT totp FROM user WHERE name = 'viewer'")[0][0]


def test_typed_times_are_those_of_the_reader(browser, put, store):
    number = put()
    one, link = browser("viewer"), f'href="/messages/{number}"'
    tokyo = datetime.now(ZoneInfo("Asia/Tokyo")).replace(tzinfo=None)
    before, later = ((tokyo + timedelta(hours=hours)).isoformat(timespec="minutes") for hours in (-1, 1))
    assert link in one.post("/messages", since=before, until=later, zone="Asia/Tokyo").text
    assert link not in one.post("/messages", since=before, until=later).text, "UTC: nine hours from now"
    assert (
        link
        in one.post("/messages", since=f"{before}+09:00", until=f"{later}+09:00", zone="Europe/Berlin").text
    )
    for zone in ("Nowhere/At_All", "../../etc/passwd", "Europe"):
        refused = one.post("/messages", since=before, zone=zone)
        assert refused.status_code == 422 and "no time zone" in refused.text
    assert link in one.get("/messages?zone=Asia/Tokyo").text


def test_api_tokens_are_made_changed_and_revoked_under_ones_name(browser, app, store):
    one, other = browser("operator"), browser("viewer")

    def made(answer):
        assert answer.status_code == 200
        return re.search(r"ist_[\w-]+", answer.text)[0]

    def good(secret):
        headers = {"authorization": f"Bearer {secret}"}
        return (
            httpx.Client(transport=InThread(app), base_url=BASE)
            .get("/api/v1/account", headers=headers)
            .status_code
        )

    secret = made(
        one.post("/account/tokens", name="lab", role="admin", channels="adt, tag:lab", days="5", reveal="1")
    )
    (token,) = tokens.find(store.reader)
    assert (token.user, token.grants[0].channels, good(secret)) == ("operator", ("adt", "tag:lab"), 200)
    assert secret not in one.get("/account").text, "shown once"
    assert other.post("/account/tokens/rotate", number=token.id).status_code == 404
    assert other.post("/account/tokens/revoke", number=token.id).status_code == 404
    fresh = made(one.post("/account/tokens/rotate", number=token.id, overlap="24"))
    assert (good(secret), good(fresh)) == (200, 200)
    last = made(one.post("/account/tokens/rotate", number=token.id + 1))
    assert (good(fresh), good(last)) == (401, 200)
    assert one.post("/account/tokens/rotate", number=token.id + 1).status_code == 422
    assert one.post("/account/tokens/revoke", number=token.id + 2).status_code == 303
    assert good(last) == 401
    for wrong in ({"name": ""}, {"days": "0"}, {"days": "x"}, {"role": "king"}):
        assert one.post("/account/tokens", **({"name": "x", "role": "viewer"} | wrong)).status_code == 422
    actions = [row.action for row in audit.find(store.reader, limit=20)]
    assert {"token.create", "token.rotate", "token.revoke"} <= set(actions)


def test_a_second_factor_is_drawn_for_the_app_that_reads_it(browser):
    page = browser("viewer").post("/account/totp").text
    width = int(re.search(r'viewBox="0 0 (\d+) \1"', page)[1])
    dark = set(re.findall(r"M(\d+) (\d+)h1v1h-1z", page))
    secret = re.search(r'name="secret" value="(\w+)"', page)[1]
    wanted = segno.make(passwords.totp_address(secret, "viewer"), error="m").matrix_iter(border=3)
    assert dark == {(str(x), str(y)) for y, row in enumerate(wanted) for x, one in enumerate(row) if one}
    assert width == max(int(x) for x, _ in dark) + 4
