"""`try`, `plan` and `test` on messages of others: no traceback, whatever they hold, and `plan` changes nothing."""

from __future__ import annotations

import json

import pytest
import yaml

from channels import rerecord
from channels.tracer import Tracer
from channels.trial import Runner
from engine.cli.traces import show
from engine.hl7.format import Hl7v2
from engine.spec.channel import load
from tests.component.shipped import CHANNELS
from tests.corpus import HL7V2, needs_corpus
from tests.flow.test_plan import everything, isthmus

COUNT = 50
STATES = {"TRANSFORMED", "FILTERED", "ERROR"}


def chosen():
    """So many messages from all over the corpus: mostly ADT and SIU, and of every other kind some."""
    files = sorted(HL7V2.rglob("*.hl7"))
    parts = [(file, raw) for file in files for raw in Hl7v2().parts(file.read_bytes())]
    ours = [one for one in parts if b"|ADT^" in one[1][:200] or b"|SIU^" in one[1][:200]]
    rest = [one for one in parts if one not in ours]
    return [*ours[:: max(1, len(ours) // 35)][:35], *rest[:: max(1, len(rest) // 15)][: COUNT - 35]]


MESSAGES = chosen()
pytestmark = needs_corpus


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """The shipped channels, which let messages of test systems through: many of these say that they are."""
    text = CHANNELS.read_text("utf-8")
    kept = [line for line in text.split("\n") if "- condition: \"msg['MSH-11.1']" not in line]
    assert len(kept) == len(text.split("\n")) - 2
    file = tmp_path_factory.mktemp("corpus") / "channels.yaml"
    file.write_text("\n".join(kept).replace("file: tables/", f"file: {CHANNELS.parent}/tables/"), "utf-8")
    return file


@pytest.fixture(scope="module")
def configuration(config):
    found = load(config, {})
    assert not found.errors
    return found


def channel_of(raw: bytes) -> str:
    return "siu" if b"|SIU^" in raw[:200] else "adt"


def test_there_are_so_many():
    assert len(MESSAGES) == COUNT


def test_try_tells_each_of_them(configuration, capsys):
    tracers = {name: Tracer(configuration, name) for name in ("adt", "siu")}
    with_sources = 0
    for file, raw in MESSAGES:
        trace = tracers[channel_of(raw)].trace(raw, 1_772_000_000_000_000)
        assert trace.state in STATES and (trace.why or trace.state == "TRANSFORMED"), file
        assert trace.answers, file
        show(trace, file.name, events=True)
        for destination in trace.destinations:
            for operation in destination.operations:
                (key,) = (value for value in operation.values if value.field == "key")
                assert key.sources and key.where.count(":") == 2, file
                with_sources += sum(bool(value.sources) for value in operation.values)
    assert with_sources > 200
    assert "Traceback" not in capsys.readouterr().out


def test_a_recorded_test_of_each_of_them_passes(configuration, tmp_path):
    runner = Runner(configuration)
    for number, (file, raw) in enumerate(MESSAGES):
        target = tmp_path / f"{number}.yaml"
        target.write_text(rerecord.record(runner, channel_of(raw), [(file.name, raw)], target), "utf-8")
        assert (
            runner.message(channel_of(raw), yaml.safe_load(target.read_text("utf-8"))["message"], target)
            == raw
        )
        assert [outcome.wrong for outcome in runner.run(target)] == [[]], file


def test_plan_changes_nothing(config, tmp_path):
    files = []
    for number, (_, raw) in enumerate(MESSAGES):
        files.append(tmp_path / f"{number:02}.hl7")
        files[-1].write_bytes(raw)
    data = tmp_path / "data"
    data.mkdir()
    isthmus("plan", "adt", files[0], "-c", config, "-d", data)
    before = everything(data)
    done = isthmus("plan", "adt", *files, "-c", config, "-d", data, "--json")
    effects = json.loads(done.stdout)
    assert {effect["message_id"] for effect in effects} >= set(range(1, COUNT + 1))
    assert any(effect["changes"] for effect in effects)
    assert done.returncode in (0, 1) and done.stderr == ""
    assert everything(data) == before
