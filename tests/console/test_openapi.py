"""Everything that the OpenAPI allows, asked of the REST API as an admin: no server error, whatever is sent."""

from __future__ import annotations

import pytest
import schemathesis
from console_desk import Browser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from engine.security.roles import Grant, Role
from engine.store import users

EXAMPLES = 12  # of each endpoint
SLOW, FEW = "/configuration", 3  # each is answered by a process of its own


@pytest.fixture
def admin(app, people, store):
    """A client with an admin's token."""
    until = store.reader.now() + 3_600_000_000
    secret, _ = store.writer.call(
        lambda tx: users.add_token(tx, "admin", "probe", [Grant(Role.ADMIN)], until, reveal=True)
    )
    http = Browser(app).http
    http.headers["authorization"] = f"Bearer {secret}"
    return http


def test_no_request_makes_a_server_error(app, admin, put, monkeypatch):
    put()
    put("C2", error="table.code")
    schema = schemathesis.openapi.from_dict(app.openapi())
    asked = 0
    for found in schema.get_all_operations():
        strategy = found.ok().as_strategy()
        examples = FEW if SLOW in found.ok().path else EXAMPLES

        @given(data=st.data())
        @settings(
            max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def ask(data):
            nonlocal asked
            case = data.draw(strategy)  # noqa: B023 (asked at once)
            sent = case.as_transport_kwargs(base_url="http://console.test")
            sent.pop("cookies", None)
            headers = {**dict(sent.pop("headers", {})), "authorization": admin.headers["authorization"]}
            answer = admin.request(**sent, headers=headers)
            asked += 1
            if case.path != "/ready":  # it says 503 when no engine is at work
                assert answer.status_code < 500, (case.method, case.path, answer.text)

        ask()
    assert asked > 100
