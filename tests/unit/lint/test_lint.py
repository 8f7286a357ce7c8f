"""What lint knows to be right: variables that steps set, and findings that are allowed."""

from __future__ import annotations

import pytest

from channels.lint import check
from engine.spec.channel import load
from engine.spec.template import shipped_folder

HEAD = "channels:\n  a:\n    listener: {mllp: {port: 2575}}\n    transformers:\n"


def codes(tmp_path, text):
    file = tmp_path / "channels.yaml"
    file.write_text(text, "utf-8")
    return [one.code for one in check(load(file, {}))]


@pytest.mark.parametrize(
    "step",
    ["set: {vars: {x: 1}}", "jinja: {text: a, var: x}", "python: {function: 'json:dumps', args: {obj: 1}}"],
)
def test_a_variable_is_known_after_the_step_that_sets_it(tmp_path, step):
    use = '      - set: {fields: {PV1-3: "{{ x }}"}}\n'
    assert codes(tmp_path, f"{HEAD}      - {step}\n{use}") == []
    assert codes(tmp_path, f"{HEAD}{use}      - {step}\n") == ["variable.unset"]


def test_validate_sets_problems(tmp_path):
    use = '      - set: {fields: {PV1-3: "{{ problems | length }}"}}\n'
    assert codes(tmp_path, f"{HEAD}      - validate: {{on_problem: warn}}\n{use}") == []


def test_a_judgement_can_be_allowed_and_a_fault_cannot(tmp_path):
    wrong = "      - jinja: {text: \"{{ msg['PV1-60'] | uper }}\", var: y}"
    assert codes(tmp_path, f"{HEAD}{wrong}\n") == ["hl7.field", "expression.filter"]
    allow = "lint: allow hl7.field, expression.filter"
    assert codes(tmp_path, f"{HEAD}{wrong} # {allow}\n") == ["expression.filter"]
    assert codes(tmp_path, f"{HEAD}      # {allow}\n{wrong}\n") == ["expression.filter"]
    assert codes(tmp_path, f"{HEAD}{wrong} # lint: allow odoo.type\n") == ["hl7.field", "expression.filter"]


def test_a_version_and_a_profile_that_are_none_are_told_at_their_place(tmp_path):
    steps = "      - validate: {version: '9.9'}\n      - validate: {profile: a.xml}\n      - validate: {profile: b}\n"
    (tmp_path / "a.xml").write_text("<HL7v2xConformanceProfile/>", "utf-8")
    file = tmp_path / "channels.yaml"
    file.write_text(HEAD + steps, "utf-8")
    found = [(one.mark.line, one.mark.column, one.code) for one in check(load(file, {}))]
    assert found == [(5, 29, "validate.version"), (6, 29, "validate.profile"), (7, 29, "validate.profile")]


def test_a_copy_of_a_shipped_template_that_is_not_used_is_told(tmp_path):
    text = (
        'connections: {c: {odoo: {url: "sandbox:", database: c, api_key: "${KEY:-a}"}}}\nchannels:\n'
        "  a: {listener: {mllp: {port: 2575}}, destinations: {o: {odoo: {connection: c, template: %s}}}}\n"
    )
    assert "template.beside" not in codes(tmp_path, text % "patient")
    (tmp_path / "patient.yaml").write_text((shipped_folder() / "patient.yaml").read_text("utf-8"), "utf-8")
    assert "template.beside" in codes(tmp_path, text % "patient")
    assert "template.beside" not in codes(tmp_path, text % "patient.yaml")


@pytest.mark.parametrize(
    ("line", "todo"),
    [
        ("\tmllp: {port: 2575}", "Indent with spaces"),
        ("    a: {{ msg['PID-3'] }}", "Put quotes around"),
        ("    a: @home", "Put quotes around"),
        ("    filters\n    ack: stored", "Write `name: value`"),
        ("  b:\n    filters\n    ack: stored", "lacks its colon"),
        ("    filters: [{condition: \"msg['PV1-2'] = 'P'\"}]", "Write `==`"),
        ("    filters: [{condition: \"msg['PV1-2'] == 'P' && vars\"}]", "Write `and`"),
        ("    filters: [{condition: \"msg['PV1-2'] == 'P' || vars\"}]", "Write `or`"),
        ("    filters: [{condition: \"!msg['PV1-2']\"}]", "Write `not`"),
        ("    filters: [{condition: \"msg['PV1-2'] != null\"}]", "Write `is absent`"),
        ("    filters: [{message_type: {allow: [ADT_A04]}}]", "Did you mean 'ADT^A04'?"),
        ("    timezone: 'Nowhere/None'", "Time zone of times without an offset"),
    ],
)
def test_a_mistake_of_habit_is_told_with_what_to_write(tmp_path, line, todo):
    file = tmp_path / "channels.yaml"
    file.write_text(f"channels:\n  a:\n    listener: {{mllp: {{port: 2575}}}}\n{line}\n", "utf-8")
    assert [one.hint for one in check(load(file, {})) if todo in one.hint]
