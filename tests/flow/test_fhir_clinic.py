"""The shipped FHIR channel in a real engine: what a server notifies of over HTTP stands in Odoo, once, in the records
that HL7 messages write as well; `isthmus send` sends it, and tells what was refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from engine.odoo.connection import SANDBOX_FILE
from tests.component.shipped import CHANNELS
from tests.engine_process import EngineProcess, until
from tests.flow.test_plan import isthmus

SAMPLES = sorted((CHANNELS.parent / "samples").glob("*.json"))
PORTS = {"ADT_PORT": "0", "SIU_PORT": "0", "FHIR_PORT": "0"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The data folder after the demo, and what it printed."""
    data = tmp_path_factory.mktemp("demo")
    done = isthmus("demo", "--once", "-d", data, COLUMNS="160", **PORTS)
    assert done.returncode == 0, done.stdout + done.stderr
    return data, done.stdout


def test_the_demo_sends_resources_and_they_are_in_odoo(demo):
    data, printed = demo
    for sample in SAMPLES:
        assert f"{sample.name}: " in printed
    assert printed.count("HTTP 200") == len(SAMPLES) == 5
    with closing(sqlite3.connect(data / SANDBOX_FILE)) as odoo:
        found = odoo.execute("select ref, name, email from res_partner where ref is not null")
        partners = {ref: (name, email) for ref, name, email in found}
        visits = list(
            odoo.execute("select start, active from calendar_event where name like 'Physiotherapy: In%'")
        )
    assert partners["100871"] == ("Inés María Ferrer", "ines.ferrer@example.org")
    assert partners["100310"] == (
        "Chidi Abara",
        "chidi.abara@example.org",
    )  # the patient of ADT, written by FHIR
    assert visits == [("2026-04-09 19:00:00", 0)]  # booked, moved, cancelled: one event


@pytest.fixture
def engine(tmp_path):
    started = EngineProcess(tmp_path, CHANNELS, environ=PORTS)
    yield started.start(3)
    started.terminate()
    assert not started.faults


def test_send_tells_what_was_taken_and_what_was_refused(engine, tmp_path):
    url = f"http://127.0.0.1:{engine.ports['fhir']}/fhir/hook"
    bad, nowhere = tmp_path / "bad.json", "http://127.0.0.1:9/fhir"
    bad.write_text("{}")
    done = isthmus("send", *SAMPLES, *SAMPLES[:1], "--to", url)
    assert (done.returncode, done.stdout.count("HTTP 200")) == (0, 6), done.stdout + done.stderr
    until(lambda: engine.open() == 0)
    assert [row.state for row in engine.stored()] == ["TRANSFORMED"] * 5  # the one sent twice is one message
    done = isthmus("send", bad, "--to", url)
    assert (done.returncode, "HTTP 400" in done.stdout) == (1, True), done.stdout
    done = isthmus("send", SAMPLES[0], "--to", nowhere)
    assert (done.returncode, "no answer: unreachable" in done.stderr) == (1, True), done.stderr
    assert isthmus("send", SAMPLES[0], "--to", "ftp://127.0.0.1/").returncode == 2
