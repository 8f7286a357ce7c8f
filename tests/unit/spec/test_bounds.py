"""Expressions that once hung, filled the memory or raised what they should not; most were found by tests/fuzz."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError, StepError
from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression, compile_text
from engine.spec.template import compile_value

RAW = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\rPID|1||7\r"
SCOPE = Scope(Message(RAW), Meta())
NESTED = "{% set ns = namespace(x=1) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        "1 | round(-1000000000)",
        "1.5 | round(1000000000, 'ceil')",
        "(5).to_bytes(2000000000, 'big')",
        "(5).bit_length()",
        "['x' * 4000000] * 100000 | string",
        "([[1] * 1000] * 1000) | string",
        "(['x' * 4000000] * 100000) | map('upper') | list",
        "([range(100000) | list] * 100000) | map('sum') | list",
        "([[1] * 1000] * 1000) | sum(start=[])",
        "([[1] * 1000] * 1000) | tojson",
        "('x' * 4000000) | list",
        "('x' * 4000000).split('x')",
        "('&' * 4000000) | urlencode",
    ],
)
def test_an_expression_cannot_hang_or_fill_the_memory(source):
    with pytest.raises(StepError):
        compile_expression(source, BuildContext())(SCOPE)


@pytest.mark.parametrize("use", ["{{ ns.x | string }}", "{{ ns.x | tojson }}", "{{ ns.x | join }}"])
def test_a_structure_that_shares_its_parts_is_counted_as_a_text_of_it_would_be(use):
    with pytest.raises(StepError):
        compile_text(NESTED + use, BuildContext())(SCOPE)


def test_an_undefined_value_in_a_text_is_an_error_of_the_step():
    for source in ("{{ nobody }}", "{% for i in [1] %}{{ nobody }}{% endfor %}"):
        with pytest.raises(StepError, match="nobody"):
            compile_text(source, BuildContext())(SCOPE)


@pytest.mark.parametrize("source", ["(1)['']", "['a'] if (1)['']", "(([] | max) and 1)", "1 / 0"])
def test_what_is_wrong_in_constants_is_wrong_when_it_runs(source):
    run = compile_expression(source, BuildContext())
    with pytest.raises(StepError):
        run(SCOPE)


@pytest.mark.parametrize("source", ["(" * 300 + "1" + ")" * 300, "9" * 5000, "[" * 150 + "]" * 150])
def test_what_cannot_be_compiled_is_an_error_of_the_configuration(source):
    with pytest.raises(ConfigError):
        compile_expression(source, BuildContext())


def test_what_is_used_every_day_still_works():
    def value(source):
        return compile_expression(source, BuildContext())(SCOPE)

    assert value("2.567 | round(1)") == 2.6
    assert value("[1, 2] | sum") == 3 and value("'ab' | list") == ["a", "b"]
    assert value("[1, 2] | map('string') | join('-')") == "1-2"
    assert value("'a,b'.split(',')") == ["a", "b"]
    assert value("{'b': 1, 'a': 2} | dictsort") == [("a", 2), ("b", 1)]
    assert value("[3, 1] | sort | first") == 1
    assert compile_value({"a": ["{{ [1, [2]] }}"]}, BuildContext())(SCOPE) == {"a": [[1, [2]]]}
