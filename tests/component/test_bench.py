"""The benchmarks measure what they say: small runs of the real processes; no figure is judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import console, fhir, ingest, lint, notify, processes, search
from bench.messages import adt
from engine.fhir.resource import Fhir
from engine.hl7.er7 import Message
from engine.hl7.peek import peek

ROOT = Path(__file__).parents[2]


def test_messages_are_different_patients_of_about_1_kb():
    made = [adt(number, b"C%d" % number) for number in range(500)]
    assert all(950 < len(raw) < 1100 for raw in made)
    assert len({str(Message(raw)["PID-3.1"]) for raw in made}) == 500
    assert {peek(raw).type for raw in made} == {"ADT^A01"}
    assert peek(made[7]).control_id == "C7"


def test_the_whole_way_is_measured_until_all_is_sent(tmp_path):
    found = ingest.pipeline(tmp_path, connections=4, messages=300)
    assert found["drained_per_s"] > 0
    assert found["rss_mb"] > 0
    assert found["disk_bytes"] > 0


def test_engine_and_floor_answer_the_same_messages(tmp_path):
    row, peak = ingest.beside(tmp_path, 4, 200, 1, "")
    assert row["ack_per_s"] > 0
    assert row["floor_per_s"] > 0
    assert peak > 0


CLOSES = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print("ready", server.getsockname()[1], flush=True)
while True:
    server.accept()[0].close()
"""


def test_a_lost_message_is_no_figure():
    with processes.running(processes.Server("-c", CLOSES)) as server, pytest.raises(processes.BenchError):
        processes.load(server.port, 1, 3)


def test_searches_find_what_is_there(tmp_path):
    found = search.run(tmp_path, 1500)
    assert found["messages"] == 1500
    assert found["slowest_ms"] > 0


def test_lint_finds_nothing_in_what_it_measures(tmp_path):
    found = lint.run(tmp_path, 3, 1)
    assert found["channels"] == 3
    assert found["shared_cpu_s"] > 0 and found["own_cpu_s"] > 0
    (tmp_path / "wrong.yaml").write_text("channels: {}", "utf-8")
    with pytest.raises(RuntimeError, match="not right"):
        lint.once(tmp_path / "wrong.yaml")


def test_notifications_are_measured_until_all_is_sent(tmp_path):
    stored = fhir.receive(tmp_path, connections=2, count=60)
    assert stored["ok"] == 60 and stored["rate"] > 0 and stored["p99"] >= stored["p50"] > 0
    assert fhir.pipeline(tmp_path, connections=2, count=60)["drained_per_s"] > 0


def test_a_notification_that_is_refused_is_no_figure():
    with processes.running(processes.Server("-c", CLOSES)) as server, pytest.raises(processes.BenchError):
        fhir.load(server.port, 1, 3)


def test_common_paths_do_not_go_through_the_whole_of_fhirpath():
    """What the bench calls whole is another way; both read the same."""
    form = Fhir()
    view = form.parse(notify.patient(7))
    for path in fhir.PATHS:
        assert isinstance(form.compile(path), tuple), path
        assert fhir._whole(path, "r4")(view.data, {})[0] == view[path]
    assert {name for name, value in fhir.steps().items() if value > 0} == {
        "parse_us", "three_filters_us", "whole_fhirpath_us", "events_us", "template_us"
    }  # fmt: skip


def test_json_is_the_last_line():
    done = subprocess.run(
        [sys.executable, "run_engine.py", "bench", "search", "--messages", "600", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1])["messages"] == 600


def test_people_at_the_console_are_there_while_it_is_measured(tmp_path):
    found = console.run(tmp_path, messages=100, stored=100, clients=2, pairs=1)
    (there,) = found["disturbed"]
    assert there["dashboards"] and there["search_ms"] > 0 and found["rate_ratio"] > 0
