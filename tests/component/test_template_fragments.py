"""`use:` in a template file: what it gives, where its faults are told, and that nothing of it is called unused."""

import pytest

from channels.build import Builder
from engine.cli.lint import linted
from engine.model import Meta
from engine.spec.channel import load

CONFIG = """\
connections: {clinic: {odoo: {url: "sandbox:"}}}
channels:
  adt:
    listener: {mllp: {port: 2575}}
    destinations:
      odoo: {odoo: {connection: clinic, template: visit.yaml}}
fragments:
  patient:
    - upsert: res.partner
      key: "patient/{{ msg['PID-3.1'] }}"
      values: {name: "{{ msg['PID-5.1'] }}"}
  both: [{use: patient}, {use: [ward]}]
  ward:
    upsert: res.partner
    key: "ward/{{ msg['PV1-3.1'] }}"
    values: {name: "Ward {{ msg['PV1-3.1'] }}", is_company: true}
"""
TEMPLATE = """\
- use: both
- upsert: calendar.event
  key: "visit/{{ msg['PV1-19'] }}"
  values: {name: Visit, start: "{{ msg['PV1-44'] | odoo_datetime }}", stop: "{{ msg['PV1-45'] | odoo_datetime }}"}
"""
RAW = b"MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.5\rPID|||7^^^H||Doe\rPV1|||ICU||||||||||||||||9\r"


@pytest.fixture
def written(tmp_path):
    def write(template=TEMPLATE, config=CONFIG):
        (tmp_path / "visit.yaml").write_text(template)
        (tmp_path / "channels.yaml").write_text(config)
        return load(tmp_path / "channels.yaml", {})

    return write


def told(configuration):
    return [
        (one.code, one.mark.file.rpartition("/")[2], one.mark.line, one.mark.column)
        for one in linted(configuration)
    ]


@pytest.mark.parametrize("template", [TEMPLATE, "let: {a: b}\noperations:\n  - use: both\n"])
def test_its_operations_take_their_place(written, template):
    configuration = written(template)
    pipeline = Builder(configuration).pipeline(configuration.channels["adt"])
    ((_, payload),) = pipeline.process(RAW, Meta(1, "adt", 0, "1", "ADT^A01", "", "")).payloads
    keys = [b"patient/7", b"ward/ICU", b"visit/9"][: 3 if template == TEMPLATE else 2]
    assert [payload.find(key) for key in keys] == sorted(payload.find(key) for key in keys)
    assert all(key in payload for key in keys)


def test_faults_are_told_where_they_are_written(written):
    assert told(written()) == []
    assert ("odoo.no_field", "channels.yaml", 11, 16) in told(
        written(
            config=CONFIG.replace(
                "values: {name: \"{{ msg['PID-5.1'] }}", "values: {nome: \"{{ msg['PID-5.1'] }}"
            )
        )
    )
    missing = told(written(TEMPLATE.replace("both", "bothh")))
    assert missing == [("fragment.unknown", "visit.yaml", 1, 8)]  # `both` is meant: it is not called unused


@pytest.mark.parametrize(
    ("both", "code"),
    [
        ("[{use: both}]", "fragment.cycle"),
        ("some text", "fragment.kind"),
        ("[{use: none}]", "fragment.unknown"),
    ],
)
def test_what_cannot_be_used(written, both, code):
    assert code in [
        one[0] for one in told(written(config=CONFIG.replace("[{use: patient}, {use: [ward]}]", both)))
    ]


def test_what_neither_channels_nor_templates_use(written):
    assert told(written(TEMPLATE.replace("both", "patient"))) == [
        ("fragment.unused", "channels.yaml", 12, 3),
        ("fragment.unused", "channels.yaml", 13, 3),
    ]
