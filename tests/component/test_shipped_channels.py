"""Runs config/tests: message in, canonical events and Odoo operations out, through the shipped channels."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from engine.errors import StepError
from tests.component.shipped import CHANNELS, shipped

TESTS = sorted((CHANNELS.parent / "tests").glob("*.yaml"))
SAMPLES = sorted((CHANNELS.parent / "samples").glob("*.hl7"))
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


def fits(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What is not as expected: every given setting must be equal, `values` is a subset."""
    wrong = [
        f"{name}: {found.get(name)!r} is not {value!r}"
        for name, value in expected.items()
        if name not in ("values", "absent") and found.get(name) != value
    ]
    values = found.get("values", {})
    for name, value in expected.get("values", {}).items():
        if name not in values or values[name] != value:
            wrong.append(f"values.{name}: {values.get(name, 'absent')!r} is not {value!r}")
    wrong += [f"values.{name}: must be absent" for name in expected.get("absent", ()) if name in values]
    return wrong


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_channel(path, channels):
    test = yaml.safe_load(path.read_text("utf-8"))
    assert set(test) == {"name", "channel", "message", "expect"}
    expect = test["expect"]
    assert expect
    assert set(expect) <= {"events", "operations", "filtered", "error"}
    raw = raw_message(test, path)
    if "error" in expect:
        with pytest.raises(StepError) as caught:
            channels[test["channel"]].run(raw)
        assert {"code": caught.value.code, "where": caught.value.where} | expect["error"] == {
            "code": caught.value.code,
            "where": caught.value.where,
        }
        return
    result = channels[test["channel"]].run(raw)
    assert result.filtered == expect.get("filtered", "")
    assert [event.type for event in result.events] == expect.get("events", [])
    operations = expect.get("operations", [])
    assert [item["op"] for item in result.operations] == [item["op"] for item in operations]
    wrong = [fits(item, found) for item, found in zip(operations, result.operations, strict=True)]
    assert not any(wrong), wrong


def test_every_trigger_has_a_test():
    seen: dict[str, set[str]] = {"adt": set(), "siu": set()}
    for path in TESTS:
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


def test_names_in_latin1_arrive(channels):
    raw = (CHANNELS.parent / "samples" / "07-latin1.hl7").read_bytes()
    with pytest.raises(UnicodeDecodeError):
        raw.decode("utf-8")
    values = channels["adt"].run(raw).operations[0]["values"]
    assert values["name"] == "José Müller"
    assert values["city"] == "Düsseldorf"
    assert values["country_id"]["find"] == {"code": "DE"}
