"""`--lookups ask`: what the other side holds is read, each value once, and an outage is never "not there"."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from channels.asking import Asking, found
from channels.impact import Run, given, impact
from channels.rerecord import record
from channels.tracer import Tracer
from channels.trial import Runner
from engine.errors import ConfigError
from engine.spec.channel import load
from engine.spec.lookups import LookupDown

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_772_000_000_000_000
CONFIG = """
connections:
  wards: {{sql: {{url: "sqlite:///{folder}/wards.db"}}}}
  clinic: {{odoo: {{url: "sandbox:"}}}}
channels:
  adt:
    listener: {{mllp: {{port: 0}}}}
    transformers:
      - lookup:
          var: ward
          connection: wards
          query: SELECT name FROM ward WHERE code = :code
          match: {{code: "{{{{ msg['PV1-3.1'] }}}}"}}
          value: name
      - lookup:
          var: land
          connection: clinic
          model: res.country
          match: {{code: "{{{{ msg['PID-11.6'] }}}}"}}
          fields: [name]
      - set: {{vars: {{shown: "{{{{ ward | upper }}}} {{{{ land.name }}}}"}}}}
"""


def message(ward: str = "E4", land: str = "BE") -> bytes:
    return (
        "MSH|^~\\&|A|B|C|D|20260101||ADT^A01|1|P|2.5.1\r"
        f"PID|||7^^^H^MR||Doe^Jo||||||1 Main^^Gent^^9000^{land}\rPV1||I|{ward}\r"
    ).encode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "channels.yaml").write_text(CONFIG.format(folder=tmp_path), "utf-8")
    with closing(sqlite3.connect(tmp_path / "wards.db")) as base, base:
        base.execute("CREATE TABLE ward (code, name)")
        base.execute("INSERT INTO ward VALUES ('E4', 'East wing')")
    return tmp_path


class Wait:
    """Runs a coroutine on a clock."""

    def __init__(self, clock):
        self.clock = clock

    def __call__(self, work):
        outcome = []
        ensureDeferred(work).addBoth(outcome.append)
        while not outcome:
            self.clock.advance(0.01)
        (result,) = outcome
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result


@pytest.fixture
def asking(folder):
    clock = Clock()
    return Asking(Wait(clock), clock, folder)


def test_try_tells_what_was_found_and_where_it_comes_from(folder, asking):
    tracer = Tracer(load(folder / "channels.yaml"), "adt", asking)
    traced = tracer.trace(message(), NOW)
    assert traced.state == "TRANSFORMED"
    values = {one.field: one for one in traced.variables}
    assert values["shown"].value == "EAST WING Belgium"
    assert {place.path for place in values["shown"].sources} == {"PV1-3", "PID-11.6"}
    assert sum(lookup.fetches for lookup in tracer.pipeline.lookups) == 2  # the experiments asked nothing
    tracer.trace(message(), NOW)
    tracer.trace(message("none", "XX"), NOW)
    tracer.trace(message("none", "XX"), NOW)  # not there, and known
    assert sum(lookup.fetches for lookup in tracer.pipeline.lookups) == 4


def test_impact_asks_once_for_all_messages(folder, asking):
    config = load(folder / "channels.yaml")
    before, after = Run(config, "adt", asking), Run(config, "adt", asking)
    samples = given(after.pipeline, [message(land=land) for land in ("BE", "FR", "DE", "BE")], NOW)
    told = impact(samples, before, after)
    assert (told.messages, told.differ) == (4, 0)
    assert [lookup.fetches for lookup in after.pipeline.lookups] == [1, 1]


def test_a_recorded_test_says_what_was_found_and_passes_offline(folder, asking):
    config = load(folder / "channels.yaml")
    target = folder / "t.yaml"
    text = record(
        Runner(config, None, asking), "adt", [("one", message()), ("two", message("?", "XX"))], target
    )
    target.write_text(text, "utf-8")
    assert "East wing" in text and "Belgium" in text
    assert [one.wrong for one in Runner(config).run(target)] == [[], []]
    target.write_text(text.replace("East wing", "West wing", 1), "utf-8")
    assert Runner(config).run(target)[0].wrong  # the test says what is found, nobody else
    asked = Runner(config, None, asking)
    assert asked.run(target)[0].wrong  # what a test names is not asked


def test_what_a_test_cannot_say_is_refused(folder, asking):
    text = (folder / "channels.yaml").read_text("utf-8")
    again = text.index("      - lookup:\n          var: land")
    step = text[again : text.index("      - set")].replace("var: land", "var: other")
    step = step.replace("fields: [name]", "fields: [name]\n          domain: [[active, '=', true]]")
    (folder / "channels.yaml").write_text(text[:again] + step + text[again:], "utf-8")
    runner = Runner(load(folder / "channels.yaml"), None, asking)
    pipeline = runner.pipelines["adt"]
    meta = pipeline.meta(message(), NOW)
    for lookup in pipeline.lookups:
        lookup.answers.update({("BE",): {"name": lookup.label + str(id(lookup))}, ("E4",): None})
    pipeline.run(message(), meta)
    with pytest.raises(ConfigError, match="different things"):
        found(pipeline)


def test_who_cannot_answer_is_told(folder, asking):
    (folder / "wards.db").unlink()
    with pytest.raises(LookupDown, match="cannot be read now") as caught:
        Tracer(load(folder / "channels.yaml"), "adt", asking).trace(message(), NOW)
    assert caught.value.where == "lookup wards"


def verb(folder, *words):
    return subprocess.run(
        [sys.executable, str(ROOT / "run_engine.py"), *words, "-c", "channels.yaml", "-d", "data"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_verbs(folder):
    (folder / "m.hl7").write_bytes(message())
    assert "lookup.offline" in verb(folder, "try", "adt", "m.hl7").stdout
    done = verb(folder, "try", "adt", "m.hl7", "--lookups", "ask")
    assert done.returncode == 0 and "EAST WING Belgium" in done.stdout
    record = ("test", "--record", "m.hl7", "--channel", "adt", "--to", "t.yaml")
    assert verb(folder, *record, "--lookups", "ask").returncode == 0
    assert "1 passed" in verb(folder, "test", "t.yaml").stdout
    done = verb(folder, "impact", "adt", "m.hl7", "--against", "channels.yaml", "--lookups", "ask")
    assert done.returncode == 0 and "1 the same" in done.stdout
    assert not (folder / "data").exists()  # nothing was kept
    (folder / "wards.db").unlink()
    done = verb(folder, "try", "adt", "m.hl7", "--lookups", "ask")
    assert done.returncode == 2 and "lookup.down" in done.stderr
