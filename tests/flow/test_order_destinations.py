"""Order over several destinations of one channel: those with the same connection wait for each other, others do not."""

from __future__ import annotations

import re

import pytest
from desk import DESTINATIONS, Desk, scripted
from web import post

from engine.states import Result
from tests.component.shipped import CHANNELS

BOTH = """
channels:
  adt:
    listener: {{mllp: {{port: 1}}}}
    destinations:
      patients:
        scripted: {{name: out, connection: clinic, batch_size: 1, in_flight: 8}}
        filters: [condition: "msg['MSH-10'][0] != 's'"]
      appointments:
        scripted: {{name: siu, connection: {connection}, batch_size: 1, in_flight: 8}}
        filters: [condition: "msg['MSH-10'][0] != 'a'"]
"""


@pytest.mark.parametrize("restart", [False, True])
def test_destinations_of_one_connection_are_in_order_with_each_other(make, restart):
    """What of one patient goes to one Odoo through several destinations goes there in order."""
    desk, out = make(BOTH.format(connection="clinic"))
    other = DESTINATIONS["siu"]
    out.auto = other.auto = None
    desk.send(("a1", "A"), ("s2", "A"), ("s3", "B"), ("b4", "A"))
    if restart:
        desk.crash()
    assert (out.waiting(), other.waiting()) == ([["a1"]], [["s3"]])
    out.answer(Result.SENT)
    desk.settle()
    assert (out.waiting(), ["s2"] in other.waiting()) == ([], True)
    for _ in range(2):
        other.answer(Result.SENT)
        desk.settle()
    assert (out.waiting(), other.waiting()) == ([["b4"]], []), "to both: in the order of the file"
    if restart:
        desk.crash()
        assert (out.waiting(), other.waiting()) == ([["b4"]], [])
    out.answer(Result.SENT)
    desk.settle()
    assert other.waiting() == [["b4"]]


@pytest.mark.parametrize("named", ["reference", "identifier"])
def test_an_appointment_of_the_shipped_channel_waits_for_its_patient(tmp_path, named):
    """The channel `fhir` as it is shipped; only what stands for Odoo is told when to answer."""
    shipped = re.sub(
        r"(\w+):\n        odoo: \{connection: clinic, template: \w+\}",
        r"\1:\n        scripted: {name: \1, connection: clinic}",
        CHANNELS.read_text(),
    ).replace("file: tables/", f"file: {CHANNELS.parent}/tables/")
    with scripted():
        desk = Desk(tmp_path, shipped)
        patients, appointments = DESTINATIONS["patients"], DESTINATIONS["appointments"]
        patients.auto = None
        for sample in ("17-fhir-patient.json", "18-fhir-book.json"):
            body = (CHANNELS.parent / "samples" / sample).read_bytes()
            if named == "identifier":
                body = body.replace(b'"reference": "Patient/f-871",', b"")
            assert post(desk, body, path="/fhir/hook")[0] == 200
        assert (patients.asked(), appointments.sent) == (["Patient/f-871/_history/1"], [])
        patients.answer(Result.SENT)
        desk.settle()
        assert appointments.effects == ["Appointment/a-501/_history/1"]
        desk.stop()


def test_destinations_of_several_connections_do_not_wait_for_each_other(make):
    desk, out = make(BOTH.format(connection="elsewhere"))
    other = DESTINATIONS["siu"]
    out.auto = other.auto = None
    desk.send(("a1", "A"), ("s2", "A"))
    assert (out.waiting(), other.waiting()) == ([["a1"]], [["s2"]])
