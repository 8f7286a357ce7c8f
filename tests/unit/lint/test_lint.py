"""What lint knows to be right: variables that steps set, and findings that are allowed."""

from __future__ import annotations

import pytest

from channels.lint import check
from engine.spec.channel import load

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
