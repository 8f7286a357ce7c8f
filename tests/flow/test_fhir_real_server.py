"""HL7 v2 → FHIR over real sockets, into a real server when there is one.

The real one is FHIR_BASE_URL, with FHIR_AUTH (the `auth` of a connection, in YAML); without it the server of the
tests, which keeps a state, takes its place in a process of its own. Guaranteed here: the same messages twice, with the
engine killed in between, are one Patient, one Encounter and one Appointment, each in its first version; a change makes
one more; what somebody else wrote stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess, free_ports, until

ROOT = Path(__file__).resolve().parents[2]
ASK = ROOT / "tests/fhir_ask.py"
AUTH = os.environ.get("FHIR_AUTH", "")
RUN = uuid.uuid4().hex[:10]  # a real server keeps what was written to it
CONFIG = """
connections:
  ehr: {{fhir: {{base: "{base}"{auth}}}}}
channels:
  adt:
    listener: {{mllp: {{port: {port}}}}}
    destinations:
      ehr:
        fhir: {{connection: ehr, systems: {{RGH: "urn:isthmus:test:{run}", SCHED: "urn:isthmus:test:{run}:a"}}}}
        retry: {{initial: 1, max: 2, jitter: 0}}
"""
HEAD = "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000+0000||{kind}|{id}|P|2.5.1\r"


@pytest.fixture(scope="module")
def base():
    if os.environ.get("FHIR_BASE_URL"):
        yield os.environ["FHIR_BASE_URL"]
        return
    with subprocess.Popen([sys.executable, ASK, "serve"], stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.terminate()


@pytest.fixture
def engine(base, tmp_path):
    auth = f", auth: {AUTH}" if AUTH else ""
    made = EngineProcess(tmp_path, CONFIG.format(base=base, auth=auth, port=free_ports()[0], run=RUN))
    yield made.start()
    made.terminate()
    assert not made.faults


def find(base, kind, value, system=f"urn:isthmus:test:{RUN}"):
    """The one resource with an identifier."""
    done = subprocess.run(
        [sys.executable, ASK, "find", base, kind, f"identifier={system}|{value}"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    (found,) = json.loads(done.stdout)
    return found


def deliver(engine, *messages):
    for number, (kind, *segments) in enumerate(messages):
        raw = HEAD.format(kind=kind, id=f"{RUN}{number}") + "\r".join(segments) + "\r"
        assert b"MSA|AA|" in engine.send(raw.encode())
    until(lambda: engine.open() == 0)
    assert {state for (state,) in engine.rows("SELECT state FROM delivery")} == {"SENT"}, engine.rows(
        "SELECT error_code, error_text, error_place FROM delivery WHERE state <> 'SENT'"
    )


def test_the_same_messages_are_the_same_resources(engine, base):
    pid = (
        "PID|1||P1^^^RGH^MR||Keller^Nora^^^^^L||19840917|F|||1 Elm^^Reno^NV^89501^USA||^PRN^PH^^1^309^5550101"
    )
    messages = [
        ("ADT^A01", pid, "PV1|1|I|W1^2^B^RGH" + "|" * 16 + "V1^^^RGH^VN" + "|" * 25 + "20260301080000+0000"),
        (
            "SIU^S12",
            "SCH||A1^SCHED|||||CHECK^Check-up||||^^30^20260401100000+0000",
            pid,
            "AIL|1||CLIN^2^^RGH",
        ),
    ]
    deliver(engine, *messages)
    patient, visit = find(base, "Patient", "P1"), find(base, "Encounter", "V1")
    booking = find(base, "Appointment", "A1", f"urn:isthmus:test:{RUN}:a")
    assert visit["subject"]["reference"] == f"Patient/{patient['id']}"
    assert booking["participant"][0]["actor"]["reference"] == f"Patient/{patient['id']}"
    engine.kill()
    engine.start()
    replayed = [(kind, *segments, "ZZZ|1") for kind, *segments in messages]  # other bytes, the same meaning
    deliver(engine, *replayed)
    assert find(base, "Patient", "P1")["meta"]["versionId"] == patient["meta"]["versionId"]
    assert find(base, "Encounter", "V1")["meta"]["versionId"] == visit["meta"]["versionId"]
    deliver(engine, ("ADT^A31", pid.replace("Keller", "Keller-Boyd").replace("19840917", '""')))
    changed = find(base, "Patient", "P1")
    assert (changed["id"], changed["name"][0]["family"]) == (patient["id"], "Keller-Boyd")
    assert "birthDate" not in changed and changed["address"] == patient["address"]
    deliver(engine, ("SIU^S15", "SCH||A1^SCHED", pid))
    assert find(base, "Appointment", "A1", f"urn:isthmus:test:{RUN}:a")["status"] == "cancelled"


def foretold(engine, *arguments):
    """What a verb of the command line foretells, from another process beside the engine."""
    done = subprocess.run(
        [sys.executable, ROOT / "run_engine.py", *map(str, arguments), "--json",
         "--config", engine.data.parent / "channels.yaml", "--data", engine.data],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def told(effect):
    return [(one["model"], one["field"], one["old"], one["new"]) for one in effect["changes"] if one["field"]]


def test_what_would_change_is_told_before(engine, base, tmp_path):
    pid = "PID|1||P2^^^RGH^MR||Keller^Nora||19840917|F"
    visit = "PV1|1|I|W1^2^B^RGH" + "|" * 16 + "V2^^^RGH^VN"
    admit, change, clear = tmp_path / "admit.hl7", tmp_path / "change.hl7", tmp_path / "clear.hl7"
    for file, kind, *segments in (
        (admit, "ADT^A01", pid, visit),
        (change, "ADT^A31", pid.replace("Keller", "Boyd")),
        (clear, "ADT^A31", pid.replace("Keller", "Boyd").replace("19840917", '""')),
    ):
        file.write_text(HEAD.format(kind=kind, id=f"{RUN}P{file.stem}") + "\r".join(segments) + "\r")

    made, first, second = foretold(engine, "plan", "adt", admit, change, clear)
    key = f"urn:isthmus:test:{RUN}|P2"
    new = {one["model"]: one["old"] for one in made["changes"] if not one["note"]}  # a place may be there
    assert new["Patient"] is new["Encounter"] is None
    assert ("Encounter", "subject.reference", None, f"Patient?identifier={key}") in told(made)
    # what the plan itself would write counts
    assert told(first) == [("Patient", "name[0].family", "Keller", "Boyd")]
    assert told(second) == [("Patient", "birthDate", "1984-09-17", "")]
    assert first["changes"][0]["key"] == key and first["changes"][0]["record"] is None
    with pytest.raises(ValueError):
        find(base, "Patient", "P2")

    deliver(engine, ("ADT^A01", pid, visit))
    there = find(base, "Patient", "P2")
    same, changed = foretold(engine, "plan", "adt", admit, change)
    assert {(one["model"], one["note"]) for one in same["changes"]} == {
        ("Patient", "unchanged"), ("Location", "unchanged"), ("Encounter", "unchanged"),
    }  # fmt: skip
    assert told(changed) == [("Patient", "name[0].family", "Keller", "Boyd")]
    assert (changed["changes"][0]["op"], changed["changes"][0]["record"]) == ("upsert", there["id"])
    (message,) = engine.rows("SELECT max(id) FROM message")[0]
    for verb in ("replay", "resend"):
        (again,) = foretold(engine, "messages", verb, "--dry-run", message)
        assert {one["note"] for one in again["changes"]} == {"unchanged"}
    assert find(base, "Patient", "P2") == there
