"""Nobody gets anything without signing in, nor more than their role; nothing is changed from another site."""

import pytest
from console_desk import PASSWORD, Browser

from console.guard import COOKIE, LARGEST_BODY
from console.throttle import TRIES
from engine.store import users


def test_what_is_changed_needs_the_csrf_token(browser, put):
    number = put()
    one = browser("operator")
    for token in ("", "wrong"):
        answer = one.post("/acts", csrf=False, csrf_=token, id=str(number), verb="replay", sure="1")
        assert answer.status_code == 403
    answer = one.http.post("/api/v1/messages/acts", json={"verb": "discard", "query": {"ids": [number]}})
    assert answer.status_code == 403 and answer.json()["type"] == "urn:isthmus:csrf"


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.test"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}]
)
def test_other_sites_change_nothing(browser, headers):
    one = browser("admin")
    assert one.http.post("/logout", data={"csrf": one.csrf}, headers=headers).status_code == 403
    assert one.get("/").status_code == 200


def test_a_large_body_is_refused_before_it_is_read(app):
    answer = Browser(app).http.post("/login", content=b"x", headers={"content-length": str(LARGEST_BODY + 1)})
    assert answer.status_code == 413


def test_every_answer_has_the_security_headers(app, browser):
    one = browser("viewer")
    for path in ("/", "/login", "/nothing", "/api/v1/channels", "/api/v1/nothing"):
        headers = one.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "unsafe" not in headers["content-security-policy"]


def test_after_signing_in_one_goes_to_this_site_alone(app, people):
    for target in (
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "javascript:alert(1)",
        "\\\\evil.test",
        "evil",
    ):
        answer = Browser(app).sign_in("viewer", next=target)
        assert answer.headers["location"] == "/", target
    assert (
        Browser(app).sign_in("viewer", next="/messages?channel=adt").headers["location"]
        == "/messages?channel=adt"
    )


def test_a_session_that_ended_is_told_and_leads_back_to_its_page(app, people):
    one = Browser(app)
    one.http.cookies.set(COOKIE, "ended", domain="console.test")
    page = "http://console.test/config/edit?file=channels.yaml"
    for headers, way in (({}, "location"), ({"HX-Request": "true"}, "hx-redirect")):
        answer = one.http.post("/config/edit", headers={"Referer": page, **headers})
        assert answer.headers[way] == "/login?next=/config/edit%3Ffile%3Dchannels.yaml"
    assert "Sign in again to go on" in one.http.get("/login?next=/config").text
    assert "Sign in again to go on" not in Browser(app).http.get("/login").text
    elsewhere = one.http.post("/config/edit", headers={"Referer": "http://evil.test/x"})
    assert elsewhere.headers["location"] == "/login?next=/"


def test_a_session_cannot_be_fixed_beforehand(app, people):
    one = Browser(app)
    one.http.cookies.set(COOKIE, "chosen-by-somebody-else", domain="console.test")
    answer = one.sign_in("viewer")
    assert answer.status_code == 303 and "chosen-by" not in answer.headers["set-cookie"]
    assert (
        "httponly" in answer.headers["set-cookie"].lower()
        and "samesite=strict" in answer.headers["set-cookie"].lower()
    )


def test_static_files_stay_in_their_folder(browser):
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
        assert browser("viewer").get(path).status_code in (404, 303), path


def test_after_several_wrong_passwords_a_user_is_locked(app, people, store):
    one = Browser(app)
    for _ in range(users.TRIES):
        assert one.sign_in("viewer", "wrong").status_code == 401
    assert one.sign_in("viewer", PASSWORD).status_code == 401
    assert users.get(store.reader, "viewer").locked_until > store.reader.now()
    store.writer.call(
        lambda tx: tx.execute("UPDATE user SET locked_until = 1 WHERE name = 'viewer'").rowcount
    )
    assert one.sign_in("viewer", PASSWORD).status_code == 303


def test_too_many_wrong_attempts_from_one_address_are_refused(app, people):
    answers = [Browser(app).sign_in(f"nobody{n}", "wrong").status_code for n in range(TRIES + 1)]
    assert answers == [401] * TRIES + [429]


def test_an_operator_of_one_channel_sees_and_does_nothing_elsewhere(browser, put):
    here, there = put(), put("C2", channel="siu")
    one = browser("adt")
    assert one.get(f"/messages/{here}").status_code == 200
    assert one.get(f"/messages/{there}").status_code == 404
    rows = one.http.post("/api/v1/messages/search", json={}, headers={"x-csrf-token": one.csrf}).json()[
        "messages"
    ]
    assert [row["id"] for row in rows] == [here]
    answer = one.http.post(
        "/api/v1/messages/acts",
        json={"verb": "discard", "query": {"ids": [there]}},
        headers={"x-csrf-token": one.csrf},
    )
    assert answer.status_code == 422
    assert one.post("/channels/siu/stop").status_code == 404


def test_a_token_may_what_it_was_given_and_its_user_has(app, browser, store):
    one = browser("operator")
    made = one.http.post(
        "/api/v1/tokens", json={"name": "probe", "grants": [{"role": "admin"}], "reveal": True},
        headers={"x-csrf-token": one.csrf},
    ).json()  # fmt: skip
    http = Browser(app).http
    http.headers["authorization"] = f"Bearer {made['secret']}"
    del http.headers["origin"]
    assert http.get("/api/v1/channels").status_code == 200
    assert http.get("/api/v1/users").status_code == 403
    assert http.post("/api/v1/tokens", json={"name": "x", "grants": []}).status_code == 403
    assert http.post("/api/v1/messages/1/reveal").status_code == 403
    assert (
        one.http.delete(
            f"/api/v1/tokens/{made['token']['id']}", headers={"x-csrf-token": one.csrf}
        ).status_code
        == 204
    )
    assert http.get("/api/v1/channels").status_code == 401


def test_a_session_ends_by_itself(app, browser, store):
    one = browser("viewer")
    assert one.get("/").status_code == 200
    store.writer.call(
        lambda tx: tx.execute("UPDATE session SET seen_at = seen_at - ?", (users.IDLE + 1,)).rowcount
    )
    assert one.get("/").status_code == 303
    again = browser("viewer")
    store.writer.call(
        lambda tx: (
            tx.execute("UPDATE session SET created_at = created_at - ?", (users.LIFETIME + 1,)).rowcount
        )
    )
    assert again.get("/").status_code == 303
