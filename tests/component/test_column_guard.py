"""Searchable columns are read under the guard of the steps: one that never ends costs its own message alone."""

import json
import signal

import pytest

from channels.build import Builder
from channels.guard import TICK, Guard
from engine.model import Meta
from engine.spec.channel import load

CONFIG = """\
channels:
  fhir:
    listener: {http: {port: 0}}
    format: fhir
    search: {columns: {family: Patient.name.family, deep: "Patient%s.count()"}}
"""


@pytest.fixture
def run(tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text(CONFIG % (".descendants()" * 6))
    configuration = load(file)
    pipeline = Builder(configuration).pipeline(configuration.channels["fhir"])
    before = signal.getsignal(signal.SIGALRM)
    guard = Guard(seconds=3 * TICK)
    guard.install()

    def run(depth):
        extension = {"url": "x", "valueString": "y"}
        for _ in range(depth):
            extension = {"url": "x", "extension": [extension]}
        patient = {"resourceType": "Patient", "name": [{"family": "Doe"}], "extension": [extension]}
        with guard.bounded():
            guard.arm()
            return pipeline.run(json.dumps(patient).encode(), Meta(1, "fhir", 0, "", "", ""))

    yield run
    signal.signal(signal.SIGALRM, before)


def test_a_column_that_does_not_end_is_stopped(run):
    stopped = run(44)
    assert (stopped.state, stopped.code, stopped.place) == (
        "ERROR",
        "step.timeout",
        "search.columns.deep",
    )
    assert [(one.name, one.value) for one in stopped.columns] == [("family", "Doe")]


def test_a_message_that_can_be_read_has_its_columns(run):
    assert [(one.name, one.value) for one in run(0).columns] == [("family", "Doe"), ("deep", "0")]
