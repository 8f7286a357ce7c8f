"""`docs --channel`: the interface specification says what the channel declares, and shows no secret."""

from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from channels import origins
from channels.blocks import Code, Heading, Rows, Text, html, markdown
from engine.cli import cli
from engine.hl7.format import Hl7v2
from engine.model import Meta
from transforms.canonical.from_hl7 import interpreter, types

CHANNEL = """
connections: {clinic: {odoo: {url: "sandbox:", api_key: !secret {env: KEY}}}}
tables:
  sex: {values: {F: female, M: male}, otherwise: absent}
  unused: {values: {A: b}}
channels:
  intake:
    description: Patients of the front desk
    ack: {ADT^A08: routed, otherwise: stored}
    retention: {content: 30d}
    listener: {http: {port: 8080, token: !secret {env: KEY}}}
    filters:
      - message_type: {allow: [ADT^A08, ADT^A04], deny: [ADT^A60]}
      - condition: "msg['PID-8'] != 'X' | default('a|b')"
    transformers:
      - set: {vars: {mrn: "{{ msg['PID-3[5=MR].1'] }}", hidden: !secret {env: KEY}}}
    destinations:
      odoo:
        on_error: skip
        odoo:
          connection: clinic
          operations:
            - upsert: res.partner
              key: "p/{{ mrn }}"
              when: "msg['PID-5.1'] is present"
              values: {name: "{{ msg['PID-5.1'] }}", function: "{{ msg['PID-8'] | table('sex') }}"}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv("KEY", "hunter2-hunter2-hunter2")
    file = tmp_path / "channels.yaml"
    file.write_text(CHANNEL)
    return file


def docs(*words):
    return CliRunner().invoke(cli, ["docs", *map(str, words)])


def test_it_says_what_the_channel_declares(config):
    made = docs("--channel", "intake", "-c", config)
    assert made.exit_code == 0, made.output
    for line in (
        "# Interface intake",
        "| `ADT^A08` | Update patient information | taken |",
        "| `ADT^A60` | Update allergy information | not taken |",
        "| ack ADT^A08 | `routed` | Filters and transformers went through; AE when a step fails. |",
        "| `name` | `{{ msg['PID-5.1'] }}` | PID-5.1 Patient Name / Family Name |  |",
        "| `function` | `{{ msg['PID-8'] \\| table('sex') }}` | PID-8 Administrative Sex, table 0001 | sex |",
        "| on_error | `skip` | Nothing waits: later messages overtake. |",
        "A code that is not in it is handled by `otherwise: absent`.",
        "| `F` | female |",
    ):
        assert line in made.output, line
    assert "retention.content | `2592000 s`" in made.output and "PID-3[5=MR].1" in made.output
    assert "Table unused" not in made.output


CANONICAL = """
connections: {clinic: {odoo: {url: "sandbox:"}}}
channels:
  hl7:
    mrn: {type: PI}
    listener: {mllp: {port: 0}}
    filters: [{message_type: {allow: [SIU^S12]}}]
    transformers: [{set: {vars: {who: "{{ event.patient.mrn }}"}}}]
    destinations:
      odoo: {odoo: {connection: clinic, template: t.yaml}}
  fhir:
    format: fhir
    listener: {http: {port: 0}}
    filters: [{message_type: {allow: [Patient]}}, {condition: "msg['active'] == true"}]
    transformers: [{redact: {paths: [telecom]}}]
    destinations:
      odoo: {odoo: {connection: clinic, template: t.yaml}}
"""
TEMPLATE = """
let: {p: "{{ event.patient }}", title: "{{ p.name.family }} {{ p.birth_date }}"}
operations:
  - upsert: res.partner
    for: doctor in event.appointment.practitioners
    key: "d/{{ doctor.key }}"
    values: {name: "{{ doctor.name.family }}"}
  - upsert: res.partner
    key: "p/{{ who | default(p.mrn) }}"
    values: {name: "{{ title }}", city: "{{ p.address.city }}"}
"""


def test_canonical_values_have_the_places_that_they_come_from(tmp_path):
    (tmp_path / "channels.yaml").write_text(CANONICAL)
    (tmp_path / "t.yaml").write_text(TEMPLATE)
    made = {
        name: docs("--channel", name, "-c", tmp_path / "channels.yaml").output for name in ("hl7", "fhir")
    }
    for line in (
        "| key | `d/{{ doctor.key }}` | AIP-3.1 Personnel Resource ID / ID Number; AIP-3.9 ",
        "| `name` | `{{ doctor.name.family }}` | AIP-3.2 Personnel Resource ID / Family Name |  |",
        "| `name` | `{{ title }}` | PID-7 Date Time Of Birth; PID-5.1 Patient Name / Family Name |  |",
        "| `city` | `{{ p.address.city }}` | PID-11.3 Patient Address / City |  |",
        "| key | `p/{{ who \\| default(p.mrn) }}` | PID-3.1 Patient Identifier List / ID Number |  |",
    ):
        assert line in made["hl7"], line
    for line in (
        "| field | comes from | FHIR | code table |",
        "| `name` | `{{ title }}` | birthDate; name.family |  |",
        "| `city` | `{{ p.address.city }}` | address.city |  |",
        "| `{paths: [telecom]}` | telecom |",
        "| `msg['active'] == true` | active |",
    ):
        assert line in made["fhir"], line


def test_it_says_which_resources_a_message_becomes(tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text("""
connections: {ehr: {fhir: {base: "http://127.0.0.1:9/fhir"}}}
channels:
  adt:
    listener: {mllp: {port: 0}}
    filters: [message_type: {allow: [ADT^A01, DFT^P03, SIU^S23]}]
    destinations:
      ehr: {fhir: {connection: ehr}}
      few: {fhir: {connection: ehr, resources: [Patient]}}
  all:
    listener: {mllp: {port: 0}}
    destinations: {ehr: {fhir: {connection: ehr}}}
""")
    told = docs("--channel", "adt", "-c", file).output
    assert (
        "| `ADT^A01` | Patient, Encounter |" in told
        and "| `DFT^P03` | Patient, Encounter, ChargeItem |" in told
    )
    assert "| `SIU^S23` | nothing |" in told and "| `ADT^A01` | Patient |" in told
    assert (
        "| `vaccination.*` | Patient, Encounter, Immunization |"
        in docs("--channel", "all", "-c", file).output
    )


def test_every_made_message_gives_an_event_of_its_type():
    for kind in origins._BODIES:
        for raw in origins._hl7(kind[:3]):
            view = Hl7v2().parse(raw)
            events = interpreter({})(view, Meta(type=kind))
            assert events and {event.type for event in events} <= types(view["MSH-9.1"], view["MSH-9.2"])


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_no_secret_is_shown(config, form):
    made = docs("--channel", "intake", "-c", config, "--format", form)
    assert made.exit_code == 0 and "***" in made.output and "hunter2" not in made.output


@pytest.mark.parametrize("channel", ["adt", "siu"])
def test_shipped_channels_have_one_in_both_forms(tmp_path, channel):
    page = tmp_path / "page.html"
    assert docs("--channel", channel, "--format", "html", "--output", page).exit_code == 0
    opened = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Reader().feed(page.read_text("utf-8"))
    assert not opened
    text = docs("--channel", channel).output
    assert "### upsert res.partner" in text and "## Code tables" in text and "Table sex" in text
    for table in text.split("\n\n"):
        if table.startswith("|"):
            widths = {line.replace("\\|", "").count("|") for line in table.strip().split("\n")}
            assert len(widths) == 1, table


def test_check_tells_a_stale_page(config, tmp_path):
    page = tmp_path / "intake.md"
    words = ("--channel", "intake", "-c", config, "--output", page)
    assert docs(*words).exit_code == 0 and docs(*words, "--check").exit_code == 0
    page.write_text("old")
    stale = docs(*words, "--check")
    assert stale.exit_code == 1 and "stale" in stale.output and page.read_text() == "old"


def test_an_unknown_channel_is_told_with_the_nearest(config):
    made = docs("--channel", "intak", "-c", config)
    assert made.exit_code == 2 and "Did you mean 'intake'?" in made.output


def test_no_text_becomes_markup():
    blocks = [Heading(1, "<b>"), Text("<i>"), Rows(("a",), [(Code("x|<`y"),), ("<u>",)])]
    assert not {"<b>", "<i>", "<u>"} & set(html(blocks).replace(">", ">\n").split())
    assert "| `` x\\|<`y `` |" in markdown(blocks)
