"""Who may ask what, made from the application itself: every page, endpoint and stream with every way not to be let in.

A route that is new is in it by being there: it needs no line here but a sample of a new kind of path parameter.
"""

from __future__ import annotations

import re

import pytest
from console_desk import Browser

from console import health
from console.app import API
from console.guard import SAFE
from console.pages import PAGES
from console.rights import Need
from engine.security.roles import Grant, Role
from engine.store import jobs, tokens, users

OPEN = {"/login", "/setup", "/oidc/{name}/login", "/oidc/{name}/callback"}
HOUR = 3_600_000_000
SECRET = "zebra"  # stands in everything of the channel that they may not see
ELSEWHERE = f"{SECRET}-channel"
OTHERWISE = ("/api/v1/configuration", "/config", "/live", "/messages/saved", "/api/v1/searches")
"""Read by every analyst; followed by test_door; one's own searches."""


def routes():
    """(method, path template, what it needs) of every route."""
    for prefix, routers in (("/api/v1", API), ("", PAGES)):
        for route in (route for router in routers for route in router.routes):
            needs = [one.call for one in route.dependant.dependencies if isinstance(one.call, Need)]
            for method in sorted(route.methods - {"HEAD"}):
                if route.path not in OPEN:
                    yield method, prefix + re.sub(r":\w+}", "}", route.path), needs


def asked(template, **more):
    """A path about what is there."""
    known = {"message_id": "1", "job_id": "1", "number": "1", "name": ELSEWHERE, "act": "pause", "reference": "x",
             "version": "1"} | more  # fmt: skip
    return template.format(**{name: known[name] for name in re.findall(r"{(\w+)}", template)})


def test_nothing_is_served_that_is_not_in_the_matrix(app):
    included = [route.original_router for route in app.routes if hasattr(route, "original_router")]
    assert {id(one) for one in included} == {id(one) for one in (*API, *PAGES, health.router)}
    others = {route.path for route in app.routes if not hasattr(route, "original_router")}
    assert others == {"/api/v1/openapi.json", "/static"}
    assert {route.path for route in health.router.routes} == {"/health", "/ready"}
    assert [path for _, path, needs in routes() if len(needs) != 1] == [], "each says what it needs"
    assert len(list(routes())) > 100


@pytest.fixture
def token(app, people, store):
    """Makes a token of a user, and gives a client that carries it."""

    def made(user="admin", grants=(), life=HOUR, reveal=False):
        until = store.reader.now() + life
        secret, one = store.writer.call(
            lambda tx: tokens.add(
                tx, user, "probe", list(grants) or [Grant(Role.ADMIN)], until, reveal=reveal
            )
        )
        http = Browser(app).http
        del http.headers["origin"]
        http.headers.update({"authorization": f"Bearer {secret}", "accept": "application/json"})
        return http, one

    return made


def test_whoever_is_not_known_gets_nothing(app, token, store, browser):
    """Without a token, with one that is made up, expired, revoked, of a user who is disabled, or gone."""
    good, _ = token()
    assert good.get("/api/v1/channels").status_code == 200
    expired, _ = token(life=-1)
    revoked, one = token()
    store.writer.call(lambda tx: tokens.revoke(tx, one.id))
    disabled, _ = token("seer", [Grant(Role.VIEWER)])
    signed_in = browser("seer").http
    signed_in.headers["accept"] = "application/json"
    store.writer.call(lambda tx: users.change(tx, "seer", disabled=True))
    gone, _ = token("operator", [Grant(Role.VIEWER)])
    store.writer.call(lambda tx: users.remove(tx, "operator"))
    made_up, nobody = Browser(app).http, Browser(app).http
    made_up.headers["authorization"] = "Bearer " + good.headers["authorization"][7:-1] + "?"
    strangers = {
        "nobody": nobody, "made up": made_up, "expired": expired, "revoked": revoked, "disabled": disabled,
        "session of a disabled user": signed_in, "gone": gone,
    }  # fmt: skip
    for method, template, _ in routes():
        for who, http in strangers.items():
            answer = http.request(method, asked(template), json={} if method not in SAFE else None)
            if template.startswith("/api/"):
                assert answer.status_code == 401, (who, method, template)
                assert answer.headers["www-authenticate"] == "Bearer", template
                assert answer.json()["type"] == "urn:isthmus:unauthenticated", template
            else:
                assert answer.status_code == 303, (who, method, template)
                assert answer.headers["location"].startswith("/login?next="), template


@pytest.mark.parametrize("role", list(Role))
def test_a_token_may_no_more_than_its_scope(app, token, role):
    """A token of somebody who may do everything, of each role, without the right to see patient data."""
    http, _ = token(grants=[Grant(role)])
    refused = 0
    for method, template, (need,) in routes():
        if role.rank >= need.role.rank and not need.reveal:
            continue
        answer = http.request(method, asked(template), json={} if method not in SAFE else None)
        assert answer.status_code == 403, (method, template, answer.text[:200])
        refused += 1
    assert refused > 5


def test_who_has_one_channel_sees_and_changes_nothing_of_another(app, token, put, store, beat, monkeypatch):
    """An operator, analyst and admin of one channel asks for all there is; everything is of another channel."""
    monkeypatch.setattr("console.acting.COMMAND_WAIT", 0.05)
    number = put(f"{SECRET}-1", mrn=f"{SECRET}-7", name=SECRET, channel=ELSEWHERE)
    put(f"{SECRET}-2", channel=ELSEWHERE, error=f"{SECRET}.error")
    jobs.submit(store.writer.call, "admin", "resend", [number], note=SECRET)
    problem = {"why": f"{SECRET} is wrong", "problems": 1}
    beat(
        told={"totals_at_start": {ELSEWHERE: {"received": 7}}, "config_problem": problem},
        **{ELSEWHERE: {"state": "started", "description": SECRET}},
    )
    store.writer.call(lambda tx: users.change(tx, "admin", reveal=True))
    http, mine = token(grants=[Grant(role, ("adt",)) for role in Role], reveal=True)
    tables = ("message", "delivery", "job", "event", "user", "command")
    before = [store.reader.rows(f"SELECT count(*) FROM {table}") for table in tables]
    states = store.reader.rows("SELECT state FROM delivery UNION ALL SELECT state FROM job")
    number, seen = mine.id, 0
    bodies = (
        {},
        {"mrn": f"{SECRET}-7"},
        {"channel": ELSEWHERE},
        {"control_id": f"{SECRET}-1"},
        {"text": SECRET},
    )
    for method, template, _ in routes():
        if template.startswith(OTHERWISE) or method == "DELETE":
            continue
        path = asked(template, number=str(number))
        for body in bodies if method not in SAFE else (None,):
            for more in ({"json": body}, {"data": body}) if body is not None else ({},):
                answer = http.request(method, path, **more)
                assert answer.status_code != 500, (method, path, body)
                told = answer.text.replace(ELSEWHERE, "") if answer.status_code == 404 else answer.text
                for given in (body or {}).values():  # a page shows what one typed
                    told = told.replace(given, "")
                assert SECRET not in told.replace(path, ""), (method, path, body, told[:300])
                seen += answer.status_code == 200
            for act in ("replay", "resend", "discard"):
                if method == "POST":
                    answer = http.post(
                        path, json={"verb": act, "query": {"ids": [1, 2]} | (body or {}), "force": True}
                    )
                    assert SECRET not in answer.text.replace(ELSEWHERE, ""), (path, act, answer.text[:300])
    assert seen > 20
    assert [store.reader.rows(f"SELECT count(*) FROM {table}") for table in tables] == before
    assert store.reader.rows("SELECT state FROM delivery UNION ALL SELECT state FROM job") == states
