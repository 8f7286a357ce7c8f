"""ACK levels and enhanced mode on a running engine: what is answered, when, and that it is true."""

from __future__ import annotations

import time

import pytest
from engine_process import Client, EngineProcess, adt, fields, until, verdict

CONFIG = """
connections:
  clinic: {odoo: {url: "sandbox:"}}
  nowhere: {odoo: {url: "http://127.0.0.1:9", timeout: 1}}
channels:
  routed:
    ack: routed
    listener: {mllp: {port: 0}}
    filters: [{message_type: {allow: [ADT]}}]
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
  delivered:
    ack: {ADT^A04: delivered, otherwise: stored}
    listener: {mllp: {port: 0}}
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
  down:
    ack: delivered
    ack_deadline: 0.5
    listener: {mllp: {port: 0}}
    destinations: {odoo: {odoo: {connection: nowhere, template: patient}}}
  checked:
    ack: routed
    listener: {mllp: {port: 0}}
    transformers: [{validate: {level: tables}}]
  parts:
    ack: delivered
    listener: {mllp: {port: 0}}
    transformers: [{split: {each: NK1}}]
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
  unique:
    ack: routed
    duplicates: {other_bytes: reject}
    listener: {mllp: {port: 0}}
  enhanced:
    ack_mode: enhanced
    ack: delivered
    listener: {mllp: {port: 0}}
    destinations: {odoo: {odoo: {connection: clinic, template: patient}}}
  strict:
    ack_mode: enhanced
    duplicates: {other_bytes: reject}
    listener: {mllp: {port: 0}}
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    process = EngineProcess(tmp_path_factory.mktemp("answers"), CONFIG)
    process.start(8)
    yield process
    assert process.terminate() == 0
    assert not process.faults


def enhanced(control_id: str, accept: str, application: str, patient: str = "1001") -> bytes:
    """An ADT whose MSH-15 and MSH-16 say which acknowledgements are wanted."""
    head, _, rest = adt(control_id, patient).partition(b"\r")
    return head + b"|||" + accept.encode() + b"|" + application.encode() + b"\r" + rest


def silent(client: Client, seconds: float = 0.4) -> bool:
    client.socket.settimeout(seconds)
    try:
        return client.answer() is None
    except TimeoutError:
        return True


def test_routed_says_whether_the_steps_went_through(engine):
    assert verdict(engine.send(adt("R1"), "routed")) == ("AA", "R1", "", "", "")
    refused = verdict(engine.send(adt("R2", patient=""), "routed"))
    assert refused == ("AE", "R2", "PID^1^3^1", "207", "patient.no_identifier")
    assert verdict(engine.send(adt("R3").replace(b"ADT^A04", b"ORU^R01"), "routed"))[0] == "AA"  # filtered


def test_a_failed_check_is_answered_with_a_place_for_each_finding(engine):
    raw = adt("V1").replace(b"|F\r", b"|Q\r")
    errors = [
        (one[2], one[3].split("^")[0], one[5].split("^")[0])
        for one in fields(engine.send(raw, "checked"), b"ERR")
    ]
    assert errors == [("PV1^1", "100", "validate.failed"), ("PID^1^8^1", "103", "validate.failed")]
    raw = raw.replace(b"|V1|P|2.5.1", b"|V2|P|2.4")
    ((_, places),) = fields(engine.send(raw, "checked"), b"ERR")
    assert [one.split("&")[0] for one in places.split("~")] == ["PV1^1^^100", "PID^1^8^103"]
    assert verdict(engine.send(adt("V3", more="PV1|1|I\r"), "checked"))[0] == "AA"


def test_delivered_says_what_odoo_said(engine):
    assert verdict(engine.send(adt("D1"), "delivered")) == ("AA", "D1", "", "", "")
    message = next(one for one in engine.stored() if one.control_id == "D1")
    rows = engine.rows("SELECT state, record FROM delivery WHERE message_id = ?", message.id)
    assert [(state, record.split(",")[0]) for state, record in rows] == [("SENT", "res.partner")]
    refused = verdict(
        engine.send(adt("D2", patient="2002", name="").replace(b"|||19800101", b"|||"), "delivered")
    )
    assert refused[0] == "AE" and refused[4].startswith("odoo.")


def test_a_type_may_have_its_own_level(engine):
    assert (
        verdict(engine.send(adt("D3", patient="", event="A08"), "delivered"))[0] == "AA"
    )  # stored is enough
    until(lambda: [one for one in engine.stored() if one.control_id == "D3" and one.state == "ERROR"])


def test_what_is_not_known_at_the_deadline_is_not_called_good(engine):
    began = time.monotonic()
    answer = verdict(engine.send(adt("L1"), "down"))
    assert answer[0] == "AE" and answer[3:] == ("207", "ack.deadline")
    assert time.monotonic() - began < 5
    again = verdict(engine.send(adt("L1"), "down"))
    assert again[0] == "AE"
    assert len([one for one in engine.stored() if one.control_id == "L1"]) == 1


def test_a_repeated_message_gets_the_answer_that_is_true_by_then(engine):
    first = verdict(engine.send(adt("R4"), "routed"))
    assert verdict(engine.send(adt("R4"), "routed")) == first
    assert len([one for one in engine.stored() if one.control_id == "R4"]) == 1


def test_what_a_message_was_split_into_is_answered_for(engine):
    """It is FILTERED itself; what Odoo says to its parts is the answer."""
    more = "NK1|1|Doe^Jo\rNK1|2|Doe^Al\r"
    assert verdict(engine.send(adt("P1", patient="3001", more=more), "parts")) == ("AA", "P1", "", "", "")
    rows = engine.rows(
        "SELECT d.state FROM delivery AS d JOIN message AS m ON m.id = d.message_id WHERE m.control_id LIKE 'P1-%'"
    )
    assert rows == [("SENT",), ("SENT",)]
    bad = adt("P2", patient="3002", name="", more=more).replace(b"|||19800101", b"|||")
    assert verdict(engine.send(bad, "parts"))[:2] == ("AE", "P2")
    assert verdict(engine.send(bad, "parts"))[:2] == ("AE", "P2")  # again
    assert verdict(engine.send(adt("P3", patient="", more=more), "parts"))[4] == "patient.no_identifier"


def test_a_refused_message_is_refused_with_the_same_answer_again(engine):
    assert verdict(engine.send(adt("U1", patient="1"), "unique"))[0] == "AA"
    refused = engine.send(adt("U1", patient="2"), "unique")
    assert verdict(refused)[0] == "AR" and verdict(refused)[3:] == ("205", "duplicate.other_bytes")
    assert engine.send(adt("U1", patient="2"), "unique") == refused


def test_enhanced_accepts_now_and_answers_later(engine):
    with engine.connect("enhanced") as client:
        assert verdict(client.send(enhanced("E1", "AL", "AL")))[:2] == ("CA", "E1")
        assert verdict(client.answer())[:2] == ("AA", "E1")
        assert verdict(client.send(enhanced("E1", "AL", "AL")))[:2] == ("CA", "E1")  # a duplicate
        assert verdict(client.answer())[:2] == ("AA", "E1")


@pytest.mark.parametrize(
    ("accept", "application", "patient", "expected"),
    [
        ("AL", "NE", "1", ["CA"]),
        ("NE", "AL", "2", ["AA"]),
        ("ER", "ER", "3", []),
        ("SU", "SU", "4", ["CA", "AA"]),
        ("NE", "ER", "", ["AE"]),
        ("NE", "SU", "", []),
        ("", "AL", "5", ["AA"]),
        ("AL", "", "6", ["CA"]),
    ],
)
def test_enhanced_obeys_the_conditions(engine, accept, application, patient, expected):
    control_id = f"C{accept}{application}"
    with engine.connect("enhanced") as client:
        raw = enhanced(control_id, accept, application, patient)
        client.write(b"\x0b" + raw + b"\x1c\r")
        got = [verdict(client.answer())[0] for _ in expected]
        assert got == expected
        assert silent(client)


def test_without_conditions_it_is_original_mode(engine):
    assert verdict(engine.send(adt("E9", patient="9"), "enhanced"))[0] == "AA"


def test_enhanced_refuses_what_it_cannot_read(engine):
    raw = enhanced("E5", "AL", "AL").replace(b"ADT^A04", b"")
    assert verdict(engine.send(raw, "enhanced"))[:2] == ("CR", "E5")


def test_enhanced_accepts_again_what_failed_later(engine):
    """A repetition is accepted as the first was, and gets the application ACK that it asks for."""
    raw = enhanced("E6", "AL", "AL", patient="")
    for _ in range(2):
        with engine.connect("enhanced") as client:
            assert verdict(client.send(raw))[:2] == ("CA", "E6")
            assert verdict(client.answer())[:2] == ("AE", "E6")
    raw = enhanced("E7", "NE", "ER", patient="")
    for _ in range(2):
        assert verdict(engine.send(raw, "enhanced"))[:2] == ("AE", "E7")


def test_enhanced_refuses_once(engine):
    """Whom the accept ACK has told no awaits no application ACK; who asked for that alone gets it, at once."""
    for control_id, accept, application, expected in (
        ("F1", "AL", "AL", "CR"),
        ("F2", "ER", "ER", "CR"),
        ("F3", "NE", "AL", "AE"),
        ("F4", "NE", "ER", "AE"),
    ):
        raw = enhanced(control_id, accept, application).replace(b"ADT^A04", b"")
        for _ in range(2):
            with engine.connect("enhanced") as client:
                assert verdict(client.send(raw))[:2] == (expected, control_id)
                assert silent(client)


def test_enhanced_refuses_another_message_under_a_used_id(engine):
    with engine.connect("strict") as client:
        assert verdict(client.send(enhanced("E12", "AL", "NE", "1")))[0] == "CA"
        for _ in range(2):
            refused = verdict(client.send(enhanced("E12", "AL", "NE", "2")))
            assert refused[0] == "CR" and refused[3:] == ("205", "duplicate.other_bytes")
