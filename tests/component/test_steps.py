"""Filters and transformers as a channel uses them: declared, documented, example builds, bad YAML refused."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from engine.errors import ConfigError, StepError
from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.component import BuildContext, registry
from engine.spec.tables import load_tables

STEPS = ("message_type", "condition", "code_table", "set", "jinja", "python")
SECRET = "ZEBRAFISH"
RAW = f'MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\rPID|1||7||{SECRET}^X||1980|F|||||""\r'.encode()


def context(base=Path()):
    return BuildContext(
        base=base, tables=load_tables({"sex": {"values": {"F": "female"}, "otherwise": "error"}}, None)
    )


def scope(kind=""):
    return Scope(Message(RAW), Meta(type=kind))


def build(text, base=Path()):
    ((name, settings),) = yaml.safe_load(text).items()
    found = registry.get("filter", name) or registry.get("transformer", name)
    return found.settings.model_validate(settings).build(context(base))


def run(text, base=Path(), where=None):
    where = where or scope()
    return build(text, base)(where), where


@pytest.mark.parametrize("name", STEPS)
def test_declared_and_documented(name):
    found = registry.get("filter", name) or registry.get("transformer", name)
    assert found is not None
    assert len(found.summary) > 15
    for field, info in found.settings.model_fields.items():
        assert info.description, f"{name}.{field} has no description"
    build(found.example)(scope("ADT^A01"))


@pytest.mark.parametrize(
    "text",
    [
        "message_type: {}",
        "message_type: {allow: [adt]}",
        "message_type: {alow: [ADT]}",
        "condition: {}",
        'condition: ""',
        "condition: {expression: 1, x: 2}",
        "code_table: {path: PID-8}",
        "code_table: {path: PID-8, table: sex, otherwise: maybe}",
        "set: {}",
        "set: {vars: {msg: 1}}",
        "jinja: {}",
        "jinja: {text: a, file: b}",
        "jinja: {text: a, var: x, path: PID-1}",
        "jinja: {text: a, var: msg}",
        "python: {}",
        "python: no_colon",
    ],
)
def test_bad_settings_are_refused(text):
    with pytest.raises(ValidationError):
        build(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('condition: "1 +"', "read"),
        ("code_table: {path: PID-8, table: sexx}", "sex"),
        ("set: {vars: {a: '{{ 1 + }}'}}", "read"),
        ("jinja: '{% if %}'", "read"),
        ("jinja: {file: nowhere.j2}", "nowhere.j2"),
        ("python: 'nowhere_at_all:f'", "beside the channel file"),
        ("python: 'textwrap:dedant'", "dedent"),
        ("python: 'textwrap:dedent'", "text"),
        ("python: {function: 'textwrap:dedent', args: {txt: a, text: b}}", "txt"),
    ],
)
def test_what_cannot_be_built_is_a_configuration_error(text, hint, tmp_path):
    with pytest.raises(ConfigError, match=hint):
        build(text, tmp_path)


@pytest.mark.parametrize(
    ("settings", "kind", "passes"),
    [
        ("{allow: [ADT^A01]}", "ADT^A01", True),
        ("{allow: [ADT^A01]}", "ADT^A01^ADT_A01", True),
        ("{allow: [ADT^A01]}", "ADT^A02", False),
        ("{allow: [ADT]}", "ADT^A02", True),
        ("{allow: [ADT^*]}", "ADT", True),
        ("{allow: [ADT]}", "SIU^S12", False),
        ("{deny: [ADT^A60]}", "ADT^A60", False),
        ("{deny: [ADT^A60]}", "ADT^A01", True),
        ("{allow: [ADT], deny: [ADT^A60]}", "ADT^A60", False),
        ("[ADT^A01, SIU]", "SIU^S12", True),
        ("ADT", "ADT^A01", True),
        ("{allow: [ADT^A01]}", "", True),
    ],
)
def test_message_type(settings, kind, passes):
    reason, _ = run(f"message_type: {settings}", where=scope(kind))
    assert (reason is None) is passes


def test_condition():
    assert run("condition: \"msg['PID-8'] == 'F'\"")[0] is None
    assert "not met" in run("condition: \"msg['PID-14']\"")[0]
    assert run("condition: {expression: 'false', reason: closed}")[0] == "closed"
    with pytest.raises(StepError) as caught:
        run("condition: 'nobody'")
    assert caught.value.code == "expression.undefined"


def test_code_table():
    _, found = run("code_table: {path: PID-8, table: sex}")
    assert found.msg["PID-8"] == "female"
    _, found = run("code_table: {path: PID-13, table: sex}")
    assert bytes(found.msg) == RAW
    with pytest.raises(StepError) as caught:
        run("code_table: {path: PID-5.1, table: sex}")
    assert SECRET not in str(caught.value)
    assert run("code_table: {path: PID-5.1, table: sex, otherwise: keep}")[1].msg["PID-5.1"] == SECRET
    assert run("code_table: {path: PID-5.1, table: sex, otherwise: absent}")[1].msg["PID-5.1"] == ""


def test_set():
    _, found = run(
        "set: {vars: {n: '{{ 1 + 1 }}', m: '{{ n + 1 }}'}, fields: {PID-8: \"{{ m }}\", PID-7: null, "
        "PID-5.1: \"{{ msg['PID-14'] }}\"}}"
    )
    assert found.vars == {"n": 2, "m": 3}
    assert found.msg["PID-8"] == "3"
    assert bytes(found.msg).split(b"|")[-6] == b"3"
    assert b'|""|3|' in bytes(found.msg)
    assert found.msg["PID-5.1"] == SECRET
    assert run("set: {vars: {n: 1}, when: 'false'}")[1].vars == {}


def test_a_changed_message_gives_new_events():
    where = Scope(Message(RAW), Meta(), lambda msg, message: [str(msg["PID-8"])])
    assert where.event == "F"
    run("set: {fields: {PID-8: M}}", where=where)
    assert where.event == "M"


def test_jinja(tmp_path):
    (tmp_path / "letter.j2").write_text("Dear {{ msg['PID-5.2'] }}")
    assert run("jinja: {file: letter.j2}", tmp_path)[1].text == "Dear X"
    assert run("jinja: \"{{ msg['PID-8'] }}!\"")[1].text == "F!"
    assert run("jinja: {text: a, var: x}")[1].vars == {"x": "a"}
    assert run("jinja: {text: a, path: PID-8}")[1].msg["PID-8"] == "a"


def test_python(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def tidy(msg, vars, message):\n    msg['PID-8'] = 'M'\n    vars['kind'] = message.type\n"
        "def text(msg, suffix):\n    return str(msg['PID-8']) + suffix\n"
        "def bad(msg):\n    raise ValueError(msg['PID-5.1'])\n"
        "def odd():\n    return 7\n"
        "async def later(msg):\n    pass\n"
    )
    _, found = run("python: 'mine:tidy'", tmp_path, scope("ADT^A01"))
    assert (found.msg["PID-8"], found.vars) == ("M", {"kind": "ADT^A01"})
    assert run("python: {function: 'mine:text', args: {suffix: '!'}}", tmp_path)[1].text == "F!"
    with pytest.raises(StepError) as caught:
        run("python: 'mine:bad'", tmp_path)
    assert str(caught.value) == "mine:bad raised ValueError at mine.py:7"
    assert caught.value.__cause__ is None
    with pytest.raises(StepError, match="gave a int"):
        run("python: 'mine:odd'", tmp_path)
    with pytest.raises(ConfigError, match="coroutine"):
        build("python: 'mine:later'", tmp_path)
