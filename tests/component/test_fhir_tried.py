"""`try`, `test`, `test --record` and `impact` of a destination `fhir`: resources as operations, each element
with the fields of the message that it comes from."""

from __future__ import annotations

import pytest
import yaml

from channels import impact
from channels.rerecord import record
from channels.tracer import Tracer
from channels.trial import Runner
from engine.spec.channel import load

CONFIG = """
connections:
  ehr: {{fhir: {{base: "http://127.0.0.1:9/fhir", version: {version}}}}}
channels:
  adt:
    listener: {{mllp: {{port: 0}}}}
    transformers:
      - code_table: {{path: PID-8, table: sex}}
    destinations:
      ehr:
        fhir: {{connection: ehr, systems: {{RGH: "urn:rgh"}}}}
tables:
  sex: {{values: {{W: F, M: M}}, otherwise: keep}}
"""
RAW = (
    "MSH|^~\\\\\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||ADT^A01|M1|P|2.5.1\r"
    'PID|1||1^^^RGH^MR||Keller^Nora||""|W\r'
    "PV1|1|I|W1^2^B^RGH||||||||||||||||V1^^^RGH^VN\r"
)
TEST = """
channel: adt
cases:
  - name: An admission
    message: |
      MSH|^~\\\\\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||ADT^A01|M1|P|2.5.1
      PID|1||1^^^RGH^MR||Keller^Nora||""|W
      PV1|1|I|W1^2^B^RGH||||||||||||||||V1^^^RGH^VN
    expect:
      operations:
        - {{op: upsert, model: Patient, key: "urn:rgh|1", absent: [telecom],
           values: {{name: [{{family: {family}}}], birthDate: null, gender: female}}}}
        - {{op: ensure, model: Location}}
        - {{model: Encounter, key: "urn:rgh|V1", values: {{subject: {{reference: "Patient?identifier=urn:rgh|1"}}}}}}
"""


@pytest.fixture
def channels(tmp_path):
    def made(version="R4", change=("", "")):
        file = tmp_path / f"{version}{len(change[1])}.yaml"
        file.write_text(CONFIG.format(version=version).replace(*change))
        configuration = load(file, {})
        assert not configuration.errors, [str(one) for one in configuration.errors]
        return configuration

    return made


def traced(configuration):
    (destination,) = Tracer(configuration, "adt").trace(RAW.encode(), 0).destinations
    return {one.model: {value.field: value for value in one.values} for one in destination.operations}


def sources(value):
    return [place.path for place in value.sources]


def test_each_element_with_where_it_comes_from(channels):
    found = traced(channels())
    patient, visit = found["Patient"], found["Encounter"]
    assert (patient["name[0].family"].value, sources(patient["name[0].family"])) == ("Keller", ["PID-5.1"])
    assert (patient["birthDate"].value, sources(patient["birthDate"])) == (None, ["PID-7"])
    assert [(row.table, row.code, row.value) for row in patient["gender"].rows] == [("sex", "W", "F")]
    assert sources(patient["gender"]) == ["PID-8"]
    assert visit["subject.reference"].value == "Patient?identifier=urn:rgh|1"
    assert "PID-3.1" in sources(visit["subject.reference"])
    assert sources(visit["key"]) == ["PV1-19.1", "PV1-19.4"]
    assert sources(traced(channels("R5"))["Encounter"]["class[0].coding[0].code"]) == ["PV1-2"]


def test_a_channel_test_expects_resources(channels, tmp_path):
    runner = Runner(channels())
    file = tmp_path / "test.yaml"
    file.write_text(TEST.format(family="Keller"))
    assert [outcome.wrong for outcome in runner.run(file)] == [[]]
    file.write_text(TEST.format(family="Kelly"))
    (wrong,) = runner.run(file)[0].wrong
    assert (wrong.what, wrong.expected, wrong.got) == (
        "operations[0].values.name[0].family",
        "Kelly",
        "Keller",
    )
    recorded = record(runner, "adt", [("An admission", RAW.encode())], file)
    told = yaml.safe_load(recorded)
    assert "by" not in recorded.split() and "sent" not in str(told)
    file.write_text(recorded)
    assert [outcome.wrong for outcome in runner.run(file)] == [[]]


def test_an_edit_is_told_by_element(channels):
    before = impact.Run(channels(), "adt")
    after = impact.Run(
        channels(change=("code_table: {path: PID-8, table: sex}", "set: {fields: {PID-5.1: X}}")), "adt"
    )
    samples = impact.given(before.pipeline, [RAW.encode()], 0)
    told = impact.impact(samples, before, after)
    assert {group.what for group in told.groups} == {"ehr: upsert Patient name", "ehr: upsert Patient gender"}
