"""The configuration in the console: seen without its secrets, checked, tried, deployed and rolled back, with rights."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from engine.security.roles import Grant, Role
from engine.store import audit, users, versions

MAIN = """
connections:
  clinic: {odoo: {url: "sandbox:", database: clinic, api_key: sandbox}}
  other: {odoo: {url: "http://odoo.test", database: clinic, api_key: hunter2}}
tables: {sex: {file: sex.yaml, otherwise: error}}
channels:
  adt:
    listener: {mllp: {port: 0}}
    transformers:
      - code_table: {path: PID-8.1, table: sex}
    destinations:
      odoo:
        odoo: {connection: clinic, template: patient}
  lab:
    listener: {mllp: {port: 0}}
"""
SAMPLE = (
    "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302||ADT^A28^ADT_A05|C1|P|2.5.1\nEVN|A28|20260302\n"
    "PID|1||100234^^^RGH^MR||Keller^Nora||19840917|F\n"
)
API = "/api/v1/configuration"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "channels.yaml").write_text(MAIN)
    (tmp_path / "sex.yaml").write_text("F: female\nM: male\n")
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/one.hl7").write_text(SAMPLE.replace("\n", "\r"))
    return tmp_path


@pytest.fixture
def desk(folder, browser):
    """Asks the API as a role; gives the answer."""
    people = {}

    def ask(method, path, role="analyst", etag=None, **body):
        if role not in people:
            one = browser(role)
            people[role] = one.http, {"x-csrf-token": one.csrf, "accept": "application/json"}
        http, headers = people[role]
        more = {"if-match": f'"{etag}"'} if etag else {}
        return http.request(method, API + path, headers=headers | more, **({"json": body} if body else {}))

    return ask


@pytest.fixture
def lab(store, people, hashed):
    """An analyst of one channel."""
    store.writer.call(lambda tx: users.add(tx, "lab", hashed, [Grant(Role.ANALYST, ("lab",))]))
    return "lab"


def test_files_are_shown_without_their_secrets_and_with_an_etag(desk):
    answer = desk("GET", "")
    found = answer.json()
    assert [file["name"] for file in found["files"]][:2] == ["channels.yaml", "sex.yaml"]
    assert found["channels"] == ["adt", "lab"] and found["samples"] == ["samples/one.hl7"]
    assert "hunter2" not in answer.text and "•••" in found["files"][0]["text"]
    assert answer.headers["etag"] == f'"{found["etag"]}"'
    shipped = [file for file in found["files"] if file["name"].endswith("patient.yaml")]
    assert shipped and not shipped[0]["editable"]


def test_a_text_is_checked_before_it_is_saved(desk, folder):
    text = (folder / "channels.yaml").read_text().replace("mllp: {port: 0}", "mlpp: {port: 0}", 1)
    found = desk("POST", "/lint", edits={"channels.yaml": text}).json()["problems"]
    assert [(one["file"], one["line"], one["code"]) for one in found][:1] == [
        ("channels.yaml", 8, "listener.unknown")
    ]
    found = desk("POST", "/lint", edits={}).json()["problems"]
    assert "connection.unused" in [one["code"] for one in found]
    assert {one["severity"] for one in found} == {"warning"}


def test_a_message_is_tried_and_planned_with_what_is_not_saved(desk, folder):
    edits = {"sex.yaml": "F: other\n"}
    traced = desk("POST", "/try", channel="adt", message={"text": SAMPLE}, edits=edits).json()["traces"]
    assert traced[0]["state"] == "TRANSFORMED" and traced[0]["steps"][0]["changed"][0]["new"] == "other"
    assert traced[0]["steps"][0]["rows"][0]["where"] == "sex.yaml:1:1"
    failing = desk(
        "POST", "/try", channel="adt", message={"sample": "samples/one.hl7"}, edits={"sex.yaml": "M: male\n"}
    )
    assert failing.json()["traces"][0]["state"] == "ERROR"
    planned = desk("POST", "/plan", channel="adt", message={"text": SAMPLE}, edits={})
    assert planned.status_code == 200, planned.text
    effects = planned.json()["effects"]
    assert effects[0]["records"][0]["kind"] == "created" and "Keller" not in planned.text
    assert (
        desk("POST", "/plan?reveal=true", channel="adt", message={"text": SAMPLE}, edits={}).status_code
        == 403
    )


def test_a_stored_message_is_tried_by_who_may_see_it(desk, put, store, hashed):
    number = put()
    asked = {"channel": "adt", "message": {"message_id": number}, "edits": {}}
    assert desk("POST", "/try", **asked).status_code == 403
    store.writer.call(lambda tx: users.change(tx, "analyst", reveal=True))
    answer = desk("POST", "/try", role="admin", **asked)
    assert answer.status_code == 403
    store.writer.call(lambda tx: users.add(tx, "both", hashed, [Grant(Role.ANALYST)], reveal=True))
    assert desk("POST", "/try", role="both", **asked).json()["traces"][0]["control_id"] == "C1"
    assert [row.object for row in audit.find(store.reader, action="phi.reveal")] == [str(number)]


def test_a_deployment_is_written_noted_and_audited(desk, folder, store):
    etag = desk("GET", "").json()["etag"]
    edits = {
        "channels.yaml": desk("GET", "").json()["files"][0]["text"].replace("path: PID-8.1", "path: PID-8")
    }
    answer = desk("POST", "/deploy", etag=etag, edits=edits, note="whole field")
    assert answer.status_code == 200 and answer.json()["taken"] is None
    written = (folder / "channels.yaml").read_text()
    assert written == MAIN.replace("path: PID-8.1", "path: PID-8")  # the key, too
    entry = versions.latest(store.reader)
    assert (entry.actor, entry.note, entry.version) == (
        "analyst",
        "whole field",
        answer.json()["version"],
    )
    row = audit.find(store.reader, action="config.deploy")[0]
    assert row.actor == "analyst" and "whole field" in row.detail
    assert "hunter2" not in desk("GET", f"/versions/{entry.id}").text
    stale = desk("POST", "/deploy", etag=etag, edits={"sex.yaml": "F: x\n"})
    assert stale.status_code == 412 and (folder / "sex.yaml").read_text().startswith("F: female")
    assert desk("POST", "/deploy", edits={"sex.yaml": "F: x\n"}).status_code == 428


def test_back_to_an_older_version(desk, folder, store):
    first = desk("GET", "").json()["etag"]
    second = desk("POST", "/deploy", etag=first, edits={"sex.yaml": "F: female\n"}).json()["etag"]
    third = desk("POST", "/deploy", etag=second, edits={"sex.yaml": "F: f\nM: m\n"}).json()["etag"]
    told = desk("POST", "/diff", before="1", after="2").json()
    assert told["words"] and any(line.startswith("+F: f") for line in told["lines"])
    assert desk("POST", "/rollback", version="1", note="wrong").status_code == 428
    answer = desk("POST", "/rollback", etag=third, version="1", note="wrong")
    assert answer.status_code == 200, answer.text
    assert (folder / "sex.yaml").read_text() == "F: female\n"
    assert [entry.note for entry in versions.history(store.reader)] == ["rollback to 1: wrong", "", ""]


def test_errors_are_refused_with_their_places(desk, folder, store):
    etag = desk("GET", "").json()["etag"]
    answer = desk(
        "POST", "/deploy", etag=etag, edits={"channels.yaml": MAIN.replace("table: sex", "table: sax")}
    )
    assert answer.status_code == 422 and answer.json()["errors"][0]["file"] == "channels.yaml"
    assert (folder / "channels.yaml").read_text() == MAIN
    assert audit.find(store.reader, action="config.deploy")[0].outcome == "refused"


def test_an_analyst_of_one_channel_changes_that_one_alone(desk, lab, folder):
    etag = desk("GET", "").json()["etag"]
    shown = desk("GET", "", role=lab).json()["files"][0]["text"]
    for text in (shown.replace("PID-8.1", "PID-8"), shown.replace("sandbox:", "http://evil.test")):
        for path in ("/lint", "/deploy", "/diff"):
            assert (
                desk("POST", path, role=lab, etag=etag, edits={"channels.yaml": text}).status_code == 403
            ), path
        asked = {"channel": "lab", "message": {"text": SAMPLE}, "edits": {"channels.yaml": text}}
        assert desk("POST", "/plan", role=lab, **asked).status_code == 403
    assert (
        desk("POST", "/try", role=lab, channel="adt", message={"text": SAMPLE}, edits={}).status_code == 404
    )
    mine = shown.replace("  lab:\n", "  lab:\n    description: The laboratory\n")
    assert desk("POST", "/deploy", role=lab, etag=etag, edits={"channels.yaml": mine}).status_code == 200
    assert "hunter2" in (folder / "channels.yaml").read_text()


def test_names_lead_nowhere_else(desk, folder):
    etag = desk("GET", "").json()["etag"]
    (folder / "key").write_text("hunter3")
    for name in ("../x.yaml", "/etc/passwd", "key", "samples/../../x.yaml", ".x.yaml"):
        assert desk("POST", "/deploy", etag=etag, edits={name: "a: b"}).status_code == 422, name
    for name in ("../key", "samples/../key", "/etc/passwd", "%2e%2e/key", "channels.yaml"):
        answer = desk("GET", f"/samples/{name}")
        assert answer.status_code in (404, 405) and "hunter3" not in answer.text, name


def test_a_text_that_hangs_or_eats_memory_harms_nobody(desk, folder, monkeypatch):
    (folder / "slow.py").write_text("while True: pass\n")
    text = MAIN.replace("      - code_table", '      - python: {function: "slow:go"}\n      - code_table')
    with monkeypatch.context() as patience:
        patience.setattr("console.workbench.LONGEST", 6.0)
        assert desk("POST", "/lint", edits={"channels.yaml": text}).status_code == 504
    (folder / "slow.py").write_text("x = bytearray(1 << 40)\n")
    assert desk("POST", "/lint", edits={"channels.yaml": text}).status_code in (200, 409)
    assert desk("GET", "").status_code == 200


def test_the_pages_work_without_a_script(folder, browser, store):
    one = browser("analyst")
    page = one.get("/config").text
    assert "channels.yaml" in page and "No engine runs" in page
    page = one.get("/config/edit?file=sex.yaml").text
    seen = re.search(r'name="seen" value="(\w+)"', page)[1]
    fields = {"file": "sex.yaml", "seen": seen, "text": "F: f\r\nM: m\r\n"}
    assert "connection.unused" in one.post("/config/edit", act="check", **fields).text
    compared = one.post("/config/edit", act="diff", **fields).text
    assert "code F female → f" in compared or "sex" in compared
    tried = one.post("/config/edit", act="try", channel="adt", message=SAMPLE, **fields).text
    assert "TRANSFORMED" in tried and "res.partner" in tried
    wrong = one.post("/config/edit", act="deploy", **(fields | {"text": "F: [\r\n"}))
    assert wrong.status_code == 422 and "sex.yaml:" in wrong.text and "F: [" in wrong.text
    done = one.post("/config/edit", act="deploy", note="short", **fields)
    assert done.status_code == 200 and "The next engine starts with" in done.text
    assert (folder / "sex.yaml").read_text() == "F: f\nM: m\n"
    lost = one.post("/config/edit", act="deploy", **(fields | {"text": "F: x\n"}))
    assert lost.status_code == 412 and "Go on with my text" in lost.text and "F: x" in lost.text
    adopted = one.post("/config/edit", act="adopt", **(fields | {"text": "F: x\n"})).text
    again = re.search(r'name="seen" value="(\w+)"', adopted)[1]
    assert (
        one.post("/config/edit", act="deploy", **(fields | {"seen": again, "text": "F: x\n"})).status_code
        == 200
    )
    entry = versions.history(store.reader)[-1]
    back = one.post(
        "/config/rollback",
        version=str(entry.id),
        seen=re.search(r'name="seen" value="(\w+)"', one.get("/config").text)[1],
    )
    assert back.status_code == 200 and (folder / "sex.yaml").read_text() == "F: f\nM: m\n"


def test_markup_in_a_configuration_is_text(folder, browser):
    (folder / "channels.yaml").write_text(
        MAIN.replace("  lab:", "  '<script>x</script>':\n    listener: {nope: {}}\n  lab:")
    )
    one = browser("analyst")
    for path in ("/config", "/config/edit", "/config/edit?file=<script>x</script>"):
        assert "<script>x" not in one.get(path).text
    page = one.post(
        "/config/edit", act="check", file="channels.yaml", seen="x", text="channels: {'<script>x': 1}"
    )
    assert "&lt;script&gt;x" in page.text and "<script>x" not in page.text


def test_a_fault_in_a_process_of_the_workbench_puts_no_content_into_the_log():
    program = "from engine.cli import workbench as one; one.ACTS['look'] = lambda asked: int('Vogelsang'); one.main()"
    question = b'{"do": "look", "config": "", "data": ""}'
    done = subprocess.run([sys.executable, "-c", program], input=question, capture_output=True, check=False)
    assert done.returncode == 1 and done.stdout == b""
    assert b"ValueError at " in done.stderr and b"Vogelsang" not in done.stderr
