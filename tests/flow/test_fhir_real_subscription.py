"""A channel registers on a server over real sockets, is told, is killed, and finds what it missed.

The server is FHIR_BASE_URL, with FHIR_AUTH (the `auth` of a connection, in YAML), if it reaches ports of this machine;
without it the server of the tests takes its place in a process of its own. Guaranteed here: one Subscription, however
often the engine is killed; changes come, also those that were made while no engine ran, each version once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess, free_ports, until

ASK = Path(__file__).resolve().parents[2] / "tests/fhir_ask.py"
AUTH = os.environ.get("FHIR_AUTH", "")
RUN = uuid.uuid4().hex[:10]  # a real server keeps what was written to it
PATIENCE = 90.0  # seconds
CONFIG = """
connections:
  ehr: {{fhir: {{base: "{base}"{auth}}}}}
channels:
  hook:
    format: fhir
    listener:
      fhir_subscription:
        port: {port}
        path: /fhir/hook
        connection: ehr
        path_token: {run}{run}
        token: {run}{run}
        signature: {run}{run}
        subscribe: {{url: "http://127.0.0.1:{port}/fhir/hook", criteria: "Patient?"}}
    destinations: {{}}
"""


class Talk:
    """Requests to the server, in a process that logs in as the engine does."""

    def __init__(self, base):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, ASK, "talk", base], text=True, **pipes)

    def __call__(self, method, path, body=None):
        print(json.dumps([method, path, body, {}]), file=self.process.stdin, flush=True)
        status, found, *_ = json.loads(self.process.stdout.readline())
        return status, found

    def subscriptions(self, url):
        _, bundle = self("GET", f"Subscription?url={url}")
        return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest.fixture
def server():
    own = None
    base = os.environ.get("FHIR_BASE_URL", "")
    if not base:
        own = subprocess.Popen([sys.executable, ASK, "serve"], stdout=subprocess.PIPE, text=True)
        base = own.stdout.readline().strip()
    talk = Talk(base)
    yield base, talk
    talk.process.stdin.close()
    talk.process.wait()
    talk.process.stdout.close()
    if own is not None:
        own.terminate()
        own.wait()
        own.stdout.close()


def test_it_registers_once_is_told_and_finds_what_it_missed(server, tmp_path):
    base, talk = server
    (port,) = free_ports()
    auth = f", auth: {AUTH}" if AUTH else ""
    engine = EngineProcess(tmp_path, CONFIG.format(base=base, auth=auth, port=port, run=RUN))
    url = f"http://127.0.0.1:{port}/fhir/hook/{RUN}{RUN}"

    def create(value):
        identifier = [{"system": f"urn:isthmus:test:{RUN}", "value": value}]
        status, made = talk("POST", "Patient", {"resourceType": "Patient", "identifier": identifier})
        assert status == 201
        return f"Patient/{made['id']}/_history/{made['meta']['versionId']}"

    def came(version):
        sql = "SELECT count(*) FROM message WHERE control_id = ? AND state = 'TRANSFORMED'"
        until(lambda: engine.rows(sql, version)[0][0], PATIENCE)
        assert engine.rows(sql, version) == [(1,)]

    def active():
        return [one for one in talk.subscriptions(url) if one["status"] == "active"]

    try:
        engine.start()
        (first,) = until(active, PATIENCE, every=0.5)
        came(create("told"))
        for value in ("missed", "missed too"):
            engine.kill()
            missed = create(value)
            engine.start()
            came(missed)
        assert [one["id"] for one in talk.subscriptions(url)] == [first["id"]]
        came(create("told again"))
        assert engine.terminate() == 0
        assert not engine.faults and RUN * 2 not in engine.text
    finally:
        engine.kill()
        for one in talk.subscriptions(url):
            talk("DELETE", f"Subscription/{one['id']}")
