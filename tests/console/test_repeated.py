"""A POST with an Idempotency-Key is done once; /health and /ready tell how console, store and engine do."""

from __future__ import annotations

import threading
import time

import orjson
import pytest
from console_desk import Browser

from engine.security.roles import Grant, Role
from engine.store import answered, commands, jobs, tokens


@pytest.fixture
def api(app, people, store):
    """A client with a token of a user."""

    def made(name="operator"):
        until = store.reader.now() + 3_600_000_000
        secret, _ = store.writer.call(
            lambda tx: tokens.add(tx, name, "probe", [Grant(Role.ADMIN)], until, reveal=True)
        )
        http = Browser(app).http
        http.headers["authorization"] = f"Bearer {secret}"
        return http

    return made


def replay(http, number, key, **more):
    body = {"verb": "replay", "query": {"ids": [number]}, **more}
    return http.post("/api/v1/messages/acts", json=body, headers={"idempotency-key": key})


def test_the_same_request_with_the_same_key_is_done_once(api, put, store):
    number, http = put(), api()
    first, second = replay(http, number, "k1"), replay(http, number, "k1")
    assert first.status_code == second.status_code == 202 and first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert second.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
    assert len(jobs.newest(store.reader, 10)) == 1
    assert replay(http, number, "k2").json() != first.json()
    assert len(jobs.newest(store.reader, 10)) == 2


def test_a_key_names_one_request_of_one_person(api, put):
    number, http = put(), api()
    replay(http, number, "k1")
    other = replay(http, number, "k1", force=True)
    assert other.status_code == 422 and other.json()["type"] == "urn:isthmus:idempotency.other"
    assert replay(api("admin"), number, "k1").headers.get("idempotency-replayed") is None
    assert replay(http, number, "k" * 201).status_code == 422


def test_what_was_not_done_may_be_done_later(api, put, store):
    number = put()
    assert replay(api("viewer"), number, "k1").status_code == 403
    assert store.reader.rows("SELECT count(*) FROM answered") == [(0,)]


def test_one_that_is_worked_on_is_not_begun_again(store):
    assert store.writer.call(lambda tx: answered.begin(tx, "a", "k", b"x")) is None
    with pytest.raises(Exception, match="still being worked on"):
        store.writer.call(lambda tx: answered.begin(tx, "a", "k", b"x"))
    store.writer.call(
        lambda tx: tx.execute("UPDATE answered SET at = at - ?", (answered.GIVEN_UP + 1,)).rowcount
    )
    assert store.writer.call(lambda tx: answered.begin(tx, "a", "k", b"x")) is None
    store.writer.call(lambda tx: answered.end(tx, "a", "k", b"secret answer"))
    assert store.writer.call(lambda tx: answered.begin(tx, "a", "k", b"x")) == b"secret answer"
    assert b"secret" not in store.reader.rows("SELECT answer FROM answered")[0][0]
    store.writer.call(lambda tx: tx.execute("UPDATE answered SET at = at - ?", (answered.KEPT + 1,)).rowcount)
    assert store.writer.call(lambda tx: answered.begin(tx, "a", "k", b"y")) is None


def test_reads_and_pages_know_no_key(api, browser):
    http = api()
    for _ in range(2):
        answer = http.get("/api/v1/channels", headers={"idempotency-key": "k"})
        assert answer.status_code == 200 and "idempotency-replayed" not in answer.headers


def test_health_and_readiness_follow_the_engine(app, store):
    http = Browser(app).http
    health = http.get("/health")
    assert health.status_code == 200 and health.json()["checks"]["engine"] == "absent"
    assert http.get("/ready").status_code == 503 and http.get("/ready?engine=no").status_code == 200
    epoch = store.epoch

    def beat(**status):
        told = {
            "store": {"state": "open", "disk": {"state": "ok"}},
            "channels": {"adt": {"state": "started"}},
            **status,
        }
        store.writer.call(lambda tx: commands.heartbeat(tx, epoch, told))

    beat()
    assert http.get("/ready").json() == {"status": "ok", "checks": dict.fromkeys(
        ("console", "store", "engine", "disk", "channels", "configuration"), "ok")}  # fmt: skip
    beat(channels={"secret-name": {"state": "failed"}})
    assert http.get("/ready").status_code == 200 and http.get("/health").json()["status"] == "degraded"
    assert "secret-name" not in http.get("/health").text
    beat(store={"state": "failing", "disk": {"state": "ok"}})
    assert http.get("/ready").status_code == 503 and http.get("/ready").json()["checks"]["store"] == "failing"
    beat(store={"state": "open", "disk": {"state": "refusing"}})
    assert http.get("/ready").status_code == 503
    beat()
    store.writer.call(lambda tx: tx.execute("UPDATE node SET seen_at = seen_at - 60000000").rowcount)
    assert http.get("/ready").json()["checks"]["engine"] == "absent"


def test_a_console_without_a_store_is_healthy_and_not_ready(tmp_path):
    from console.app import make_app

    app = make_app(tmp_path / "nothing", tmp_path / "channels.yaml")
    http = Browser(app).http
    assert http.get("/health").status_code == 200
    assert (
        http.get("/ready").status_code == 503
        and orjson.loads(http.get("/ready").content)["checks"]["store"] != "ok"
    )
    app.state.workbench.close()


def test_the_live_dashboard_ends_with_the_session(browser, store):
    """What is sent before the end is the table, once."""
    one = browser("viewer")
    store.writer.call(lambda tx: tx.execute("UPDATE session SET created_at = created_at - 1").rowcount)

    def end():
        time.sleep(1)
        store.writer.call(lambda tx: tx.execute("DELETE FROM session").rowcount)

    threading.Thread(target=end).start()
    answer = one.get("/live")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("event: channels") == 1 and "no-store" in answer.headers["cache-control"]
