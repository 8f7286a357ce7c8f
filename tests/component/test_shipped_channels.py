"""Runs config/tests: message in, canonical events and Odoo operations out, through the shipped channels."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from channels import trial
from engine.spec.channel import load
from tests.component.shipped import CHANNELS, shipped

TESTS = sorted((CHANNELS.parent / "tests").glob("*.yaml"))
SAMPLES = sorted((CHANNELS.parent / "samples").glob("*.hl7"))
RESOURCES = sorted((CHANNELS.parent / "samples").glob("*.json"))
REQUIRED = {
    "adt": ["A01", "A02", "A03", "A04", "A05", "A08", "A11", "A12", "A13", "A28", "A31", "A40"],
    "siu": ["S12", "S13", "S14", "S15", "S17", "S26"],
}


@pytest.fixture(scope="module")
def channels():
    return shipped()


def raw_message(test: dict[str, Any], path) -> bytes:
    message = test["message"]
    if isinstance(message, dict):
        return (path.parent / message["file"]).read_bytes()
    return message.strip().replace("\n", "\r").encode() + b"\r"


@pytest.fixture(scope="module")
def runner():
    return trial.Runner(load(CHANNELS, {}))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_channel(path, runner):
    outcomes = runner.run(path)
    assert outcomes
    assert [outcome.wrong for outcome in outcomes] == [[]] * len(outcomes)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (("events: [patient.registered", "events: [patient.updated"), "events[0].type: expected"),
        (
            ("name: Nora Keller", "name: Nora Kelly"),
            "operations[0].values.name: expected 'Nora Kelly', got 'Nora Keller'",
        ),
        (("absent: [phone", "absent: [ref, phone"), "operations[0].absent[0]: ref must be absent"),
        (("key: visit/RGH/V-5002", "key: visit/RGH/V-5003"), "operations[1].key: "),
        (("channel: adt", "channel: siu"), "the message is filtered: filters[0] message_type"),
        (("channel: adt", "channel: nope"), "there is no channel 'nope'"),
        (("expect:", "expects:"), "`expect` is missing"),
        (("|100234^^^RGH^MR|", "||"), "the message is in ERROR: "),
        (
            ("  events: [patient.registered, encounter.admitted]", "  filtered: message_type"),
            "filtered: expected 'message_type', got 'not filtered'",
        ),
        (("name: An", "name: [An"), "this is not YAML"),
    ],
)
def test_a_channel_test_can_fail(change, wrong, runner, tmp_path):
    text = (CHANNELS.parent / "tests" / "adt-a01-admit.yaml").read_text("utf-8")
    assert change[0] in text
    file = tmp_path / "one.yaml"
    file.write_text(text.replace(*change, 1), "utf-8")
    (outcome,) = runner.run(file)
    assert any(wrong in str(one) for one in outcome.wrong), outcome.wrong


def test_every_trigger_has_a_test():
    seen: dict[str, set[str]] = {"adt": set(), "siu": set()}
    for path in TESTS:
        if path.stem.startswith("fhir"):
            continue
        test = yaml.safe_load(path.read_text("utf-8"))
        msh9 = raw_message(test, path).split(b"|")[8].decode()
        seen[test["channel"]].add(msh9.split("^")[1])
    for channel, triggers in REQUIRED.items():
        assert set(triggers) <= seen[channel]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_sample_ends_well(path, channels):
    """No sample may end in an error; the one that is filtered says so in its name."""
    raw = path.read_bytes()
    channel = channels["siu" if b"|SIU^" in raw[:120] else "adt"]
    result = channel.run(raw)
    assert bool(result.filtered) == ("filtered" in path.name)
    assert bool(result.operations) != bool(result.filtered)
    assert channel.run(raw).operations == result.operations


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_resource_ends_well(path, runner):
    result = runner.result("fhir", path.read_bytes())
    assert (result.state, result.answers) == ("TRANSFORMED", ["AA"]), result.text
    assert result.operations
    assert len(result.payloads) == 1  # one of both destinations


def test_names_in_latin1_arrive(channels):
    raw = (CHANNELS.parent / "samples" / "07-latin1.hl7").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")
    values = channels["adt"].run(raw).operations[0]["values"]
    assert values["name"] == "José Müller"
    assert values["city"] == "Düsseldorf"
    assert values["country_id"]["find"] == {"code": "DE"}
