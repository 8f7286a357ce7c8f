"""`explain`: places, message types, tables and error codes, as the user sees them."""

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.hl7 import events, names


def explain(*words):
    result = CliRunner().invoke(cli, ["explain", *words])
    return result.exit_code, result.output


def test_a_coded_place_shows_the_codes_of_its_table():
    code, text = explain("PID-8")
    assert code == 0
    assert text.startswith("PID-8 Administrative Sex in Patient Identification (IS, table 0001")
    assert "table 0001 Administrative Sex: A F M N O U" in text


def test_a_long_table_is_cut_and_told_how_to_see_all():
    _, text = explain("MSH-9.2")
    assert "in all: explain 0003" in text and "S26" not in text
    assert "S26" in explain("0003")[1]


def test_a_message_type_has_event_structure_and_segments():
    code, text = explain("ADT^A08", "SIU^S12^SIU_S12", "ADT_A01")
    assert code == 0
    assert "ADT^A08 Update patient information (structure ADT_A01, HL7 2.5.1)" in text
    assert "  PID Patient Identification" in text and "SCH Scheduling Activity Information" in text


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("ADT^A88", "HL7 2.5.1 has no message ADT^A88 (did you mean ADT^A"),
        ("odoo.validatoin", "Did you mean 'odoo.validation'?"),
        ("9999", "no codes are known of table 9999"),
        ("PID-99", "has no field 99"),
    ],
)
def test_what_nobody_knows_is_told(word, told):
    code, text = explain(word)
    assert code == 1 and told in text and "Traceback" not in text


def test_an_error_code_says_what_to_do():
    code, text = explain("odoo.validation")
    assert code == 0 and text.startswith("odoo.validation: ") and "what to do: " in text


def test_a_code_of_lint_is_known_too():
    code, text = explain("hl7.path", "expression.filter")
    assert code == 0 and "hl7.path: this is no path" in text and "msg['PID-8'] | uper" in text


@pytest.mark.parametrize("version", names.versions())
def test_every_version_has_codes_of_sex(version):
    assert {"F", "M"} <= set(names.table("0001", version)[1])


@pytest.mark.parametrize(
    "kind", [f"{code}^{event}" for code, known in events.EVENTS.items() for event in known]
)
def test_every_named_event_has_a_structure_with_its_header(kind):
    found = events.describe(kind)
    assert found.name and found.segments[0][0] == "MSH"
