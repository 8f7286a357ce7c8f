"""Response steps before anything runs: channel tests with answers, and `try --answer`. The page of docs is run, too."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from channels.coverage import Coverage
from channels.rerecord import update
from channels.trial import Runner
from engine.cli import cli
from engine.spec.channel import load

PAGE = (Path(__file__).parents[2] / "docs" / "responses.md").read_text("utf-8")
CONFIG, CASE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
ODOO = """
connections: {clinic: {odoo: {url: "sandbox:"}}}
channels:
  adt:
    listener: {mllp: {port: 2575}}
    destinations:
      odoo:
        odoo: {connection: clinic, operations: [{upsert: res.partner, key: "p/1", values: {name: X}}]}
        response:
          - condition: "msg['/0/id'] is present"
          - set: {fields: {/0/mrn: "{{ original['PID-3.1'] }}"}}
          - forward: {channel: made}
          - forward: {channel: made, body: "{{ record }} of {{ event.patient.mrn }}"}
  made:
    format: {delimited: {header: false}}
    listener: {http: {port: 8081}}
"""
MESSAGE = "MSH|^~\\&|EHR|RGH|I|C|20260302||ADT^A08|T1|P|2.5.1\nPID|1||7^^^RGH^MR||A^B\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "channels.yaml").write_text(CONFIG)
    (tmp_path / "tests").mkdir()
    return tmp_path


def outcomes(folder, test, coverage=False):
    (folder / "tests" / "t.yaml").write_text(test if isinstance(test, str) else yaml.safe_dump(test))
    configuration = load(folder / "channels.yaml", {})
    assert not configuration.errors
    covered = Coverage(configuration) if coverage else None
    found = Runner(configuration, covered).run(folder / "tests" / "t.yaml")
    return [str(wrong) for outcome in found for wrong in outcome.wrong], covered


def test_the_page_is_true(folder):
    assert outcomes(folder, CASE)[0] == []
    wrong, _ = outcomes(folder, CASE.replace("known already", "no such order"))
    assert len(wrong) == 2 and "expected 'SENT', got 'ERROR'" in wrong[0]
    assert "t.yaml:13:18" in wrong[0]


def test_coverage_counts_response_steps(folder):
    wrong, covered = outcomes(folder, CASE, coverage=True)
    assert wrong == []
    did = {what: done for (_, what), done in covered.all.items() if "response[" in what}
    assert did == {
        "orders destinations.lab.response[0] verdict": True,
        "orders destinations.lab.response[1] verdict": True,
        "orders destinations.lab.response[2] condition lets pass": True,
        "orders destinations.lab.response[2] condition stops": False,
        "orders destinations.lab.response[3] forward": True,
    }


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"lob": "MSH|"}, "answers.lob: this destination has no response steps"),
        ({"lab": {"answer": "MSH|", "reply": 1}}, "an answer has only answer, record, refused"),
        ({"lab": 7}, "an answer is a text, or data"),
        (["lab"], "answers are a mapping"),
    ],
)
def test_answers_that_are_none(folder, answers, told):
    test = {**yaml.safe_load(CASE), "answers": answers}
    (wrong,) = outcomes(folder, test)[0]
    assert told in wrong


def test_an_answer_after_which_it_is_tried_again_runs_no_step(folder):
    test = yaml.safe_load(CASE)
    test["answers"]["lab"] = "MSH|^~\\&|LAB|X|EHR|RGH|1||ACK|A1|P|2.5.1\nMSA|AR|T1\nERR|||207\n"
    test["expect"] = {"responses": {"lab": {"state": "QUEUED", "code": "mllp.ack_ar"}}}
    assert outcomes(folder, test)[0] == []
    test["answers"]["lab"] = "no answer at all"
    test["expect"] = {"responses": {"lab": {"state": "QUEUED", "code": "mllp.not_an_ack"}}}
    assert outcomes(folder, test)[0] == []


def test_answers_of_odoo_as_json(tmp_path):
    (tmp_path / "channels.yaml").write_text(ODOO)
    (tmp_path / "tests").mkdir()
    test = {"name": "made", "channel": "adt", "message": MESSAGE}
    test["answers"] = {"odoo": {"answer": [{"id": 12}], "record": "res.partner,12"}}
    forwarded = [
        {"channel": "made", "message": [{"id": 12, "mrn": "7"}]},
        {"channel": "made", "message": "res.partner,12 of 7"},
    ]
    test["expect"] = {"responses": {"odoo": {"state": "SENT", "forwarded": forwarded}}}
    assert outcomes(tmp_path, test)[0] == []
    test["answers"] = {"odoo": {"answer": [{"error": "x"}], "refused": "odoo.validation"}}
    test["expect"] = {"responses": {"odoo": {"state": "ERROR", "code": "odoo.validation"}}}
    assert outcomes(tmp_path, test)[0] == []


def test_update_writes_what_the_answer_makes_today(folder):
    file = folder / "tests" / "t.yaml"
    file.write_text(CASE.replace("state: SENT", "state: ERROR"))
    made = update(Runner(load(folder / "channels.yaml", {})), file)
    assert "state: SENT" in made
    assert outcomes(folder, made)[0] == []


def test_try_shows_the_steps_on_an_answer(folder):
    (folder / "order.hl7").write_text(yaml.safe_load(CASE)["message"])
    (folder / "ack.hl7").write_text(yaml.safe_load(CASE)["answers"]["lab"])
    run = CliRunner().invoke
    base = ["try", "orders", str(folder / "order.hl7"), "-c", str(folder / "channels.yaml"), "--answer"]
    shown = run(cli, [*base, f"lab={folder / 'ack.hl7'}"])
    assert shown.exit_code == 0, shown.output
    assert "response[0] verdict" in shown.output and "to channel accepted" in shown.output
    (told,) = json.loads(run(cli, [*base, f"lab={folder / 'ack.hl7'}", "--json"]).output)
    reply = told["destinations"][0]["reply"]
    assert reply["state"] == "SENT" and reply["forwarded"][0]["message"]["order"] == "O-1"
    first = reply["steps"][0]
    assert first["where"].endswith("channels.yaml:8:13")
    assert {"path": "MSA-3", "name": "", "value": "known already"} in first["saw"]
    for wrong in (f"lob={folder / 'ack.hl7'}", "lab=nowhere", "lab"):
        assert run(cli, [*base, wrong]).exit_code == 2
