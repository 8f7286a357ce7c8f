"""The audit log: whatever was done is a valid FHIR AuditEvent, and a log that was changed is told by the command."""

from __future__ import annotations

import sqlite3

import orjson
import pytest
from click.testing import CliRunner
from console_desk import Browser
from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle

from engine.cli import cli
from engine.store import audit


@pytest.fixture
def busy(app, browser, put, store):
    """Somebody who did a bit of everything, also what was refused."""
    number = put()
    put("C2", error="table.code")
    one = browser("admin")
    seer = browser("seer")
    Browser(app).sign_in("", "x")
    Browser(app).sign_in("  ", "x")
    seer.post(f"/messages/{number}/reveal")
    seer.post("/messages", mrn="100234")
    seer.post(f"/messages/{number}/patient")
    one.post("/users", name="new", role="viewer", password="a long sentence to type", act="add")
    one.post("/users", name="new", act="disable")
    one.post("/users", name="new", act="delete")
    one.post("/users", name="admin", act="delete")
    one.post("/acts", id=str(number), verb="resend", sure="1")
    one.post("/messages/export", format="csv", channel="adt")
    one.post("/logout")
    return browser("admin")


def test_every_entry_is_a_valid_audit_event(busy, store):
    answer = busy.http.get("/api/v1/audit?format=fhir&limit=1000")
    assert answer.headers["content-type"] == "application/fhir+json"
    bundle = Bundle.model_validate_json(answer.text)
    events = [
        orjson.loads(AuditEvent.model_validate(one["resource"]).model_dump_json())
        for one in answer.json()["entry"]
    ]
    assert len(bundle.entry) == len(events) == len(audit.find(store.reader, limit=1000)) > 11
    assert {one["outcome"] for one in events} >= {"0", "4"}
    assert {one["action"] for one in events} >= {"C", "R", "U", "D", "E"}
    assert all(one["agent"][0]["who"]["identifier"]["value"].strip() for one in events)
    assert "100234" not in answer.text and "Keller" not in answer.text


def test_the_command_lists_them_and_tells_of_a_change(busy, store, tmp_path):
    listed = CliRunner().invoke(cli, ["audit", "list", "--fhir", "--limit", "100", "--data", str(tmp_path)])
    assert listed.exit_code == 0, listed.output
    for line in listed.output.splitlines():
        AuditEvent.model_validate_json(line)
    verified = ["audit", "verify", "--data", str(tmp_path)]
    whole = CliRunner().invoke(cli, verified)
    assert whole.exit_code == 0 and "whole" in whole.output
    head = whole.output.split()[-1]
    assert CliRunner().invoke(cli, [*verified, "--expect", head]).exit_code == 0
    assert CliRunner().invoke(cli, [*verified, "--expect", head[:-2] + "zz"]).exit_code == 1
    db = sqlite3.connect(
        tmp_path / "messages.db" if (tmp_path / "messages.db").exists() else next(tmp_path.glob("*.db"))
    )
    db.execute("UPDATE audit SET actor = 'nobody' WHERE id = 4")
    db.commit()
    db.close()
    broken = CliRunner().invoke(cli, verified)
    assert broken.exit_code == 1 and "broken at entry 4" in broken.output
    assert busy.http.get("/api/v1/audit/verify").json()["broken"] == 4
    assert "4" in busy.get("/audit").text


def test_no_command_or_page_changes_the_log(app):
    paths = [
        (method, path)
        for path, found in app.openapi()["paths"].items()
        for method in found
        if "/audit" in path
    ]
    assert sorted(paths) == [("get", "/api/v1/audit"), ("get", "/api/v1/audit/verify")]
