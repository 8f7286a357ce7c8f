"""`try`: every step with what it saw and changed, and for each value the fields, leaves and table rows behind it."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
import yaml
from click.testing import CliRunner

from channels.influence import other
from channels.tracer import Tracer
from engine.cli import cli
from engine.cli.try_ import saves
from engine.hl7.er7 import Message
from engine.model import CLEAR
from engine.spec.channel import load
from tests.component.shipped import CHANNELS

NOW = 1_772_000_000_000_000
ADMIT = (
    b"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302091500-0600||ADT^A01|T1|P|2.5.1\r"
    b"EVN|A01|20260302091500-0600\r"
    b"PID|1||100234^^^RGH^MR||Keller^Nora^Anne||19840917|female|||||555-0101~555-0102\r"
    b"PV1|1|I|4EAST^410\r"
)
CONFIG = """
connections: {clinic: {odoo: {url: "sandbox:"}}}
tables:
  sex: {file: sex.csv}
  ward: {values: {4EAST: East, ICU: "Intensive care"}, otherwise: keep}
channels:
  adt:
    listener: {mllp: {port: 2575}}
    filters:
      - condition: "event.patient.mrn is present"
    transformers:
      - code_table: {path: PID-8, table: sex}
      - set:
          vars: {full: "{{ msg['PID-5.2'] }} {{ msg['PID-5.1'] }}"}
          fields: {PID-5.1: "{{ msg['PID-5.1'] | upper }}"}
      - python: {function: "own:shorten"}
    destinations:
      odoo:
        filters:
          - condition: "msg['PV1-2'] == 'I'"
        odoo:
          connection: clinic
          operations:
            - upsert: res.partner
              key: "p/{{ msg['PID-3.1'] }}"
              values:
                name: "{{ full }}"
                function: "{{ msg['PID-8'] }}"
                ref: "{{ event.patient.name.display }}"
                city: "{{ msg['PV1-3.1'] | table('ward') }}"
                type: contact
                comment: "{{ short }}"
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "sex.csv").write_text("code,value\nmale,M\nfemale,F\n")
    (tmp_path / "own.py").write_text("def shorten(msg, vars):\n    vars['short'] = msg['PV1-3.2'][:1]\n")
    (tmp_path / "channels.yaml").write_text(CONFIG)
    (tmp_path / "m.hl7").write_bytes(ADMIT)
    return tmp_path / "channels.yaml"


@pytest.fixture
def trace(config):
    return Tracer(load(config), "adt").trace(ADMIT, NOW)


def values(trace):
    (operation,) = trace.destinations[0].operations
    return {value.field: value for value in operation.values}


def paths(value):
    return [place.path for place in value.sources]


def test_each_step_tells_what_it_saw_and_changed(trace, config):
    table, setting, python = trace.steps[1:]
    assert [step.outcome for step in trace.steps] == ["passed", "changed", "changed", "changed"]
    assert [(one.path, one.value) for one in trace.steps[0].saw] == [("event.patient.mrn", "100234")]
    assert [(one.path, one.name, one.value) for one in table.saw] == [
        ("PID-8", "Administrative Sex", "female")
    ]
    assert [(one.path, one.name, one.old, one.new) for one in table.changed] == [
        ("PID-8", "Administrative Sex", "female", "F")
    ]
    assert [(row.code, row.value, row.where) for row in table.rows] == [
        ("female", "F", f"{config.parent}/sex.csv:3:1")
    ]
    assert [one.path for one in setting.saw] == ["PID-5.2", "PID-5.1"]
    assert [(one.path, one.old, one.new) for one in setting.changed] == [
        ("PID-5.1", "Keller", "KELLER"),
        ("vars.full", None, "Nora Keller"),
    ]
    assert [one.path for one in python.saw] == ["PV1-3.2"]
    line = CONFIG.split("\n").index("      - code_table: {path: PID-8, table: sex}") + 1
    assert table.where == f"{config}:{line}:9"


def test_values_lead_back_to_fields_leaves_and_rows(trace, config):
    found = values(trace)
    assert paths(found["key"]) == ["PID-3.1"]
    assert paths(found["name"]) == ["PID-5.1", "PID-5.2"], "through a variable that an earlier step set"
    assert paths(found["comment"]) == ["PV1-3.2"], "through a Python function"
    assert paths(found["ref"]) == ["PID-5.1", "PID-5.2", "PID-5.3"], "through the canonical event"
    assert [one.path for one in found["ref"].read] == ["event.patient.name.display"]
    assert found["type"].sources == [], "it is written down"
    assert paths(found["function"]) == ["PID-8"]
    assert [row.where for row in found["function"].rows] == [f"{config.parent}/sex.csv:3:1"]
    assert paths(found["city"]) == ["PV1-3.1"]
    assert [(row.table, row.code, row.value) for row in found["city"].rows] == [("ward", "4EAST", "East")]
    lines = CONFIG.split("\n")
    for field in ("name", "ref", "city", "type"):
        line = next(i for i, text in enumerate(lines, 1) if text.strip().startswith(f"{field}: ") and i > 25)
        assert found[field].where == f"{config}:{line}:{lines[line - 1].index(': ') + 3}"
    ward = next(i for i, text in enumerate(lines, 1) if "ward:" in text)
    assert found["city"].rows[0].where.startswith(f"{config}:{ward}:")


def test_the_canonical_event_tells_its_fields(trace):
    (registered, _) = trace.events
    found = {value.field: value for value in registered.values}
    assert registered.type == "patient.registered"
    assert paths(found["patient.name.family"]) == ["PID-5.1"]
    assert paths(found["patient.birth_date"]) == ["PID-7"]
    assert paths(found["patient.phones[1].value"]) == ["PID-13[2]"], "not what only moves it up"


def test_a_message_that_is_stopped_tells_why_and_because_of_what(config):
    tracer = Tracer(load(config), "adt")
    filtered = tracer.trace(ADMIT.replace(b"PV1|1|I", b"PV1|1|O"), NOW)
    assert (filtered.state, filtered.destinations[0].operations) == ("FILTERED", [])
    assert "condition not met" in filtered.destinations[0].skipped
    failed = tracer.trace(ADMIT.replace(b"|female|", b"|x|"), NOW)
    assert failed.state == "ERROR" and "[table.code]" in failed.why
    assert failed.steps[-1].outcome == "error" and failed.steps[-1].label == "transformers[0] code_table"
    assert "PID-8" in [place.path for place in failed.because]
    nothing = tracer.trace(b"hello", NOW)
    assert nothing.state == "ERROR" and nothing.answers[0].split("\r")[1].startswith("MSA|AR")


@pytest.mark.parametrize(
    ("setting", "message", "codes"),
    [
        ("ack: stored", ADMIT.replace(b"|female|", b"|x|"), ["AA"]),
        ("ack: routed", ADMIT.replace(b"|female|", b"|x|"), ["AE"]),
        ("ack: {ADT^A01: routed}", ADMIT.replace(b"|female|", b"|x|"), ["AE"]),
        ("ack: routed", ADMIT, ["AA"]),
        ("ack_mode: enhanced", ADMIT.replace(b"|2.5.1", b"|2.5.1|||AL|AL"), ["CA", "AA"]),
        ("ack_mode: enhanced", ADMIT.replace(b"|2.5.1", b"|2.5.1|||NE|ER"), []),
    ],
)
def test_the_acknowledgement_is_the_one_that_the_channel_would_send(config, setting, message, codes):
    config.write_text(CONFIG.replace("    listener:", f"    {setting}\n    listener:"))
    answers = Tracer(load(config), "adt").trace(message, NOW).answers
    assert [answer.split("\r")[1].split("|")[1] for answer in answers] == codes


def test_a_traced_channel_does_what_the_channel_does(config):
    """The traced run gives the very operations of the running one, on every sample."""
    configuration = load(CHANNELS, {})
    for sample in sorted((CHANNELS.parent / "samples").glob("*.hl7")):
        raw = sample.read_bytes().replace(b"\n", b"\r")
        tracer = Tracer(configuration, "siu" if b"|SIU^" in raw[:120] else "adt")
        result = tracer._plain.process(raw, tracer._plain.meta(raw, NOW))
        trace = tracer.trace(raw, NOW)
        assert (trace.state, trace.why) == (result.state, result.reason)
        made = [one for _, payload in result.payloads for one in msgspec.json.decode(payload)]
        told = [one for destination in trace.destinations for one in destination.operations]
        assert [(one["op"], one["key"]) for one in made] == [(one.op, one.key) for one in told]
        for one, operation in zip(made, told, strict=True):
            names = {value.field.split(".")[0].split("[")[0] for value in operation.values} - {
                "key",
                "retired",
            }
            assert names == {name for name, value in one.get("values", {}).items() if value not in ([], {})}
            assert all(value.where.count(":") == 2 for value in operation.values)


@pytest.mark.parametrize(
    ("text", "changed"), [("F", "G"), ("19", "18"), ("z.", "y."), ("", "x"), ("é", "éx")]
)
def test_a_changed_text_is_another_one_of_its_shape(text, changed):
    assert other(text) == changed


def test_the_verb_shows_it_and_tries_variations(config):
    run = CliRunner().invoke
    file = str(config.parent / "m.hl7")
    shown = run(cli, ["try", "adt", file, "-c", str(config), "--events"])
    assert shown.exit_code == 0, shown.output
    for text in (
        "PID-8 Administrative Sex: female → F",
        "← event.patient.name.display ← PID-5.1 Patient Name / Family Name, PID-5.2",
        f"← table ward: 4EAST → East  {config}:5:",
        "patient.birth_date",
        "MSA|AA|T1",
    ):
        assert text in shown.output, shown.output
    changed = run(
        cli, ["try", "adt", file, "-c", str(config), "--set", "PID-8=male", "--set", "PID-3[1].1=7", "--json"]
    )
    (told,) = json.loads(changed.output)
    (operation,) = told["destinations"][0]["operations"]
    assert operation["key"] == "p/7"
    assert {one["field"]: one["value"] for one in operation["values"]}["function"] == "M"
    cleared = json.loads(
        run(cli, ["try", "adt", file, "-c", str(config), "--set", 'PID-5=""', "--json"]).output
    )
    fields = {one["field"]: one["value"] for one in cleared[0]["destinations"][0]["operations"][0]["values"]}
    assert fields["name"] is None
    shown = run(cli, ["try", "adt", file, "-c", str(config), "--set", 'PID-5=""']).output
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == ["name"]]
    assert line.split()[1] == '""'  # emptied, not absent
    assert run(cli, ["try", "adt", file, "-c", str(config), "--set", "PID-8"]).exit_code == 2
    assert run(cli, ["try", "adt", file, "-c", str(config), "--set", "PID-8=x"]).exit_code == 1


def test_watch_begins_again_with_every_save(config, monkeypatch):
    monkeypatch.setattr("engine.cli.try_.POLL", 0)
    again = saves([config, config.parent / "m.hl7"])
    next(again)
    for name in ("channels.yaml", "m.hl7", "sex.csv", "own.py"):
        file = config.parent / name
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
        next(again)


def test_every_value_of_a_message_is_found_by_its_path():
    for sample in sorted((CHANNELS.parent / "samples").glob("*.hl7")):
        message = Message(sample.read_bytes())
        found = dict(message.leaves())
        assert "MSH-10" in found and "MSH-1" not in found
        assert all(message[path] == value for path, value in found.items())
    several = Message(b'MSH|^~\\&|A\rOBX|1|""|a&b^c~d\rOBX|2\rxx|3\r')
    assert list(several.leaves()) == [
        ("MSH-3", "A"),
        ("OBX[1]-1", "1"),
        ("OBX[1]-2", CLEAR),
        ("OBX[1]-3[1].1.1", "a"),
        ("OBX[1]-3[1].1.2", "b"),
        ("OBX[1]-3[1].2", "c"),
        ("OBX[1]-3[2]", "d"),
        ("OBX[2]-1", "2"),
    ]


OTHER_FORMATS = {
    "json": (
        b'{"who": {"name": "Keller", "age": 41, "vip": true}, "tags": ["a", "b"]}',
        {
            "{{ msg['/who/name'] }}": ["/who/name"],
            "{{ msg['who.age'] }} {{ msg['/tags/1'] }}": ["/who/age", "/tags/1"],
        },
    ),
    "fhir: {version: R4B}": (
        b'{"resourceType": "Patient", "id": "1", "name": [{"family": "Keller", "given": ["Nora", "Anne"]}]}',
        {"{{ msg['name.given'] }} {{ msg['name.family'] }}": ["name[0].family", "name[0].given[0]"]},
    ),
    "xml": (
        b"<o><p id='7'><name>Keller</name><name>Nora</name></p></o>",
        {"{{ msg['/o/p/@id'] }}": ["/o/p/@id"], "{{ msg['//name[2]'] }}": ["/o/p/name[2]"]},
    ),
    "delimited": (b"mrn,name\n7,Keller\n", {"{{ msg['name'] }} {{ msg['1'] }}": ["mrn", "name"]}),
}


@pytest.mark.parametrize("form", OTHER_FORMATS)
def test_every_format_tells_its_places(form, tmp_path):
    raw, wanted = OTHER_FORMATS[form]
    values = {f"f{number}": template for number, template in enumerate(wanted)}
    name, _, settings = form.partition(": ")
    channel = {
        "format": {name: yaml.safe_load(settings) or {}},
        "listener": {"mllp": {"port": 2575}},
        "destinations": {
            "odoo": {
                "odoo": {
                    "connection": "clinic",
                    "operations": [{"upsert": "res.partner", "key": "k/1", "values": values}],
                }
            }
        },
    }
    data = {"connections": {"clinic": {"odoo": {"url": "sandbox:"}}}, "channels": {"c": channel}}
    file = tmp_path / "channels.yaml"
    file.write_text(yaml.safe_dump(data))
    configuration = load(file)
    assert not configuration.problems
    tracer = Tracer(configuration, "c")
    view = tracer.format.parse(raw)
    assert all(view[path] == value for path, value in view.leaves())
    found = {
        value.text: paths(value) for value in tracer.trace(raw, NOW).destinations[0].operations[0].values
    }
    assert {template: found[template] for template in wanted} == wanted
