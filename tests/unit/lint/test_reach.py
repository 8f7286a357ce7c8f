"""What lint calls unreachable is false for every message that can come; what is open is never told."""

from __future__ import annotations

import pytest

from channels.lint import check
from channels.lint.reach import Case, possible
from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.channel import load
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression
from transforms.canonical.from_hl7 import interpreter

interpret = interpreter({})
CASES = {
    "ADT^A01": frozenset(
        {Case("ADT", "A01", "patient.registered"), Case("ADT", "A01", "encounter.admitted")}
    ),
    "SIU^S26": frozenset({Case("SIU", "S26", "appointment.noshow")}),
    "ADT^A60": frozenset({Case("ADT", "A60", None)}),
}
NEVER = [
    "event.kind == 'order'", "message.type == 'ORU^R01'", "msg['MSH-9.1'] == 'ORM'",
    "event.type in ('result.available',)",
    "event.action not in ('registered', 'admitted', 'noshow') and event", "not (message.type != 'X')",
    "msg['PID-8'] == 'M' and event.kind == 'order'", "'yes' if event.kind == 'order' else ''", "false",
]  # fmt: skip
OPEN = [
    "msg['PID-8'] == 'M'", "event.patient", "msg['MSH-9.1'] ~ 'x' == 'ADTx'", "vars.x or event.kind == 'order'",
    "message.type[:3] == 'ORU'", "message.type | lower == 'adt^a01'", "event.kind in kinds", "msg['MSH-9'] == 'x'",
]  # fmt: skip


def message(kind: str) -> Message:
    return Message(
        f"MSH|^~\\&|A|B|C|D|20260101||{kind}|1|P|2.5.1\rSCH|1|2\rPID|||7^^^H^MR||A^B|||M\rPV1||I\r".encode()
    )


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("source", NEVER)
def test_what_is_never_true_is_false_when_it_runs(kind, source):
    assert possible(source, CASES[kind]) == frozenset() or source == "false"
    scope = Scope(message(kind), Meta(type=kind), interpret)
    assert not compile_expression(source, BuildContext())(scope)


@pytest.mark.parametrize("source", OPEN)
def test_what_is_open_is_not_told(source):
    assert possible(source, CASES["ADT^A01"]) == CASES["ADT^A01"]


def codes(tmp_path, channels, **files):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    file = tmp_path / "channels.yaml"
    file.write_text('connections: {c: {odoo: {url: "sandbox:"}}}\nchannels:\n' + channels, "utf-8")
    return [one.code for one in check(load(file, {}))]


def channel(name, port, kind, more=""):
    return (
        f"  {name}:\n    listener: {{mllp: {{port: {port}}}}}\n    filters: [{{message_type: {kind}}}]\n{more}"
        f"    destinations: {{o: {{odoo: {{connection: c, template: t.yaml}}}}}}\n"
    )


TEMPLATE = """let: {gone: "{{ event.action == 'deleted' }}"}
operations:
  - {archive: res.partner, key: a, when: "event.kind == 'patient' and gone"}
"""


def test_a_template_of_several_channels_is_told_when_none_can_reach_it(tmp_path):
    one, other = channel("a", 1, "SIU"), channel("b", 2, "ADT^A01")
    assert codes(tmp_path, one + other, t=TEMPLATE) == ["channel.unreachable"]
    assert codes(tmp_path, one + channel("b", 2, "ADT^A29"), t=TEMPLATE) == []


def test_after_python_or_a_new_msh_9_nothing_is_known(tmp_path):
    step = "    transformers: [{set: {fields: {MSH-9.1: ADT}}}]\n"
    assert codes(tmp_path, channel("a", 1, "SIU", step), t=TEMPLATE) == []
    step = "    transformers: [{python: {function: 'json:dumps', args: {obj: 1}}}]\n"
    assert codes(tmp_path, channel("a", 1, "SIU", step), t=TEMPLATE) == []


def test_shipped_templates_are_made_for_many_channels(tmp_path):
    made = channel("a", 1, "SIU^S12").replace("t.yaml", "patient")
    assert codes(tmp_path, made) == []


@pytest.mark.parametrize(
    ("allow", "resources", "told"),
    [
        ("[ADT^A01]", "", []),
        ("[SIU^S23, SIU^S24]", "", ["nothing is ever written to this FHIR server"]),
        ("[ADT^A60]", "", ["nothing is ever written to this FHIR server"]),
        ("[ADT, SIU^S12]", ", resources: [Patient, Appointment, Location]", []),
        ("[ADT]", ", resources: [Patient, Immunization]", ["no Immunization is ever written"]),
        ("[VXU]", ", resources: [Immunization, Practitioner]", []),
    ],
)
def test_what_is_never_written_to_a_fhir_server(tmp_path, allow, resources, told):
    file = tmp_path / "channels.yaml"
    file.write_text(
        'connections: {ehr: {fhir: {base: "http://127.0.0.1:9/fhir"}}}\nchannels:\n  a:\n'
        f"    listener: {{mllp: {{port: 1}}}}\n    filters: [{{message_type: {{allow: {allow}}}}}]\n"
        f"    destinations: {{ehr: {{fhir: {{connection: ehr{resources}}}}}}}\n"
    )
    found = check(load(file, {}))
    assert [one.text.partition(":")[0] for one in found] == told
    assert {one.code for one in found} <= {"channel.unreachable"} and {one.severity for one in found} <= {
        "warning"
    }
    if "Immunization" in str(told):
        line = file.read_text().splitlines()[found[0].mark.line - 1]
        assert line[found[0].mark.column - 1 :].startswith("Immunization")
