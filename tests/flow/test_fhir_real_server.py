"""HL7 v2 → FHIR over real sockets, into a real server when there is one.

The real one is FHIR_BASE_URL, with FHIR_AUTH (the `auth` of a connection, in YAML); without it the server of the
tests, which keeps a state, takes its place in a process of its own. Guaranteed here: the same messages twice, with the
engine killed in between, are one Patient, one Encounter and one Appointment, each in its first version; a change makes
one more; what somebody else wrote stays, also when both write at the same time; what the server refuses is told by its
class."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_process import EngineProcess, free_ports, until
from tests.flow.real_fhir import ASK, AUTH, BASE, RUN, SYSTEM, RealServer, patient

ROOT = Path(__file__).resolve().parents[2]
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
    if BASE:
        yield BASE
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


@pytest.fixture(scope="module")
def server(base):
    made = RealServer(base)
    yield made
    made.close()


def find(server, kind, value, system=SYSTEM):
    """The one resource with an identifier."""
    (found,) = server.search(f"{kind}?identifier={system}|{value}")
    return found


def deliver(engine, *messages):
    for number, (kind, *segments) in enumerate(messages):
        raw = HEAD.format(kind=kind, id=f"{RUN}{number}") + "\r".join(segments) + "\r"
        assert b"MSA|AA|" in engine.send(raw.encode())
    until(lambda: engine.open() == 0)
    assert {state for (state,) in engine.rows("SELECT state FROM delivery")} == {"SENT"}, engine.rows(
        "SELECT error_code, error_text, error_place FROM delivery WHERE state <> 'SENT'"
    )


def test_the_same_messages_are_the_same_resources(engine, server):
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
    patient, visit = find(server, "Patient", "P1"), find(server, "Encounter", "V1")
    booking = find(server, "Appointment", "A1", f"urn:isthmus:test:{RUN}:a")
    assert visit["subject"]["reference"] == f"Patient/{patient['id']}"
    assert booking["participant"][0]["actor"]["reference"] == f"Patient/{patient['id']}"
    engine.kill()
    engine.start()
    replayed = [(kind, *segments, "ZZZ|1") for kind, *segments in messages]  # other bytes, the same meaning
    deliver(engine, *replayed)
    assert find(server, "Patient", "P1")["meta"]["versionId"] == patient["meta"]["versionId"]
    assert find(server, "Encounter", "V1")["meta"]["versionId"] == visit["meta"]["versionId"]
    deliver(engine, ("ADT^A31", pid.replace("Keller", "Keller-Boyd").replace("19840917", '""')))
    changed = find(server, "Patient", "P1")
    assert (changed["id"], changed["name"][0]["family"]) == (patient["id"], "Keller-Boyd")
    assert "birthDate" not in changed and changed["address"] == patient["address"]
    deliver(engine, ("SIU^S15", "SCH||A1^SCHED", pid))
    assert find(server, "Appointment", "A1", f"urn:isthmus:test:{RUN}:a")["status"] == "cancelled"


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


def test_what_would_change_is_told_before(engine, server, tmp_path):
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
        find(server, "Patient", "P2")

    deliver(engine, ("ADT^A01", pid, visit))
    there = find(server, "Patient", "P2")
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
    assert find(server, "Patient", "P2") == there


def test_nobodys_change_is_lost_when_two_write_at_once(engine, server):
    pid = "PID|1||P3^^^RGH^MR||Keller^Nora||19840917|F|||||^PRN^PH^^1^309^{}"
    deliver(engine, ("ADT^A31", pid.format(0)))
    refused = 0
    for number in range(1, 13):
        raw = HEAD.format(kind="ADT^A31", id=f"{RUN}C{number}") + pid.format(5550100 + number) + "\r"
        assert b"MSA|AA|" in engine.send(raw.encode())
        while True:
            there = find(server, "Patient", "P3")
            mine = {**there, "multipleBirthInteger": number}
            tag = f'W/"{there["meta"]["versionId"]}"'
            if (told := server.ask("PUT", f"Patient/{there['id']}", mine, If_Match=tag)).status == 200:
                break
            assert (told.status, told.code) == (412, "fhir.precondition"), told
            refused += 1
    until(lambda: engine.open() == 0)
    assert {state for (state,) in engine.rows("SELECT state FROM delivery")} == {"SENT"}
    last = find(server, "Patient", "P3")
    assert last["multipleBirthInteger"] == 12 and last["telecom"][0]["value"].endswith("5550112")


def test_one_identifier_of_two_resources_is_refused(engine, server):
    for _ in "ab":
        server.write(patient("P4"))
    raw = HEAD.format(kind="ADT^A31", id=f"{RUN}D") + "PID|1||P4^^^RGH^MR||Keller^Nora\r"
    assert b"MSA|AA|" in engine.send(raw.encode())
    until(lambda: engine.open() == 0)
    assert engine.rows("SELECT state, error_code FROM delivery") == [("ERROR", "fhir.precondition")]


def test_what_the_server_refuses_is_told_by_its_class(server):
    made = server.write(patient("P5"))
    place = f"Patient/{made['id']}"
    same = server.ask("POST", "Patient", patient("P5"), If_None_Exist=f"identifier={SYSTEM}|P5")
    assert (same.status, same.data["id"]) == (200, made["id"])
    server.write({**made, "active": True})
    stale = server.ask("PUT", place, made, If_Match=f'W/"{made["meta"]["versionId"]}"')
    assert (stale.status, stale.code, stale.result) == (412, "fhir.precondition", "permanent")
    server.write(patient("P5"))
    several = server.ask("POST", "Patient", patient("P5"), If_None_Exist=f"identifier={SYSTEM}|P5")
    assert (several.status, several.code, several.result) == (412, "fhir.precondition", "permanent")
    server.delete(made)
    assert server.ask("GET", place)[::2] == (410, "fhir.gone")
    assert server.ask("GET", f"Patient/{RUN}")[::2] == (404, "fhir.not_found")


@pytest.mark.skipif(not BASE, reason="FHIR_BASE_URL names no server; the one of the tests takes any content")
def test_content_that_the_server_refuses_is_permanent(server):
    wrong = patient("P6", birthDate="yesterday")
    bundle = {
        "resourceType": "Bundle", "type": "transaction",
        "entry": [{"resource": wrong, "request": {"method": "POST", "url": "Patient"}}],
    }  # fmt: skip
    alone, together = server.ask("POST", "Patient", wrong), server.ask("POST", "", bundle)
    assert (alone.code, alone.result) == ("fhir.invalid", "permanent"), alone
    if together.status == 200:  # a server that does a transaction as a batch answers for each entry
        (entry,) = together.data["entry"]
        assert entry["response"]["status"].startswith("4")
    else:
        assert (together.code, together.result) == ("fhir.invalid", "permanent"), together
    assert server.search(f"Patient?identifier={SYSTEM}|P6") == []
