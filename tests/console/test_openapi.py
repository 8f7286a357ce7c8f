"""Everything that the OpenAPI allows, and much that it does not, asked of the REST API as an admin: no server error,
and every answer is as the OpenAPI says. Longer by hand: ISTHMUS_EXAMPLES=300 ISTHMUS_SEED=7 pytest THIS.
"""

from __future__ import annotations

import os
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta

import pytest
import schemathesis
from console_desk import Browser
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi

from console.api.openapi import PROBLEM
from engine.security.roles import Grant, Role
from engine.store import jobs, tokens, users, versions

EXAMPLES = int(os.environ.get("ISTHMUS_EXAMPLES", "8"))  # of each endpoint and mode
SEED = os.environ.get("ISTHMUS_SEED")
SLOW = 4  # times fewer where each is answered by a process of its own
PROCESSES = ("/configuration", "/preview", "/again", "/trace")
ASKED = (
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_headers_conformance,
    openapi.response_schema_conformance,
    openapi.negative_data_rejection,
)


KNOWN = {"message_id": 1, "job_id": 1, "number": 1, "name": "adt", "version": "1"}
MAIN = """
connections: {clinic: {odoo: {url: "sandbox:", database: clinic, api_key: sandbox}}}
tables: {adt: {file: sex.yaml}}
channels:
  adt:
    listener: {mllp: {port: 0}}
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
"""


@pytest.fixture
def admin(app, people, store, put, tmp_path):
    """A client with an admin's token, before a store that has something of everything."""
    (tmp_path / "channels.yaml").write_text(MAIN)
    (tmp_path / "sex.yaml").write_text("F: female\n")
    put()
    put("C2", error="table.code")
    store.writer.call(lambda tx: users.change(tx, "admin", reveal=True))
    store.writer.call(lambda tx: versions.add(tx, "abc", "admin", {"channels.yaml": MAIN.encode()}, note=""))
    jobs.submit(store.writer.call, "admin", "resend", [1])
    until = store.reader.now() + 3_600_000_000
    secret, _ = store.writer.call(
        lambda tx: tokens.add(tx, "admin", "probe", [Grant(Role.ADMIN)], until, reveal=True)
    )
    http = Browser(app).http
    http.headers["authorization"] = f"Bearer {secret}"
    return http


def unattended(answer):
    """Whether it says that no engine is at work, as here none is."""
    told = answer.json() if answer.status_code in (503, 504) else {}
    return told.get("status") == "unavailable" or told.get("title") in ("command.waiting", "engine.absent")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_the_openapi_says(app, admin, mode, monkeypatch):
    monkeypatch.setattr("console.acting.COMMAND_WAIT", 0.1)
    spec = deepcopy(app.openapi())
    for operations in spec["paths"].values():
        for operation in operations.values():
            operation.pop(
                "security", None
            )  # the token is always sent: what happens without one, test_gate asks
    schema = schemathesis.openapi.from_dict(spec)
    asked: dict[str, set[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        strategy = operation.as_strategy(generation_mode=mode)
        slow = any(part in operation.path for part in PROCESSES)
        told = asked.setdefault(operation.label, set())

        @given(data=st.data())
        @settings(
            max_examples=max(2, EXAMPLES // SLOW) if slow else EXAMPLES, deadline=None, database=None,
            derandomize=SEED is None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(data):
            case = data.draw(strategy)  # noqa: B023 (asked at once)
            if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):  # of what is there
                case.path_parameters.update(
                    {name: KNOWN[name] for name in KNOWN if name in case.path_parameters}
                )
            sent = case.as_transport_kwargs(base_url="http://console.test")
            sent.pop("cookies", None)
            if isinstance(sent.get("data"), bytes | str):
                sent["content"] = sent.pop("data")
            headers = {
                name: value for name, value in sent.pop("headers", {}).items() if name != "Authorization"
            }
            answer = admin.request(**sent, headers=headers)
            answer.elapsed = timedelta(0)
            told.add(answer.status_code)  # noqa: B023
            asked_about = [
                check for check in ASKED if check is not checks.not_a_server_error or not unattended(answer)
            ]
            case.validate_response(answer, checks=asked_about)

        with suppress(Unsatisfiable):  # an endpoint without parameters has no wrong ones
            (ask if SEED is None else seed(int(SEED))(ask))()
    assert len(asked) > 40
    if mode is GenerationMode.POSITIVE:
        succeeded = [name for name, told in asked.items() if any(status < 300 for status in told)]
        assert len(succeeded) > 30, sorted(set(asked) - set(succeeded))


def test_no_endpoint_is_without_a_schema_of_its_answers_and_errors(app):
    spec = app.openapi()
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good and "application/problem+json" in operation["responses"]["4XX"]["content"], path
            for answer in good:
                kinds = answer.get("content", {})
                assert kinds or "204" in operation["responses"], (method, path)
                assert all(kind["schema"] for name, kind in kinds.items() if name == "application/json"), path
            if path.startswith("/api/"):
                assert operation["security"] == [{"token": []}], path
    assert "HTTPValidationError" not in spec["components"]["schemas"]


@pytest.mark.parametrize(
    ("method", "path", "more", "status"),
    [
        ("GET", "/api/v1/nothing", {}, 404),
        ("DELETE", "/api/v1/channels", {}, 405),
        ("POST", "/api/v1/messages/search", {"content": b"x" * (5 << 20)}, 413),
        ("POST", "/api/v1/messages/search", {"content": b"{"}, 422),
        ("POST", "/api/v1/messages/search", {"content": b"\xff\xfe"}, 422),
        ("POST", "/api/v1/messages/search", {"content": b"[" * 100_000}, 400),
        ("POST", "/api/v1/messages/search", {"json": {"nope": 1}}, 422),
        ("GET", "/api/v1/messages/0", {}, 422),
        ("GET", "/api/v1/messages/99", {}, 404),
        ("GET", "/api/v1/jobs?limit=x", {}, 422),
        ("GET", "/api/v1/messages/acts", {}, 405),
        ("GET", "/api/v1/messages/search", {}, 405),
        (
            "POST",
            "/api/v1/messages/acts",
            {"json": {"verb": "replay", "query": {"ids": [1]}, "force": 0}},
            422,
        ),
        ("POST", "/api/v1/messages/search", {"json": {"columns": {"nope": "x"}}}, 422),
        ("POST", "/api/v1/messages/export?format=csv", {"json": {"columns": {"nope": "x"}}}, 422),
        (
            "POST",
            "/api/v1/configuration/try",
            {"json": {"channel": "adt", "message": {"message_id": 2**51}}},
            422,
        ),
        ("POST", "/api/v1/configuration/deploy", {"json": {"edits": {"a.yaml": "x"}}}, 428),
    ],
)
def test_every_error_is_a_problem(admin, method, path, more, status):
    answer = admin.request(method, path, headers={"content-type": "application/json"}, **more)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    told = answer.json()
    assert set(PROBLEM["required"]) <= set(told) and told["status"] == status
    assert told["type"].startswith("urn:isthmus:")


def test_a_wrong_method_is_told_which_there_are(app, admin):
    """Of all routes with that path, as the OpenAPI has them."""
    for path, operations in app.openapi()["paths"].items():
        if path.startswith("/api/"):
            answer = admin.request("OPTIONS", path.format(**KNOWN, act="pause", reference="x"))
            assert answer.status_code == 405
            assert answer.headers["allow"].split(", ") == sorted(map(str.upper, operations)), path


def test_a_fault_of_ours_is_a_problem_without_a_word_of_what_it_was_about(app, admin, monkeypatch):
    monkeypatch.setattr("console.api.messages.seen", lambda *a: 1 / 0)
    answer = admin.get("/api/v1/messages/1")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["type"] == "urn:isthmus:internal" and "zero" not in answer.text
    assert "default-src" in answer.headers["content-security-policy"]
