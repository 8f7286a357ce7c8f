"""Macros and functions that all expressions share: called, bounded, told at their own line."""

from __future__ import annotations

import pytest

from channels.build import Builder
from engine.errors import StepError
from engine.hl7.er7 import Message
from engine.model import ABSENT, CLEAR, Meta, Scope

RAW = b'MSH|^~\\&|A|B|||20260101||ADT^A01|1|P|2.5.1\rPID|1||77^^^H^MR||DOE^JANE||""|F\rPV1|1|I|ICU\r'
MACROS = """{# names #}
{% macro full(family, given) -%}
  {{ upper(family) }}{{ ', ' if given is present }}{{ given }}
{%- endmacro %}
{% macro upper(x) %}{{ x | upper }}{% endmacro %}
{% macro mrn() %}{{ msg['PID-3.1'] }}{% endmacro %}
{% macro born() %}{{ msg['PID-7'] }}{% endmacro %}
{% macro died() %}{{ msg['PID-30'] }}{% endmacro %}
{% macro sex() %}{{ msg['PID-8'] | table('sex') }}{% endmacro %}
{% macro endless(n) %}{{ endless(n + 1) }}{% endmacro %}
{% macro loops() %}{% for i in range(9999) %}{% for j in range(9999) %}{{ j }}{% endfor %}{% endfor %}{% endmacro %}
{% macro broken() %}

{{ msg['PID-3.1'] / 0 }}
{% endmacro %}
{% macro wrong_event() %}{{ event.nothing.there }}{% endmacro %}
"""
FUNCTIONS = """
from engine.model import CLEAR
def building(code, prefix="B"):
    return {"ICU": f"{prefix}1"}.get(code)
def fails(code):
    raise ValueError(code)
def long(code):
    return code * 10_000_000
def clear(code):
    return CLEAR
def _private(code):
    return code
"""
HEAD = "channels:\n  a:\n    listener: {mllp: {port: 2575}}\n"
START = "macros: [m.j2]\nfunctions: [wards]\ntables: {sex: {values: {F: female}}}\n"


@pytest.fixture
def value(written):
    def evaluate(expression):
        files = {
            "channels.yaml": START
            + HEAD
            + f'    transformers: [set: {{vars: {{x: "{{{{ {expression} }}}}"}}}}]\n'
        }
        found = written({**files, "m.j2": MACROS, "wards.py": FUNCTIONS})
        assert found.problems == []
        scope = Scope(Message(RAW), Meta())
        for step in Builder(found).pipeline(found.channels["a"]).transformers:
            step.run(scope)
        return scope.vars["x"]

    return evaluate


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("full(msg['PID-5.1'], msg['PID-5.2'])", "DOE, JANE"),
        ("full('x', ABSENT)", "X"),
        ("mrn() ~ '/' ~ sex()", "77/female"),
        ("born()", CLEAR),
        ("died()", ABSENT),
        ("msg['PV1-3.1'] | building", "B1"),
        ("building('ICU', prefix='X')", "X1"),
        ("building('none')", ABSENT),
        ("msg['PID-30'] | building", ABSENT),
        ("msg['PID-7'] | fails", CLEAR),
        ("clear(1)", CLEAR),
    ],
)
def test_they_give(value, expression, result):
    found = value(expression)
    assert found == result and (result != "" or found is result)


@pytest.mark.parametrize(
    ("expression", "code", "where"),
    [
        ("endless(1)", "expression", "m.j2:10:1"),
        ("loops()", "expression.s", "m.j2:11:1"),
        ("broken()", "expression.failed", "m.j2:14:1"),
        ("fails('secret')", "python.failed", ""),
        ("'secret' | long", "expression.size", ""),
    ],
)
def test_faults_are_told_at_their_line_and_without_data(value, tmp_path, expression, code, where):
    with pytest.raises(StepError) as caught:
        value(expression)
    assert caught.value.code.startswith(code) and "secret" not in str(caught.value)
    if where:
        assert caught.value.where == f"{tmp_path}/{where}"


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        ({"m.j2": "{% macro a( %}"}, ["m.j2:1:1 macro.syntax"]),
        ({"m.j2": "\nhello"}, ["m.j2:1:1 macro.syntax"]),
        ({"m.j2": "\n{% set a = 1 %}"}, ["m.j2:2:1 macro.syntax"]),
        ({"m.j2": "{% macro a() %}{% include 'x' %}{% endmacro %}"}, ["m.j2:1:1 expression.refused"]),
        ({"m.j2": "{% macro a() %}\n\n{{ 1 | uper }}{% endmacro %}"}, ["m.j2:3:1 expression.syntax"]),
        ({"m.j2": "{% macro a() %}{{ 1 | table('sexx') }}{% endmacro %}"}, ["m.j2:1:1 table.unknown"]),
        ({"m.j2": "{% macro msg() %}{% endmacro %}"}, ["m.j2:1:1 library.name"]),
        ({"m.j2": "{% macro a() %}{% endmacro %}\n{% macro a() %}{% endmacro %}"}, ["m.j2:2:1 library.name"]),
        ({"m.j2": "{% macro building() %}{% endmacro %}"}, ["channels.yaml:2:13 library.name"]),
        ({"m.j2": "", "wards.py": "def phone(x): ...\n"}, ["channels.yaml:2:13 library.name"]),
        ({"m.j2": "", "wards.py": "x = 1\n"}, ["channels.yaml:2:13 function.none"]),
        ({"m.j2": "", "wards.py": "def ("}, ["channels.yaml:2:13 python.import"]),
        ({"m.j2": "", "wards.py": "import no_such_module"}, ["channels.yaml:2:13 python.module"]),
        ({}, ["channels.yaml:1:10 macro.file"]),
    ],
)
def test_what_is_wrong_is_told_at_its_place(written, tmp_path, files, problems):
    found = written({"channels.yaml": START + HEAD, "wards.py": FUNCTIONS, **files})
    assert [f"{one.mark} {one.code}".removeprefix(f"{tmp_path}/") for one in found.problems] == problems


def test_they_work_in_templates_and_conditions_and_take_part_in_the_version(written):
    steps = (
        "    filters: [condition: \"mrn() == '77'\"]\n    transformers: [jinja: \"{{ full('a', 'b') }}\"]\n"
    )
    files = {"channels.yaml": START + HEAD + steps, "m.j2": MACROS, "wards.py": FUNCTIONS}
    found = written(files)
    pipeline = Builder(found).pipeline(found.channels["a"])
    scope = Scope(Message(RAW), Meta())
    assert pipeline.filters[0].run(scope) is None
    pipeline.transformers[0].run(scope)
    assert scope.text == "A, b"
    version = Builder(found).version
    assert Builder(written({**files, "m.j2": MACROS + " "})).version != version
    assert Builder(written({**files, "wards.py": FUNCTIONS + "#"})).version != version
