"""Who may see one channel alone learns nothing of another: by no page, endpoint, job, export or message id."""

from __future__ import annotations

import re

import pytest
from console_desk import Browser

from console.app import API
from console.pages import PAGES
from console.repeated import READING
from engine.security.roles import Grant, Role
from engine.store import audit, causes, commands, jobs, tokens, users

SECRET = "zebra"  # the other channel's name


@pytest.fixture
def world(app, people, put, store):
    """A message here and two there, one in error; a job on each; gives the ids there and the other job."""
    put("HERE1", mrn="111111")
    there = [
        put("ZEBRAID1", "424242", "Zebrowski", SECRET),
        put("ZEBRAID2", "424242", channel=SECRET, error="zebra.code"),
    ]
    jobs.submit(store.writer.call, "adt", "resend", [1], note="ours")
    other = jobs.submit(store.writer.call, "operator", "resend", there, note="zebra stripes")
    status = {
        "channels": {
            name: {"state": "started", "tags": [f"{name}tag"], "group": name} for name in ("adt", SECRET)
        }
    }
    store.writer.call(lambda tx: commands.heartbeat(tx, 1, status))
    return there, other


@pytest.fixture
def limited(app, people, store):
    """A client with every right there is, on the channel adt alone."""
    until = store.reader.now() + 3_600_000_000
    grant = Grant(Role.ADMIN, ("adt",))
    store.writer.call(lambda tx: users.change(tx, "adt", grants=[grant], reveal=True))
    secret, _ = store.writer.call(lambda tx: tokens.add(tx, "adt", "probe", [grant], until, reveal=True))
    http = Browser(app).http
    http.headers["authorization"] = f"Bearer {secret}"
    return http


def told(answer):
    """Whether an answer says anything of the other channel."""
    text = answer.text.lower()
    return [word for word in (SECRET, "zebrowski", "424242", "zebraid", "zebra.code") if word in text]


def test_nothing_that_is_listed_is_of_another_channel(world, limited):
    for path in (
        "/", "/messages", "/errors", "/jobs", "/account", "/config", "/api/v1/channels", "/api/v1/status",
        "/api/v1/errors", "/api/v1/jobs", "/api/v1/tokens", "/api/v1/channels?tag=zebratag",
        "/api/v1/errors?channel=zebra", "/messages?channel=zebra", "/?tag=zebratag",
    ):  # fmt: skip
        answer = limited.get(path)
        assert answer.status_code in (200, 404, 503), path
        kept = [word for word in told(answer) if f"tag={word}" not in path and f"channel={word}" not in path]
        assert kept == [], path
    assert "HERE1" in limited.get("/messages").text, "and what is theirs is there"
    assert [job["note"] for job in (one["args"] for one in limited.get("/api/v1/jobs").json())] == ["ours"]


def test_no_search_export_or_act_reaches_another_channel(world, limited, store):
    there, _ = world
    for query in (
        {}, {"channel": SECRET}, {"ids": there}, {"mrn": "424242"}, {"text": "Zebrowski"}, {"control_id": "ZEBRAID1"},
        {"code": "zebra.code"}, {"state": "ERROR"},
    ):  # fmt: skip
        answer = limited.post("/api/v1/messages/search", json=query)
        assert answer.status_code == 200 and told(answer) == [], query
        for form in ("hl7", "json", "csv"):
            answer = limited.post(f"/api/v1/messages/export?format={form}&reveal=true", json=query)
            assert answer.status_code == 200 and told(answer) == [], (query, form)
        for verb in ("replay", "resend", "discard"):
            if query:
                answer = limited.post("/api/v1/messages/acts", json={"verb": verb, "query": query})
                assert answer.status_code == 422 and answer.json()["title"] == "query.nothing", (verb, query)
            if query and verb != "discard":
                answer = limited.post("/api/v1/messages/acts/preview", json={"verb": verb, "query": query})
                assert told(answer) == [] and answer.json().get("messages", 0) == 0
    assert len(jobs.newest(store.reader)) == 2
    for page in (
        limited.post("/messages", data={"mrn": "424242"}),
        limited.post("/messages", data={"text": "Zebrowski"}),
    ):
        assert f'href="/messages/{there[0]}"' not in page.text


def test_a_message_of_another_channel_is_answered_as_one_that_is_not_there(world, limited, store):
    """Every route with a message's or job's id: the same words for an id of another channel and one of nobody."""
    (number, _), job = world
    asked = 0
    for prefix, routers in (("/api/v1", API), ("", PAGES)):
        for route in (route for router in routers for route in router.routes):
            template = re.sub(r":\w+}", "}", route.path)
            if "{message_id}" not in template and "{job_id}" not in template:
                continue
            for method in sorted(route.methods - {"HEAD"}):
                answers = []
                for message, work in ((number, job), (999_999, 888_888)):
                    path = prefix + template.format(message_id=message, job_id=work, act="cancel")
                    more = {"other": 1}
                    body = {"json": {"text": "MSH|^~\\&|"}} if prefix else {"data": {"text": "MSH|^~\\&|"}}
                    body = body if method == "POST" and "edit" in path else {}
                    accept = {"accept": "application/json"}
                    answer = limited.request(method, path, params=more, headers=accept, **body)
                    answers.append((answer.status_code, re.sub(rf"\b({message}|{work})\b", "N", answer.text)))
                assert answers[0] == answers[1], (method, route.path)
                status, text = answers[0]
                assert status in (404, 422) or "there is no message N" in text, (method, route.path)
                asked += 1
    assert asked > 20
    answer = limited.get("/api/v1/messages/1/compare", params={"other": number})
    assert answer.status_code == 404 and answer.json()["detail"] == f"there is no message {number}"
    assert store.reader.rows("SELECT state FROM job WHERE id = ?", (job,)) == [("running",)]


def test_the_patient_page_is_of_ones_own_channels(world, limited):
    answer = limited.post("/api/v1/patients", json={"mrn": "424242"})
    found = answer.json()
    assert (found["total"], found["messages"], found["records"]) == (0, [], [])
    page = limited.get(f"/patients/{found['reference']}")
    assert page.status_code == 200 and told(page) == []


def test_errors_of_another_channel_are_not_tried_again(world, limited, store):
    group = next(one for one in causes.error_groups(store.reader) if one.channel == SECRET)
    wanted = {"channel": group.channel, "cause": group.cause, "destination": ""}
    answer = limited.post("/api/v1/errors/again", json=wanted)
    nobody = limited.post("/api/v1/errors/again", json=wanted | {"channel": "nobody"})
    assert (answer.status_code, answer.json()) == (
        nobody.status_code,
        nobody.json(),
    ) and answer.status_code >= 400


def test_admins_of_one_channel_are_no_admins_of_people(world, limited, store):
    for method, path, body in (
        ("GET", "/users", None), ("POST", "/users", {"name": "x", "password": "y" * 12, "grants": []}),
        ("PATCH", "/users/viewer", {"reveal": True}), ("DELETE", "/users/viewer", None), ("GET", "/audit", None),
        ("GET", "/audit?format=fhir", None), ("GET", "/audit/verify", None),
    ):  # fmt: skip
        answer = limited.request(method, f"/api/v1{path}", json=body)
        assert answer.status_code == 403, (method, path)
    for path in ("/users", "/audit"):
        assert limited.get(path).status_code == 403
    assert not users.get(store.reader, "viewer").reveal


def test_somebody_elses_export_token_and_search_are_not_there(app, browser, put, store):
    put()
    one, other = browser("operator"), browser("admin")
    place = one.post("/messages/export", channel="adt", format="json").headers["location"]
    assert other.get(place).status_code == other.get(f"{place}/file").status_code == 404
    assert one.get(f"{place}/file").status_code == 200 and one.get(f"{place}/file").status_code == 409
    until = store.reader.now() + 3_600_000_000
    _, token = store.writer.call(lambda tx: tokens.add(tx, "admin", "theirs", [Grant(Role.ADMIN)], until))
    answer = one.http.delete(f"/api/v1/tokens/{token.id}", headers={"x-csrf-token": one.csrf})
    assert answer.status_code == 404 and "theirs" not in one.get("/account").text
    other.post("/messages/saved", name="our nights", channel="adt")
    assert "our nights" in other.get("/messages").text and "our nights" not in one.get("/messages").text


def test_who_looks_on_one_channel_and_works_on_another_works_on_that_alone(app, people, put, store):
    """An operator of adt who may look at the other channel."""
    put()
    number = put("C2", channel=SECRET, name="Zebrowski")
    both = [Grant(Role.OPERATOR, ("adt",)), Grant(Role.VIEWER, (SECRET,))]
    store.writer.call(lambda tx: users.change(tx, "adt", grants=both, reveal=True))
    mixed = jobs.submit(store.writer.call, "operator", "resend", [1, number])
    one = Browser(app)
    one.sign_in("adt")
    more = {"headers": {"x-csrf-token": one.csrf}}
    assert one.get(f"/messages/{number}").status_code == 200
    for query in ({"text": "Zebrowski"}, {"ids": [number]}, {"channel": SECRET}):
        answer = one.http.post("/api/v1/messages/export?format=json&reveal=true", json=query, **more)
        assert answer.status_code == 200 and answer.json() == [], query
        answer = one.http.post("/api/v1/messages/acts", json={"verb": "discard", "query": query}, **more)
        assert answer.status_code == 422, query
    assert one.http.get(f"/api/v1/jobs/{mixed}").status_code == 200
    assert 'action="/jobs/' not in one.get(f"/jobs/{mixed}").text
    assert one.http.post(f"/api/v1/jobs/{mixed}/cancel", **more).status_code == 403
    assert one.post(f"/channels/{SECRET}/stop").status_code == 403
    assert one.post(f"/messages/{number}/edit").status_code == 403


def test_no_kept_answer_goes_around_rights_or_the_audit_log(app, people, put, store):
    """An Idempotency-Key with what only reads: each time anew, each time audited, and not after the right is gone."""
    number = put()
    until = store.reader.now() + 3_600_000_000
    secret, _ = store.writer.call(
        lambda tx: tokens.add(tx, "seer", "probe", [Grant(Role.VIEWER)], until, reveal=True)
    )
    http = Browser(app).http
    http.headers.update({"authorization": f"Bearer {secret}", "idempotency-key": "once"})
    for times in (1, 2):
        answer = http.post(f"/api/v1/messages/{number}/reveal")
        assert answer.status_code == 200 and "Keller" in answer.text
        assert len(audit.find(store.reader, action="phi.reveal")) == times
    store.writer.call(lambda tx: users.change(tx, "seer", reveal=False))
    assert http.post(f"/api/v1/messages/{number}/reveal").status_code == 403
    assert store.reader.rows("SELECT count(*) FROM answered") == [(0,)]


def test_every_post_of_the_api_either_reads_or_is_done_once(app):
    """A new endpoint must be one or the other."""
    acts = {
        "/channels/{name}/{act}", "/messages/acts", "/jobs/{job_id}/{act}", "/messages/{message_id}/edit",
        "/configuration/deploy", "/configuration/reload", "/configuration/rollback",
        "/configuration/tables/{name}/codes", "/account/password", "/account/second-factor/new",
        "/account/second-factor/off", "/users", "/tokens", "/tokens/{number}/rotate",
    }  # fmt: skip
    posts = {
        path.removeprefix("/api/v1") for path, found in app.openapi()["paths"].items() if "post" in found
    }
    assert {path for path in posts if not path.endswith(READING)} == acts
    assert all(any(path.endswith(end) for path in posts) for end in READING)
