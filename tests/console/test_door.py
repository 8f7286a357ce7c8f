"""The door: lockout that nobody can turn against a user, attempts at once, second factors, sessions, tokens."""

from __future__ import annotations

import re
import threading
import time

import pyotp
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from console_desk import PASSWORD, Browser

from console import throttle
from console.guard import COOKIE
from console.pages import dashboard
from console.signing_in import DEVICE
from engine.security import passwords
from engine.security.roles import Grant, Role
from engine.store import audit, tokens, users


def locked(store, name):
    return users.get(store.reader, name).locked_until > store.reader.now()


def test_others_cannot_lock_a_user_out_of_a_browser_that_they_signed_in_on(app, people, store):
    mine, other = Browser(app), Browser(app)
    assert mine.sign_in("admin").status_code == 303
    kept = mine.http.cookies.get(DEVICE)
    mine.http.cookies.delete(COOKIE)
    for _ in range(users.TRIES):
        assert other.sign_in("admin", "wrong").status_code == 401
    assert locked(store, "admin") and other.sign_in("admin").status_code == 401
    assert mine.sign_in("admin").status_code == 303
    assert mine.http.cookies.get(DEVICE) != kept
    assert Browser(app).sign_in("admin").status_code == 303, "who came in is locked no more"


def test_a_known_browser_has_as_few_tries_and_is_one_of_its_user_alone(app, people, store):
    mine = Browser(app)
    assert mine.sign_in("viewer").status_code == 303
    device = mine.http.cookies.get(DEVICE)
    for _ in range(users.TRIES):
        assert mine.sign_in("viewer", "wrong").status_code == 401
    assert not locked(store, "viewer"), "they were counted apart"
    for _ in range(users.TRIES):
        assert mine.sign_in("viewer", "wrong").status_code == 401
    assert locked(store, "viewer") and mine.sign_in("viewer").status_code == 401
    for made_up in (device, device.replace(".", "x."), "x.y", ".", "é"):
        assert users.secrets_of(store.reader, "operator", made_up).locked is False
        store.writer.call(lambda tx, one=made_up: users.failed(tx, "operator", one))
    assert store.reader.rows("SELECT failures FROM user WHERE name = 'operator'") == [(5,)]


def test_many_attempts_at_once_are_no_more_than_one_after_the_other(app, people, store, monkeypatch):
    """Each would see that nobody is locked yet, if they were checked side by side."""
    monkeypatch.setattr(throttle, "TRIES", 8)
    checked, right = [], passwords.matches

    def matches(kept, password):
        checked.append(password)
        return right(kept, password)

    monkeypatch.setattr(passwords, "matches", matches)
    answers = []
    attempts = [
        threading.Thread(target=lambda: answers.append(Browser(app).sign_in("viewer", "wrong").status_code))
        for _ in range(16)
    ]
    for one in attempts:
        one.start()
    for one in attempts:
        one.join()
    assert sorted(answers) == [401] * 8 + [429] * 8 and len(checked) == 8
    assert store.reader.rows("SELECT failures FROM user WHERE name = 'viewer'") == [(users.TRIES,)]


def test_a_stolen_session_does_not_find_the_password_from_many_addresses(browser, monkeypatch):
    monkeypatch.setattr(throttle, "TRIES", 3)
    one, answers = browser("viewer"), []
    csrf = one.csrf
    for number in range(5):
        one.http._transport.transport.client = (f"10.0.0.{number}", 1)
        new = {"old": "wrong", "password": "another long sentence"}
        answer = one.http.post("/api/v1/account/password", json=new, headers={"x-csrf-token": csrf})
        answers.append(answer.status_code)
    assert answers == [422] * 3 + [429] * 2


def test_one_network_of_ipv6_is_one_address():
    one = throttle.Throttle()
    for number in range(throttle.TRIES):
        one.failed(f"2001:db8:1:2::{number:x}")
    with pytest.raises(Exception, match="too many"):
        one.check("2001:db8:1:2:ffff::1")
    one.check("2001:db8:1:3::1")
    for number in range(throttle.ADDRESSES + 10):
        one.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(one._failed) == throttle.ADDRESSES


def test_an_admin_unlocks_a_user_and_takes_a_lost_second_factor_away(app, browser, store):
    one = browser("admin")
    store.writer.call(lambda tx: users.set_totp(tx, "viewer", passwords.new_totp()))
    for _ in range(users.TRIES):
        store.writer.call(lambda tx: users.failed(tx, "viewer"))
    page = one.get("/users").text
    assert page.count('value="unlock"') == 1 and page.count('value="factor"') == 1
    assert Browser(app).sign_in("viewer").status_code == 401
    assert one.post("/users", name="viewer", act="unlock").status_code == 303
    assert one.post("/users", name="viewer", act="factor").status_code == 303
    assert Browser(app).sign_in("viewer").status_code == 303
    assert {row.action for row in audit.find(store.reader, object="viewer")} >= {"user.unlock", "totp.off"}
    assert browser("operator").post("/users", name="viewer", act="unlock").status_code == 403
    store.writer.call(lambda tx: users.set_totp(tx, "viewer", passwords.new_totp()))
    for change in ({"locked": False}, {"second_factor": False}):
        answer = one.http.patch("/api/v1/users/viewer", json=change, headers={"x-csrf-token": one.csrf})
        assert answer.status_code == 200
    assert not users.get(store.reader, "viewer").has_totp
    answer = one.http.patch("/api/v1/users/viewer", json={"locked": True}, headers={"x-csrf-token": one.csrf})
    assert answer.status_code == 422, "nobody is locked by hand"


@pytest.mark.parametrize("code", ["", "é", "０００００0", "1" * 20, "abcdef", "\x00"])
def test_a_code_that_is_none_is_refused(app, browser, store, code):
    store.writer.call(lambda tx: users.set_totp(tx, "viewer", passwords.new_totp()))
    assert Browser(app).sign_in("viewer", code=code).status_code == 401


def test_a_second_factor_is_strong_used_once_and_changed_with_the_password_alone(app, browser, store):
    one = browser("viewer")
    secret = re.search(r'name="secret" value="(\w+)"', one.post("/account/totp").text)[1]
    for weak in ("A", "!!!", "é" * 32, "AAAAAAAA"):
        assert one.post("/account/totp", secret=weak, code="000000").status_code == 422
    code = pyotp.TOTP(secret).at(int(time.time()))
    assert one.post("/account/totp", secret=secret, code=code).status_code == 200
    assert Browser(app).sign_in("viewer", code=code).status_code == 401, "it was used when it was set up"
    mine = passwords.new_totp()
    code = pyotp.TOTP(mine).at(int(time.time()) + 30)
    assert one.post("/account/totp", secret=mine, code=code).status_code == 422
    assert one.post("/account/totp", secret=mine, code=code, password=PASSWORD).status_code == 200
    assert one.post("/account/totp", off="1").status_code == 422
    assert one.post("/account/totp", off="1", password=PASSWORD).status_code == 200


def test_signing_in_again_ends_the_session_of_before(app, people, store):
    one, thief = Browser(app), Browser(app)
    one.sign_in("viewer")
    thief.http.cookies.set(COOKIE, one.http.cookies.get(COOKIE), domain="console.test")
    assert thief.get("/").status_code == 200
    assert one.sign_in("viewer").status_code == 303
    assert one.get("/").status_code == 200 and thief.get("/").status_code == 303


def test_a_password_is_argon2id_and_older_hashes_are_renewed(app, people, store):
    from argon2 import PasswordHasher

    assert passwords.hashed(PASSWORD).startswith("$argon2id$")
    old = PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD)
    store.writer.call(
        lambda tx: tx.execute("UPDATE user SET password = ? WHERE name = 'viewer'", (old,)).rowcount
    )
    assert Browser(app).sign_in("viewer").status_code == 303
    ((kept,),) = store.reader.rows("SELECT password FROM user WHERE name = 'viewer'")
    assert kept != old and not passwords.outdated(kept)


def test_a_token_is_rotated_expires_and_shows_its_use(app, browser, store):
    one = browser("operator")
    headers = {"x-csrf-token": one.csrf}
    made = one.http.post(
        "/api/v1/tokens", json={"name": "probe", "grants": [{"role": "viewer", "channels": ["adt"]}], "days": 3},
        headers=headers,
    ).json()  # fmt: skip
    number = made["token"]["id"]

    def status(secret):
        http = Browser(app).http
        http.headers["authorization"] = f"Bearer {secret}"
        return http.get("/api/v1/channels").status_code

    assert status(made["secret"]) == 200
    assert tokens.find(store.reader, "operator")[0].used_at
    turned = one.http.post(f"/api/v1/tokens/{number}/rotate", json={"overlap": 1}, headers=headers).json()
    token = turned["token"]
    assert (token["name"], token["grants"]) == ("probe", made["token"]["grants"])
    life = made["token"]["expires_at"] - made["token"]["created_at"]
    assert abs(token["expires_at"] - token["created_at"] - life) < 1_000_000
    assert status(made["secret"]) == status(turned["secret"]) == 200
    old = next(one for one in tokens.find(store.reader, "operator") if one.id == number)
    assert old.expires_at - store.reader.now() <= 3_600_000_000
    again = one.http.post(f"/api/v1/tokens/{token['id']}/rotate", json={}, headers=headers).json()
    assert (status(turned["secret"]), status(again["secret"])) == (401, 200)
    gone = one.http.post(f"/api/v1/tokens/{token['id']}/rotate", json={}, headers=headers)
    assert gone.status_code == 422 and gone.json()["title"] == "token.ended"
    admin = browser("admin")
    for who, more in (
        (admin, {"x-csrf-token": admin.csrf}),
        (Browser(app), {"authorization": f"Bearer {again['secret']}"}),
    ):
        answer = who.http.post(f"/api/v1/tokens/{again['token']['id']}/rotate", json={}, headers=more)
        assert answer.status_code in (403, 404), "who has a secret acts as its user"
    store.writer.call(lambda tx: tx.execute("UPDATE token SET expires_at = ?", (tx.now(),)).rowcount)
    assert status(again["secret"]) == 401
    assert audit.find(store.reader, action="token.rotate")[0].object == str(token["id"])


def test_the_live_dashboard_ends_with_a_token_and_follows_its_rights(app, people, put, store, monkeypatch):
    looks, look = [], dashboard.overview_for
    monkeypatch.setattr(dashboard, "EVERY", 0.02)
    monkeypatch.setattr(dashboard, "overview_for", lambda *given: looks.append(1) or look(*given))
    put()
    put("C2", channel="siu")
    until = store.reader.now() + 3_600_000_000
    secret, token = store.writer.call(
        lambda tx: tokens.add(tx, "admin", "probe", [Grant(Role.VIEWER)], until)
    )
    http = Browser(app).http
    http.headers["authorization"] = f"Bearer {secret}"
    answers = []
    watching = threading.Thread(target=lambda: answers.append(http.get("/live").text))

    def seen_by_now():
        before = len(looks)
        while len(looks) < before + 3 and watching.is_alive():
            time.sleep(0.02)

    watching.start()
    seen_by_now()
    narrow = users.packed([Grant(Role.VIEWER, ("adt",))])
    store.writer.call(lambda tx: tx.execute("UPDATE token SET grants = ?", (narrow,)).rowcount)
    seen_by_now()
    store.writer.call(lambda tx: tokens.revoke(tx, token.id))
    watching.join(20)
    assert not watching.is_alive()
    first, *_, last = answers[0].split("event: channels")[1:]
    assert "siu" in first and "siu" not in last and "adt" in last


def test_a_password_of_nobody_is_checked_as_a_real_one():
    """Else the time tells who exists."""
    assert extract_parameters(passwords._NOBODY) == extract_parameters(passwords.rehashed("of somebody"))
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(passwords._NOBODY, "of nobody")
