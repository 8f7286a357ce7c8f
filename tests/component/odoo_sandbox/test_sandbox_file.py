"""The sandbox's file: durable, safe to kill, open to several processes; its speed is no test."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from engine.odoo.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[3]
HEADERS = {"Content-Type": "application/json", "Authorization": "bearer sandbox", "X-Odoo-Database": "clinic"}
WRITER = """
import json, sys
from engine.odoo.sandbox import Sandbox
sandbox = Sandbox(sys.argv[1])
for number in range(100000):
    body = {"fields": ["id", "name"], "data": [[f"k.{sys.argv[2]}_{number}_{part}", "A"] for part in range(5)]}
    status, _, answer = sandbox.handle("POST", "/json/2/res.partner/load", HEADERS, json.dumps(body).encode())
    assert status == 200 and json.loads(answer)["ids"], answer
    print(number, flush=True)
""".replace("HEADERS", repr(HEADERS))


def call(sandbox, model, method, **named):
    status, _, body = sandbox.handle("POST", f"/json/2/{model}/{method}", HEADERS, json.dumps(named).encode())
    return status, json.loads(body)


def start(path, name):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, env=env, cwd=ROOT, text=True
    )


def test_everything_is_there_after_a_restart(tmp_path):
    path = tmp_path / "odoo.db"
    first = Sandbox(path)
    record = call(first, "res.partner", "create", vals_list=[{"name": "A", "phone": "1"}])[1][0]
    assert {found.stat().st_mode & 0o777 for found in tmp_path.iterdir()} == {0o600}
    first.close()
    second = Sandbox(path)
    assert call(second, "res.partner", "read", ids=[record], fields=["phone"])[1] == [
        {"id": record, "phone": "1"}
    ]
    second.close()


def test_kill_loses_nothing_that_was_answered_and_keeps_no_half(tmp_path):
    path = tmp_path / "odoo.db"
    process = start(path, "a")
    for line in process.stdout:
        if int(line) == 20:
            break
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read().split()
    process.stdout.close()
    process.wait()
    answered = int(rest[-1]) if rest else 20
    sandbox = Sandbox(path)
    domain = [["module", "=", "k"]]
    names = [
        one["name"]
        for one in call(sandbox, "ir.model.data", "search_read", domain=domain, fields=["name"])[1]
    ]
    assert len(names) % 5 == 0
    assert {f"a_{number}_0" for number in range(answered + 1)} <= set(names)
    assert call(sandbox, "res.partner", "search_count", domain=[["name", "=", "A"]])[1] == len(names)
    sandbox.close()


def test_two_processes_write_and_a_third_looks(tmp_path):
    path = tmp_path / "odoo.db"
    processes = [start(path, name) for name in ("a", "b")]
    sandbox = Sandbox(path)
    for process in processes:
        for line in process.stdout:
            if int(line) == 10:
                break
    assert call(sandbox, "res.partner", "search_count", domain=[["name", "=", "A"]])[1] >= 100
    for process in processes:
        process.kill()
        process.stdout.close()
        process.wait()
    sandbox.close()


def test_a_file_of_another_version_is_refused(tmp_path):
    path = tmp_path / "odoo.db"
    Sandbox(path, version="16.0").close()
    with pytest.raises(ValueError, match=r"made for Odoo 16\.0"):
        Sandbox(path, version="19.0")


def test_a_locked_file_answers_as_a_serialization_failure(tmp_path, monkeypatch):
    path = tmp_path / "odoo.db"
    monkeypatch.setattr("engine.odoo.sandbox.database.BUSY", 0.05)
    one, two = Sandbox(path), Sandbox(path)
    with one.db.transaction(write=True):
        status, body = call(two, "res.partner", "create", vals_list=[{"name": "A"}])
        assert (status, body["name"]) == (500, "psycopg2.errors.SerializationFailure")
        status, body = call(two, "res.partner", "load", fields=["id", "name"], data=[["k.x", "A"]])
        assert status == 200 and body["ids"] is False
        assert body["messages"][0]["message"] == "could not serialize access due to concurrent update\n"
    assert call(two, "res.partner", "load", fields=["id", "name"], data=[["k.x", "A"]])[1]["ids"]
    one.close()
    two.close()


def test_summary_shows_what_was_made_newest_first():
    sandbox = Sandbox()
    call(
        sandbox,
        "res.partner",
        "load",
        fields=["id", "name", "ref"],
        data=[["k.1", "A", "1"], ["k.2", "B", "2"]],
    )
    found = sandbox.summary()
    assert [(one["name"], one["ref"], one["xml_ids"]) for one in found["res.partner"]] == [
        ("B", "2", ["k.2"]),
        ("A", "1", ["k.1"]),
    ]
    assert set(found) == {"res.partner"}
    sandbox.close()


def test_mails_are_recorded_for_tests():
    sandbox = Sandbox()
    partner = call(sandbox, "res.partner", "create", vals_list=[{"name": "A", "email": "a@example.com"}])[1][
        0
    ]
    vals = {
        "name": "V",
        "start": "2099-01-01 10:00:00",
        "stop": "2099-01-01 11:00:00",
        "partner_ids": [partner],
    }
    call(sandbox, "calendar.event", "create", vals_list=[vals], context={"no_mail_to_attendees": True})
    assert sandbox.mails() == []
    call(sandbox, "calendar.event", "create", vals_list=[vals])
    assert [mail["partner_ids"] for mail in sandbox.mails()] == [[partner]]
    sandbox.close()


@pytest.mark.parametrize("version", ["16.0", "19.0"])
@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"1", b'"x"', b"\xff", b'{"params": 1}', b'{"params": {"args": 1}}', b'{"domain": 5}',
     b'{"ids": "x"}', b'{"ids": [null], "fields": [1]}', b'{"domain": [[1]]}', b'{"context": 7, "domain": []}',
     b'{"domain": [["name", "=", {}]]}', b'{"domain": ["&"]}', b'{"domain": [], "limit": "x"}'],
)  # fmt: skip
@pytest.mark.parametrize(
    "path", ["/jsonrpc", "/json/2/res.partner/search", "/json/2/res.partner/read", "/x", ""]
)
def test_strange_requests_get_an_answer(version, body, path):
    sandbox = Sandbox(version=version)
    status, headers, answer = sandbox.handle("POST", path, HEADERS, body)
    assert status in (200, 400, 401, 404, 422, 500) and headers["Content-Type"] and answer
    sandbox.close()


def test_a_file_of_before_gets_the_models_that_it_lacks(tmp_path):
    path = tmp_path / "odoo.db"
    Sandbox(path).close()
    with sqlite3.connect(path) as old:
        old.execute("DROP TABLE sale_order")
    again = Sandbox(path)
    assert call(again, "sale.order", "search_count", domain=[]) == (200, 0)
    again.close()
