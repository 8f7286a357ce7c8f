"""`test`: cases and sequences, exact and partial expectations, failures with their line, JUnit, coverage, recording."""

from __future__ import annotations

import json
import shutil
from xml.etree import ElementTree

import pytest
import yaml
from click.testing import CliRunner

from channels.trial import Runner
from engine.cli import cli
from engine.spec.channel import load
from tests.component.shipped import CHANNELS

CONFIG = """
connections: {clinic: {odoo: {url: "sandbox:"}}}
tables:
  sex: {values: {M: male, F: female}}
channels:
  adt:
    ack: routed
    listener: {mllp: {port: 2575}}
    filters:
      - message_type: ADT
    transformers:
      - set: {vars: {mrn: "{{ msg['PID-3.1'] }}"}}
    destinations:
      odoo:
        odoo:
          connection: clinic
          operations:
            - upsert: res.partner
              key: "p/{{ mrn }}"
              values: {name: "{{ msg['PID-5.1'] }}", function: "{{ msg['PID-8'] | table('sex') }}"}
            - archive: res.partner
              when: "msg['PID-30'] == 'Y'"
              key: "p/{{ mrn }}"
"""
CASES = """\
channel: adt
cases:
  - name: two messages   # said once
    messages:
      - message: |
          MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5
          PID|||7||Keller|||F
        expect:
          operations:
            - {op: upsert, key: p/7, values: {name: Keller}}
          variables: {mrn: "7"}
          ack: AA
      - message: |
          MSH|^~\\&|A|B|||20260101||ADT^A08|2|P|2.5
          PID|||7||Keller|||X
        expect:
          error: {code: table.code}
          ack: AE
  - name: another type
    message: |
      MSH|^~\\&|A|B|||20260101||ORU^R01|3|P|2.5
    expect: {filtered: message_type, ack: AA}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "channels.yaml").write_text(CONFIG)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "cases.yaml").write_text(CASES)
    return tmp_path


def isthmus(folder, *args):
    return CliRunner().invoke(cli, ["test", "-c", str(folder / "channels.yaml"), *args])


def wrong(folder, old, new):
    """What is wrong when the expectations are changed so: line, path and text."""
    assert old in CASES
    file = folder / "tests" / "cases.yaml"
    file.write_text(CASES.replace(old, new, 1))
    found = [one for outcome in Runner(load(folder / "channels.yaml")).run(file) for one in outcome.wrong]
    return [(int(one.where.split(":")[1]), one.what, one.text or (one.expected, one.got)) for one in found]


def test_cases_and_sequences_pass(folder):
    result = isthmus(folder)
    assert result.exit_code == 0, result.output
    assert "ok   cases.yaml: two messages" in result.output and "2 passed, 0 failed" in result.output


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "told"),
    [
        ("{name: Keller}", "{name: Moreau}", 10, "operations[0].values.name", ("Moreau", "Keller")),
        ("p/7, values", "p/8, values", 10, "operations[0].key", ("p/8", "p/7")),
        ("{name: Keller}}", "{name: Keller}}\n            - {op: archive}", 10, "operations", "2 are expected, 1 were"),
        ('mrn: "7"', "mrn: 7", 11, "variables.mrn", (7, "7")),
        ("ack: AA\n      -", "ack: [CA, AA]\n      -", 12, "ack", (["CA", "AA"], ["AA"])),
        ("code: table.code", "code: table.codes", 17, "error.code", ("table.codes", "table.code")),
        ("ack: AE", "ack: AA", 18, "ack", (["AA"], ["AE"])),
        ("          error: {code: table.code}\n", "", 17, "", "the message is in ERROR"),
        ("filtered: message_type", "filtered: condition", 22, "filtered", ("condition", "filters[0] message_type")),
        ("filtered: message_type, ack: AA", "operations: []", 22, "", "the message is filtered"),
        ("ack: AA\n      -", "exact: true\n      -", 10, "operations[0]", "model is there and not expected"),
        ("ack: AA}", "acks: AA}", 22, "expect.acks", "unknown expectation. Did you mean 'ack'?"),
        ("  - name: another type", "  - nam: another type", 19, "nam", "unknown key. Did you mean 'name'?"),
        ("channel: adt", "channel: adx", 1, "channel", "there is no channel 'adx'. Did you mean 'adt'?"),
        ("expect: {filtered: message_type, ack: AA}", "expect: {}", 22, "expect", "an expectation names some of"),
        ("expect: {filtered: message_type, ack: AA}", "expect: {events: x}", 22, "expect.events", "must be a list"),
    ],
)  # fmt: skip
def test_a_failure_tells_its_line_and_both_values(folder, old, new, line, what, told):
    found = wrong(folder, old, new)
    matching = [one for one in found if one[:2] == (line, what)]
    assert matching, found
    assert any(told in one[2] if isinstance(told, str) else told == one[2] for one in matching), found


def test_events_are_looked_into(folder):
    shutil.copytree(CHANNELS.parent, folder / "config")
    test = {
        "name": "events",
        "channel": "adt",
        "message": {"file": "../samples/03-admit.hl7"},
        "expect": {
            "events": ["patient.registered", {"type": "encounter.admitted", "encounter": {"class": "AMB"}}]
        },
    }
    file = folder / "config" / "tests" / "events.yaml"
    file.write_text(yaml.safe_dump(test))
    (outcome,) = Runner(load(folder / "config" / "channels.yaml", {})).run(file)
    assert [(one.what, one.expected, one.got) for one in outcome.wrong] == [
        ("events[1].encounter.class", "AMB", "IMP")
    ]


def test_junit_and_json_name_file_line_and_difference(folder):
    (folder / "tests" / "cases.yaml").write_text(CASES.replace("{name: Keller}", "{name: Moreau}"))
    junit = folder / "junit.xml"
    result = isthmus(folder, "--junit", str(junit), "--json", "--coverage")
    assert result.exit_code == 1
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    case, other = suite.findall("testcase")
    assert (case.get("name"), case.get("line"), other.get("line")) == ("two messages", "3", "19")
    assert case.find("failure").get("message").endswith("expected 'Moreau', got 'Keller'")
    told = json.loads(result.output)
    assert told["tests"][0]["wrong"][0]["what"] == "operations[0].values.name"
    assert told["coverage"]["of"] > told["coverage"]["exercised"] > 0


def test_coverage_names_the_lines_that_no_test_exercises(folder):
    lines = CONFIG.split("\n")
    output = isthmus(folder, "--coverage").output
    missing = [line for line in output.split("\n") if "never exercised" in line]
    archive = next(number for number, line in enumerate(lines, 1) if "- archive" in line)
    assert [line.split("never exercised: ")[1] for line in missing] == [
        "table sex: code M",
        "archive res.partner",
        "archive res.partner: key",
    ]
    assert f"channels.yaml:{archive}:15  never" in missing[1]
    assert f"channels.yaml:{archive + 2}:20  never" in missing[2]
    assert "coverage 73%: 8 of 11" in output


def test_a_recorded_test_passes_and_fails_when_the_channel_changes(folder):
    message = folder / "in.hl7"
    message.write_bytes(b"MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5\rPID|||9||O'Neil: \xc3\xa9|||M\r")
    wrote = isthmus(folder, "--record", str(message), "--channel", "adt")
    target = folder / "tests" / "adt-in.yaml"
    assert wrote.exit_code == 0 and str(target) in wrote.output
    assert isthmus(folder, str(target)).exit_code == 0, isthmus(folder, str(target)).output
    data = yaml.safe_load(target.read_text())
    assert data["expect"]["operations"][0]["values"] == {"name": "O'Neil: é", "function": "male"}
    assert data["message"].startswith("MSH|") and data["expect"]["exact"] is True
    assert isthmus(folder, "--record", str(message), "--channel", "adt").exit_code == 2, (
        "never over another test"
    )
    (folder / "channels.yaml").write_text(CONFIG.replace("M: male", "M: man"))
    failed = isthmus(folder, str(target))
    assert failed.exit_code == 1 and "'man'" in failed.output


@pytest.mark.parametrize(
    "raw",
    [
        b"MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5\rPID|||9||M\xfcller|||M\r",
        b"MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5\r\x0bPID|||9||K\r",
        b"MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5\rPID|||9||K \r",
    ],
)
def test_a_recorded_message_keeps_its_bytes(folder, raw):
    (folder / "in.hl7").write_bytes(raw)
    target = folder / "elsewhere" / "one.yaml"
    isthmus(folder, "--record", str(folder / "in.hl7"), "--channel", "adt", "--to", str(target))
    data = yaml.safe_load(target.read_text())
    runner = Runner(load(folder / "channels.yaml"))
    assert runner.message("adt", data["message"], target) == raw
    assert [one.wrong for one in runner.run(target)] == [[]]


def test_update_writes_what_comes_today_and_leaves_the_rest(folder):
    file = folder / "tests" / "cases.yaml"
    broken = CASES.replace("{name: Keller}", "{name: Moreau}").replace("ack: AE", "ack: AA").replace(
        "{filtered: message_type", "{filtered: condition"
    )  # fmt: skip
    file.write_text(broken)
    result = isthmus(folder, "--update")
    assert result.exit_code == 0, result.output
    text = file.read_text()
    assert "two messages   # said once" in text
    before, after = yaml.safe_load(CASES), yaml.safe_load(text)
    after["cases"][1]["expect"]["filtered"] = "message_type"  # the whole label is written
    assert after == before


@pytest.mark.parametrize(
    "sample", sorted((CHANNELS.parent / "samples").glob("*.hl7")), ids=lambda file: file.stem
)
def test_every_sample_can_be_recorded(sample, tmp_path):
    channel = "siu" if b"|SIU^" in sample.read_bytes()[:120] else "adt"
    target = tmp_path / "one.yaml"
    args = ["test", "-c", str(CHANNELS), "--record", str(sample), "--channel", channel, "--to", str(target)]
    assert CliRunner().invoke(cli, args).exit_code == 0
    assert CliRunner().invoke(cli, ["test", "-c", str(CHANNELS), str(target)]).exit_code == 0


LOOKED_UP = """\
channel: adt
name: what is known of the patient
{lookups}
message: |
  MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5
  PID|||{ref}||Keller
expect:
  {expect}
"""


@pytest.mark.parametrize(
    ("lookups", "ref", "expect"),
    [
        ("lookups: {clinic res.partner: {'7': {name: Nora}}}", "7", "variables: {found: Nora}"),
        ("lookups: {clinic: {'7': Nora}}", "7", "variables: {found: Nora}"),
        ("lookups: {clinic: {'7': Nora}}", "8", "error: {code: lookup.nothing}"),
        ("", "7", "error: {code: lookup.offline}"),
    ],
)
def test_lookups_are_answered_by_the_test(tmp_path, lookups, ref, expect):
    assert looked_up(tmp_path, lookups, ref, expect) == []


@pytest.mark.parametrize(
    ("lookups", "told"),
    [
        ("lookups: {clinik: {'7': Nora}}", "3:11 the channel has no lookup 'clinik'. Did you mean 'clinic'?"),
        ("lookups: [clinic]", "3:1 lookups are a mapping of connections"),
        ("lookups: {clinic: [Nora]}", "3:11 answers are a mapping: what is matched, what is found"),
        ("lookups: {clinic: {'7': Nora}}", "8:22 "),
    ],
)
def test_lookups_that_do_not_fit(tmp_path, lookups, told):
    (wrong,) = looked_up(tmp_path, lookups, "7", "variables: {found: Max}")
    place, _, text = told.partition(" ")
    assert wrong.where.endswith(place), wrong
    assert text in wrong.text


def looked_up(tmp_path, lookups, ref, expect):
    step = (
        "      - lookup: {var: found, connection: clinic, model: res.partner, value: name, otherwise: error,"
        " match: {ref: \"{{ msg['PID-3.1'] }}\"}}\n"
    )
    head, _, tail = CONFIG.partition("      - set:")
    (tmp_path / "channels.yaml").write_text(f"{head}{step}      - set:{tail}")
    (tmp_path / "case.yaml").write_text(LOOKED_UP.format(lookups=lookups, ref=ref, expect=expect))
    configuration = load(tmp_path / "channels.yaml")
    assert configuration.errors == []
    (outcome,) = Runner(configuration).run(tmp_path / "case.yaml")
    return outcome.wrong


def test_what_came_before_in_the_test_is_a_duplicate(folder):
    text = CONFIG.replace("    filters:\n", "    filters:\n      - duplicate: {by: MSH-10}\n", 1)
    assert "duplicate" in text
    (folder / "channels.yaml").write_text(text)
    one = "      - message: |\n          MSH|^~\\&|A|B|||20260101||ADT^A08|1|P|2.5\n          PID|||7||Keller|||F\n"
    first, again = f"{one}        expect: {{ack: AA}}\n", f"{one}        expect: {{filtered: duplicate}}\n"
    tests = f"channel: adt\nname: twice\nmessages:\n{first}{again}"
    (folder / "tests" / "t.yaml").write_text(tests)
    for _ in range(2):  # the next run remembers nothing of this one
        (outcome,) = Runner(load(folder / "channels.yaml", {})).run(folder / "tests" / "t.yaml")
        assert outcome.wrong == []
