"""Expressions: the sandbox holds, absence goes on, errors never quote the message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, StepError
from engine.hl7.er7 import Message
from engine.model import ABSENT, CLEAR, Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.expressions import analyse, compile_expression, compile_text, undeclared
from engine.spec.tables import load_tables

SECRET = "ZEBRAFISH"
RAW = f'MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\rPID|1||7||{SECRET}^X||1980|F|||||""\r'.encode()


def scope(**variables):
    found = Scope(Message(RAW), Meta(control_id="1", received_at=5))
    found.vars.update(variables)
    return found


def value(source, **variables):
    return compile_expression(source, BuildContext(), "here")(scope(**variables))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 1", 2),
        ("msg['PID-8'] == 'F'", True),
        ("msg['PID-8'] in ['M', 'X']", False),
        ("message.received_at", 5),
        ("vars.a", 3),
        ("a * 2", 6),
        ("msg.all('PID-5.1')", [SECRET]),
        ("{{ a }}", 3),
        ("msg['PID-14'] is absent and msg['PID-13'] is clear and msg['PID-8'] is present", True),
        ("nobody | default('x')", "x"),
        ("nobody is defined", False),
        ("[1, 2] | join('-')", "1-2"),
        ("'a' ~ msg['PID-14'] ~ 1", "a1"),
    ],
)
def test_values_are_native(source, expected):
    assert value(source, a=3) == expected


def test_absent_and_clear_keep_their_identity():
    assert value("msg['PID-14']") is ABSENT
    assert value("msg['PID-13']") is CLEAR
    assert value("msg['PID-14'].upper().strip()[0].x") is ABSENT
    assert value("event.patient.name.family") is ABSENT
    assert value("'x' if false") is ABSENT
    assert value("''['__class__']") is ABSENT


HOSTILE = [
    "msg.__class__",
    "''.__class__.__mro__[1].__subclasses__()",
    "msg['__class__']['__init__']",
    "msg._lines",
    "a.append(1)",
    "vars.update({'a': 1})",
    "msg.set_encoded('PID-5', 'x')",
    "msg.copy()",
    "range(10**9)",
    "range(-10**9, 5)",
    "'x' * 10**9",
    "10**9 * 'x'",
    "[0] * 10**8",
    "9**(9**9)",
    "(10 ** 300) * (10 ** 1200)",
    "'%1000000000d' % 1",
    "'{:>1000000000}'.format(1)",
    "'x'.center(10**9)",
    "'x'.ljust(width=10**9)",
    "'x'.zfill(10**9)",
    "'x'.expandtabs(10**9)",
    "('ab' * 100000).replace('', 'y' * 1000)",
    "('ab' * 100000) | replace('', 'y' * 1000)",
    "('x' * 4000000) | mask(char='x' * 1000)",
    "('y' * 100000).join('x' * 100000)",
    "'x' | map('upper', 1, 2, 3) | list",
    "nobody.x",
    "nobody",
    "[nobody]| first | upper",
    "1 / 0",
    "(1).real.imag()",
    "msg['PID-8']()",
    "msg['not a path']",
    "a['x']['y']['z'] + 1",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_hostile_or_broken_expressions_fail_cleanly(source):
    with pytest.raises(StepError) as caught:
        found = value(source, a=[SECRET])
        assert not isinstance(found, StepError)
        raise AssertionError(f"allowed: {type(found)}")
    assert SECRET not in f"{caught.value}{caught.value!r}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% for i in range(50000) %}{{ 'x' * 1000 }}{% endfor %}",
        "{% set x %}{% for i in range(50000) %}{{ 'x' * 1000 }}{% endfor %}{% endset %}",
    ],
)
def test_runaway_templates_are_stopped(template):
    render = compile_text(template, BuildContext())
    with pytest.raises(StepError):
        render(scope())


@pytest.mark.parametrize(
    "source",
    ["1 +", "a b", "x | nofilter", "x is notest", "{{ 1 }} {{ 2 }}", "table('nope', 1)", "1) + (2 if"],
)
def test_what_cannot_be_read_is_a_configuration_error(source):
    with pytest.raises(ConfigError) as caught:
        compile_expression(source, BuildContext(), "here")
    assert caught.value.where == "here"


@pytest.mark.parametrize(
    "part", ["{% include 'a' %}", "{% import 'a' as a %}", "{% extends 'a' %}", "{% block a %}{% endblock %}"]
)
def test_other_templates_cannot_be_reached(part):
    with pytest.raises(ConfigError, match="not available"):
        compile_text(part, BuildContext())


def test_text():
    text = compile_text(
        "Dear {{ msg['PID-5.2'] }}{{ msg['PID-14'] }}{{ msg['PID-13'] }}, {{ 1 }}", BuildContext()
    )
    assert text(scope()) == "Dear X, 1"


def test_analysis():
    found = analyse("msg['PID-3.1'] ~ table('sex', foo) ~ event.x ~ (bar | table('ward')) ~ msg.all('OBX-5')")
    assert found.undeclared == {"foo", "bar"}
    assert set(found.paths) == {"PID-3.1", "OBX-5"}
    assert found.tables == {"sex", "ward"}
    assert undeclared("{% set a = 1 %}{{ a ~ b }}", text=True) == {"b"}


def test_a_variable_cannot_take_the_place_of_the_message():
    assert value("msg['PID-8']", msg="fake", message="fake") == "F"


def test_tables(tmp_path):
    (tmp_path / "wards.csv").write_text("code,name\nA,Alpha\n")
    tables = load_tables(
        {
            "sex": {"values": {"M": "male", 1: "one"}, "otherwise": "absent", "ignore_case": True},
            "ward": {"file": "wards.csv", "default": "Other"},
            "strict": {"values": {"a": "b"}},
            "keep": {"values": {"a": "b"}, "otherwise": "keep"},
        },
        tmp_path,
    )
    assert [tables["sex"].get(code) for code in ("m", 1, "x", CLEAR, ABSENT)] == [
        "male",
        "one",
        ABSENT,
        CLEAR,
        ABSENT,
    ]
    assert [tables["ward"].get(code) for code in ("A", "Z")] == ["Alpha", "Other"]
    assert tables["keep"].get(SECRET) == SECRET
    with pytest.raises(StepError) as caught:
        tables["strict"].get(SECRET)
    assert SECRET not in str(caught.value)
    for bad in ({}, {"values": {"a": True}}, {"file": "no.csv"}, {"values": {"a": "b"}, "otherwse": "keep"}):
        with pytest.raises(ConfigError) as wrong:
            load_tables({"bad": bad}, tmp_path)
        assert wrong.value.where.startswith(str(tmp_path))


@given(st.text(max_size=30))
def test_any_source_either_compiles_or_is_refused(source):
    try:
        run = compile_expression(source, BuildContext())
    except ConfigError:
        return
    try:
        run(scope())
    except StepError as error:
        assert SECRET not in str(error)


def test_an_error_of_the_canonical_adapter_keeps_its_place():
    def interpret(msg, message):
        raise StepError("no identifier", code="patient.no_identifier", where="PID-3")

    evaluate = compile_expression("event.type == 'x'", BuildContext(), "here")
    with pytest.raises(StepError) as caught:
        evaluate(Scope(Message(RAW), Meta(), interpret))
    assert (caught.value.where, caught.value.code) == ("PID-3", "patient.no_identifier")
