"""The REST API does what the pages do: each act of a page has its endpoint, and one's own account is there, too."""

from __future__ import annotations

import time

import pyotp
import pytest
from console_desk import PASSWORD, Browser

from console.pages import PAGES
from engine.security.roles import Grant, Role
from engine.store import jobs, tokens, users

API = {
    "GET /": "GET /channels", "GET /live": "GET /channels",
    "POST /channels/{name}/{act}": "POST /channels/{name}/{act}",
    "POST /reload": "POST /configuration/reload",
    "GET /messages": "POST /messages/search", "POST /messages": "POST /messages/search",
    "POST /messages/saved": "PUT /searches/{name}", "GET /messages/{message_id}": "GET /messages/{message_id}",
    "POST /messages/{message_id}/reveal": "POST /messages/{message_id}/reveal",
    "GET /messages/{message_id}/trace": "GET /messages/{message_id}/trace",
    "POST /messages/{message_id}/trace": "POST /messages/{message_id}/trace",
    "POST /acts": "POST /messages/acts", "POST /acts/preview": "POST /messages/acts/preview",
    "POST /messages/{message_id}/edit": "POST /messages/{message_id}/record",
    "POST /messages/{message_id}/edit/preview": "POST /messages/{message_id}/edit/preview",
    "POST /messages/{message_id}/edit/effects": "POST /messages/{message_id}/edit/preview",
    "POST /messages/{message_id}/edit/replay": "POST /messages/{message_id}/edit",
    "POST /messages/compare": "GET /messages/{message_id}/compare",
    "GET /messages/{message_id}/compare": "GET /messages/{message_id}/compare",
    "POST /messages/{message_id}/compare": "POST /messages/{message_id}/compare",
    "POST /messages/export": "POST /messages/export", "GET /exports/{name}": "POST /messages/export",
    "GET /exports/{name}/file": "POST /messages/export",
    "GET /patients": "POST /patients", "POST /patients": "POST /patients",
    "GET /patients/{reference}": "GET /patients/{reference}",
    "POST /messages/{message_id}/patient": "POST /messages/{message_id}/patient",
    "GET /errors": "GET /errors", "POST /errors/again": "POST /errors/again", "GET /jobs": "GET /jobs",
    "GET /jobs/{job_id}": "GET /jobs/{job_id}", "POST /jobs/{job_id}/{act}": "POST /jobs/{job_id}/{act}",
    "GET /config": "GET /configuration", "POST /config/diff": "POST /configuration/diff",
    "POST /config/rollback": "POST /configuration/rollback", "GET /config/edit": "GET /configuration",
    "POST /config/edit": "POST /configuration/deploy", "GET /config/tables": "GET /configuration/tables",
    "POST /config/tables": "POST /configuration/tables/{name}/codes",
    "GET /users": "GET /users", "POST /users": "PATCH /users/{name}", "GET /audit": "GET /audit",
    "GET /account": "GET /account", "POST /account/password": "POST /account/password",
    "POST /account/totp": "PUT /account/second-factor", "POST /account/tokens": "POST /tokens",
    "POST /account/tokens/rotate": "POST /tokens/{number}/rotate",
    "POST /account/tokens/revoke": "DELETE /tokens/{number}",
}  # fmt: skip
NOT_NEEDED = {  # a token stands for a session; pages alone speak a language
    "GET /login", "POST /login", "POST /logout", "GET /setup", "POST /setup", "POST /account/language",
    "GET /session",
    "GET /oidc/{name}/login", "GET /oidc/{name}/callback",
}  # fmt: skip


def test_every_act_of_a_page_has_its_endpoint(app):
    pages = {
        f"{method} {route.path}"
        for router in PAGES
        for route in router.routes
        for method in route.methods - {"HEAD"}
    }
    assert pages == set(API) | NOT_NEEDED, "a new page needs its endpoint"
    there = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, found in app.openapi()["paths"].items() for method in found
    }  # fmt: skip
    assert set(API.values()) <= there, set(API.values()) - there


@pytest.fixture
def api(app, people, store):
    """A client with an operator's token."""
    until = store.reader.now() + 3_600_000_000
    grants = [Grant(Role.OPERATOR)]
    secret, _ = store.writer.call(lambda tx: tokens.add(tx, "operator", "probe", grants, until, reveal=True))
    http = Browser(app).http
    http.headers["authorization"] = f"Bearer {secret}"
    return http


def test_ones_own_account(api, app, store):
    told = api.get("/api/v1/account").json()
    assert (told["user"]["name"], told["reveal"], told["token"]) == ("operator", False, 1)
    offered = api.post("/api/v1/account/second-factor/new").json()
    assert offered["secret"] in offered["address"]
    wanted = {"secret": offered["secret"], "code": pyotp.TOTP(offered["secret"]).at(int(time.time()))}
    assert api.put("/api/v1/account/second-factor", json=wanted | {"code": "1"}).status_code == 422
    assert not users.get(store.reader, "operator").has_totp
    assert api.put("/api/v1/account/second-factor", json=wanted).status_code == 204
    assert users.get(store.reader, "operator").has_totp
    assert api.put("/api/v1/account/second-factor", json=wanted).json()["title"] == "password.wrong"
    assert api.post("/api/v1/account/second-factor/off", json={"password": "x"}).status_code == 422
    assert api.post("/api/v1/account/second-factor/off", json={"password": PASSWORD}).status_code == 204
    for old, new, status in (
        ("x", "another sentence", 422),
        (PASSWORD, "short", 422),
        (PASSWORD, "another sentence", 204),
    ):
        assert api.post("/api/v1/account/password", json={"old": old, "password": new}).status_code == status
    assert Browser(app).sign_in("operator", "another sentence").status_code == 303


def test_saved_searches_hold_no_patient_data(api):
    assert api.put("/api/v1/searches/night", json={"channel": "adt", "since": "24h"}).status_code == 204
    for private in ({"mrn": "1"}, {"visit": "1"}, {"text": "x"}, {"columns": {"ward": "x"}}):
        answer = api.put("/api/v1/searches/other", json=private)
        assert answer.status_code == 422 and answer.json()["title"] == "query.private"
    assert api.get("/api/v1/searches").json() == {"night": {"channel": "adt", "since": "24h"}}
    assert (
        api.delete("/api/v1/searches/night").status_code == 204 and api.get("/api/v1/searches").json() == {}
    )


def test_an_act_is_weighed_before_it_is_done(api, put, store):
    number = put()
    newer = put("C2")
    store.writer.call(
        lambda tx: (
            tx.execute(
                "UPDATE delivery SET state = 'SENT', finished_at = ? WHERE message_id = ?", (tx.now(), newer)
            ).rowcount
        )
    )
    act = {"verb": "replay", "query": {"ids": [number]}}
    weight = api.post("/api/v1/messages/acts/weigh", json=act).json()
    assert weight["messages"] == 1 and weight["without_content"] == []
    assert [one["newer"] for one in weight["stale"]] == [newer]
    assert api.post("/api/v1/messages/acts", json=act).json()["title"] == "stale"


def test_the_patient_of_a_message_is_found(api, put):
    number = put()
    put("C2")
    put("C3", mrn="555")
    found = api.post(f"/api/v1/messages/{number}/patient").json()
    assert found["total"] == 2 and api.get(f"/api/v1/patients/{found['reference']}").json()["total"] == 2


def test_long_lists_come_in_pages(api, put, store):
    for number in range(5):
        put(f"C{number}")
        jobs.submit(store.writer.call, "operator", "resend", [1])
    listed, after = [], None
    while True:
        page = api.get("/api/v1/jobs", params={"limit": 2} | ({"after": after} if after else {})).json()
        if not page:
            break
        listed += [job["id"] for job in page]
        after = listed[-1]
    assert listed == [5, 4, 3, 2, 1]
    found, after = [], None
    while True:
        page = api.post(
            "/api/v1/messages/search", params={"limit": 2} | ({"after": after} if after else {}), json={}
        ).json()
        found += [row["id"] for row in page["messages"]]
        after = page["next"]
        if after is None:
            break
    assert found == [5, 4, 3, 2, 1]
