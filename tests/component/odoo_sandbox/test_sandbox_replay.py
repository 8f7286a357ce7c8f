"""Every exchange recorded with real Odoo 16.0 and 19.0 servers, played against the sandbox."""

import json
import re
from pathlib import Path

import pytest

from engine.odoo.sandbox import Sandbox

RECORDED = Path(__file__).resolve().parents[4] / "shared/facts/fixtures/odoo_exchanges.jsonl"
LINES = [json.loads(line) for line in RECORDED.read_text().splitlines()] if RECORDED.exists() else []
NOW = 1795334843_000000  # the recording's time, in microseconds

needs_recording = pytest.mark.skipif(not LINES, reason="the recorded exchanges are not beside the repository")


def play(sandbox, line):
    request, case = line["request"], line["case"]
    body = request["body"]
    headers = {"Content-Type": "application/json"}
    if line["protocol"].startswith("json2"):
        headers["Authorization"] = "bearer " + ("wrong" if case == "bad key" else "sandbox")
        headers["X-Odoo-Database"] = "nowhere" if case == "wrong database" else "clinic"
        if case == "wrong content type":
            headers["Content-Type"] = "text/plain"
    else:
        args = body["params"]["args"]
        args[0] = "nowhere" if case == "wrong database" else "clinic"
        args[2] = "wrong" if case == "bad key" else "sandbox"
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return sandbox.handle("POST", request["path"], headers, raw)


class Ids:
    """Maps recorded ids to ours in order of appearance, and refuses a contradiction."""

    def __init__(self):
        self.pairs = {}

    def same(self, model, theirs, ours):
        assert self.pairs.setdefault((model, theirs), ours) == ours


def normal(value):
    """Without tracebacks, times and row numbers of the server."""
    if isinstance(value, dict):
        return {name: normal(item) for name, item in value.items() if name != "debug"}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, str):
        value = re.sub(r"Failing row contains \([^)]*\)", "Failing row contains (...)", value)
        value = re.sub(r"connection to server .*FATAL", "FATAL", value)
        value = re.sub(r"2026-11-22 \d\d:\d\d:\d\d", "<now>", value)
    return value


@needs_recording
def test_there_are_eighty_exchanges():
    assert len(LINES) == 80


@needs_recording
@pytest.mark.parametrize("protocol", ["json2/19.0", "jsonrpc/19.0", "jsonrpc/16.0"])
def test_every_recorded_exchange_is_answered_alike(protocol):
    sandbox = Sandbox(version=protocol.partition("/")[2], rights="engine", now=lambda: NOW)
    ids = Ids()
    wrong = []
    for line in LINES:
        if line["protocol"] != protocol:
            continue
        status, headers, body = play(sandbox, line)
        assert status == line["status"], (line["case"], status, body)
        assert headers["Content-Type"] == line["content_type"], line["case"]
        if "non_json" in line["response"]:
            assert body.decode() == line["response"]["non_json"], line["case"]
            continue
        ours, theirs = json.loads(body), line["response"]
        mine, real = ours, theirs
        if "result" in theirs or "error" in theirs:
            assert set(ours) == set(theirs), (line["case"], ours)
            mine, real = ours.get("result", ours.get("error")), theirs.get("result", theirs.get("error"))
        model = "calendar.event" if "calendar" in json.dumps(line["request"]) else "res.partner"
        if isinstance(real, dict) and real.get("ids"):
            for their, our in zip(real["ids"], mine["ids"], strict=True):
                ids.same(model, their, our)
            real = {**real, "ids": mine["ids"]}
        if isinstance(real, list):
            for their, our in zip(real, mine, strict=True):
                if "ref" in their:
                    ids.same(model, their["id"], our["id"])
                    their["id"] = our["id"]
        if normal(mine) != normal(real):
            wrong.append((line["case"], normal(mine), normal(real)))
    assert wrong == []
