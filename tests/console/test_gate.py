"""Nobody gets anything without signing in, nor more than their role; nothing is changed from another site."""

import re

import pytest
from console_desk import PASSWORD, Browser

from console.app import API
from console.guard import COOKIE, LARGEST_BODY
from console.pages import PAGES
from console.rights import Need
from console.throttle import TRIES
from engine.security.roles import Role
from engine.store import users

PUBLIC = {"/login", "/setup", "/oidc/{name}/login", "/oidc/{name}/callback"}
SAMPLE = {
    "reference": "x",
    "message_id": "1",
    "job_id": "1",
    "number": "1",
    "name": "adt",
    "act": "pause",
    "version": "1",
}


def routes():
    """(method, path, need) of every route, as its own dependency says."""
    found = []
    for prefix, routers in (("/api/v1", API), ("", PAGES)):
        for route in (route for router in routers for route in router.routes):
            needs = [one.call for one in route.dependant.dependencies if isinstance(one.call, Need)]
            path = prefix + re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: SAMPLE[part[1]], route.path)
            if route.path not in PUBLIC:
                found += [
                    (method, path, needs[0] if needs else None) for method in sorted(route.methods - {"HEAD"})
                ]
    return found


def test_every_route_says_what_it_needs():
    assert [path for _, path, need in routes() if need is None] == []
    assert len(routes()) > 50


def test_nobody_gets_anything_without_signing_in(app, people):
    http = Browser(app).http
    for method, path, _ in routes():
        answer = http.request(method, path, headers={"accept": "application/json"})
        assert answer.status_code in (401, 303), (method, path)
        if answer.status_code == 303:
            assert answer.headers["location"].startswith("/login"), path


def test_a_role_that_is_too_low_is_refused_everywhere(app, browser):
    """Made from the application itself: each route with each role below the one that it needs."""
    refused = 0
    signed_in = {role: browser(role.value) for role in Role}
    csrf = {role: one.csrf for role, one in signed_in.items()}
    for method, path, need in routes():
        for role, one in signed_in.items():
            if role.rank >= need.role.rank and not need.reveal:
                continue
            answer = one.http.request(
                method, path, headers={"accept": "application/json", "x-csrf-token": csrf[role]}, json={}
            )
            assert answer.status_code in (403, 422), (method, path, role)
            if answer.status_code == 403:
                refused += 1
            else:  # a body that does not fit is told before the role: nothing was done
                assert method in ("POST", "PATCH"), path
    assert refused > 20


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
