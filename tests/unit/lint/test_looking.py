"""What lint does not compile it refuses all the same, and a component that tries its text while it is built can."""

import pytest

from channels.lint.placing import Looker
from engine.errors import ConfigError
from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression, compile_text

MESSAGE = Message(b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5.1\rPID|||7\r")


def both(compiled, source):
    """What a compiled and a looked-at program say: their error, or nothing."""
    said = []
    for make in ({}, {"make_environment": Looker}):
        try:
            compiled(source, BuildContext(cache=dict(make)))
            said.append(None)
        except ConfigError as error:
            said.append((error.code, error.what, error.todo))
    return said


@pytest.mark.parametrize(
    "source",
    [
        "msg['PID-3.1'] | upper", "'a' if msg['PID-3'] is absent", "msg['PID-3'] | uper", "1 is od", "x is",
        "table('sex', 'M')", "msg['PID-8'] | table('sex')", "[x for x in y]", "(" * 60 + "1" + ")" * 60,
        "+".join("1" * 300), "-" * 300 + "1", "{'a': msg['PID-3'] | frist}", "1" * 5000, "msg.all('PID-3') | length",
    ],
)  # fmt: skip
def test_expressions(source):
    compiled, looked = both(compile_expression, source)
    assert compiled == looked


@pytest.mark.parametrize(
    "source",
    [
        "{{ msg['PID-3.1'] }}", "{% for x in msg.all('PID-3') %}{{ x | uper }}{% endfor %}", "{% include 'a' %}",
        "{% block a %}{% endblock %}", "{% set a = 1 %}{{ a }}", "{% if 1 %}", "{{ 'M' | table('nope') }}",
        "{% macro a() %}{% endmacro %}{{ a() }}",
    ],
)  # fmt: skip
def test_texts(source):
    compiled, looked = both(compile_text, source)
    assert compiled == looked


def test_what_was_looked_at_runs_when_it_is_asked_to():
    text = compile_text("{{ msg['PID-3.1'] }}!", BuildContext(cache={"make_environment": Looker}))
    scope = Scope(MESSAGE, Meta())
    assert (text(scope), text(scope)) == ("7!", "7!")
