"""Templates: three values, references, flow, errors with their place."""

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, StepError
from engine.hl7.er7 import Message
from engine.model import ABSENT, CLEAR, Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.tables import load_tables
from engine.spec.template import compile_template, compile_yaml
from engine.spec.values import finish

RAW = (
    b"MSH|^~\\&|EHR|HOSP|IST|ODOO|20260301||ADT^A01|1|P|2.5.1\r"
    b'PID|1||1001^^^HOSP^MR||O\'NEIL^MARY||19800229|F|||||""\r'
)


class Part(msgspec.Struct):
    name: str | msgspec.UnsetType | None = msgspec.UNSET
    other: str | None = None
    tags: list[str] = []
    class_: str = msgspec.field(default="", name="class")


class Happened(msgspec.Struct):
    type: str
    patient: Part | None = None


def scope(events=(), **variables):
    found = Scope(Message(RAW), Meta(), (lambda msg, message: list(events)) if events else None)
    found.vars.update(variables)
    return found


def context():
    return BuildContext(tables=load_tables({"sex": {"values": {"F": "female"}}}, None))


def render(text, where=None):
    return compile_yaml(text, "t.yaml", context())(where or scope())


def values(leaf, where=None):
    [operation] = render(f"- upsert: res.partner\n  key: k/1\n  values: {{x: {leaf}}}\n", where)
    return operation["values"]


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        ("\"{{ msg['PID-5.1'] }}\"", {"x": "O'NEIL"}),
        ("\"{{ msg['PID-5.1'] | name_case }}!\"", {"x": "O'Neil!"}),
        ("\"{{ msg['PID-14'] }}\"", {}),
        ("\"{{ msg['PID-13'] }}\"", {"x": None}),
        ("\"a {{ msg['PID-14'] }} b\"", {}),
        ("\"a {{ msg['PID-13'] }} b\"", {"x": None}),
        ("\"{{ msg['PID-14'] }}{{ msg['PID-8'] }}\"", {"x": "F"}),
        ("\"{{ msg['PID-8'] if msg['PID-8'] == 'M' }}\"", {}),
        ("\"{{ 'M' if msg['PID-8'] == 'M' else CLEAR }}\"", {"x": None}),
        ("\"{% if msg['PID-8'] == 'F' %}Ms{% endif %}\"", {"x": "Ms"}),
        ("\"{% if msg['PID-8'] == 'M' %}Mr{% endif %}\"", {}),
        ('"{{ 1 + 2 }}"', {"x": 3}),
        ('"{{ [1, true] }}"', {"x": [1, True]}),
        ("\"{{ msg['PID-8'] | table('sex') }}\"", {"x": "female"}),
        ("null", {"x": None}),
        ("true", {"x": True}),
        ("plain", {"x": "plain"}),
        ("[]", {"x": []}),
        ("{key: \"p/{{ msg['PID-3.1'] }}\"}", {"x": {"key": "p/1001"}}),
        ("{key: \"p/{{ msg['PID-14'] }}\"}", {}),
        ("{key: \"p/{{ msg['PID-3.1'] }}/{{ msg['PID-14'] }}\"}", {}),
        ("{key: \"p/{{ msg['PID-13'] }}\"}", {"x": None}),
        ("[{key: \"p/{{ msg['PID-14'] }}\"}]", {}),
        ("[{key: a/1}, {key: \"p/{{ msg['PID-14'] }}\"}]", {"x": [{"key": "a/1"}]}),
        ("{find: {code: \"{{ msg['PID-8'] }}\"}}", {"x": {"find": {"code": "F"}}}),
        ("{find: {code: \"{{ msg['PID-14'] }}\", a: 1}}", {}),
        ("{find: {code: \"{{ msg['PID-13'] }}\"}}", {"x": None}),
    ],
)
def test_leaf(leaf, expected):
    assert values(leaf) == expected


def test_absence_goes_through_missing_entities():
    event = Happened("x", None)
    assert values('"{{ event.patient.name.upper() }}"', scope([event])) == {}
    assert values('"{{ event.patient.name }}"', scope([Happened("x", Part(name=None))])) == {"x": None}
    assert values('"{{ event.patient.tags[3] }}"', scope([Happened("x", Part())])) == {}
    assert values('"{{ event.patient.name }}"') == {}  # no events at all


def test_none_clears_only_where_unset_means_absent():
    assert values('"{{ event.patient.other }}"', scope([Happened("x", Part(other=None))])) == {}


def test_a_renamed_field_is_found_by_its_name():
    assert values('"{{ event.patient.class }}"', scope([Happened("x", Part(class_="IMP"))])) == {"x": "IMP"}


def test_nul_never_leaves():
    assert values('"{{ a }}"', scope(a="x\0y")) == {"x": "xy"}
    assert values('"{{ a }}"', scope(a="\0")) == {}


@pytest.mark.parametrize(
    "key", ["p/{{ msg['PID-14'] }}", "p/{{ msg['PID-13'] }}", "{{ a }}", "{{ '' }}", "p/"]
)
def test_an_empty_key_is_an_error_with_its_place(key):
    text = f'- upsert: res.partner\n  key: "{key}"\n  values: {{a: 1}}\n'
    with pytest.raises(StepError) as caught:
        render(text, scope(a="p/ "))
    assert caught.value.code == "template.key"
    assert caught.value.where.startswith("t.yaml:1:")


def test_a_failing_leaf_is_named_by_line_and_column():
    text = '- upsert: res.partner\n  key: k/1\n  values:\n    a: 1\n    b: [2, "{{ nobody }}"]\n    c: 3\n'
    with pytest.raises(StepError) as caught:
        render(text)
    assert caught.value.where == "t.yaml:5:12"
    assert "nobody" in caught.value.what


def test_flow():
    text = """
let: {all: "{{ [1, 2, 3] }}"}
operations:
  - write: res.partner
    for: n in all
    let: {twice: "{{ n * 2 }}"}
    when: twice > 2
    key: "k/{{ n }}"
    values: {v: "{{ twice }}"}
"""
    assert [(op["key"], op["values"]) for op in render(text)] == [("k/2", {"v": 4}), ("k/3", {"v": 6})]


def test_for_over_nothing_and_over_one_text():
    text = "- archive: res.partner\n  for: n in {}\n  key: 'k/{{{{ n }}}}'\n"
    assert render(text.format("msg['PID-14']")) == []
    assert [op["key"] for op in render(text.format("msg['PID-5.1']"))] == ["k/O'NEIL"]


def test_once_for_each_event_and_each_operation_once():
    text = "- upsert: res.partner\n  key: p/1\n  values: {a: 1}\n"
    text += "- call: res.partner\n  key: p/1\n  method: go\n  args: ['{{ event.type }}']\n"
    operations = render(text, scope([Happened("one"), Happened("two")]))
    assert [op.get("args") for op in operations] == [None, ["one"], None, ["two"]]
    same = "- upsert: res.partner\n  when: event is defined\n  key: p/1\n  values: {a: 1}\n"
    assert len(render(same, scope([Happened("one"), Happened("two")]))) == 1


def test_a_value_that_comes_back_is_written_again():
    text = "- upsert: a.b\n  for: n in [1, 2, 1]\n  key: p/1\n  values: {a: '{{ n }}'}\n"
    assert [op["values"]["a"] for op in render(text)] == [1, 2, 1]


def test_events_are_not_made_when_nobody_asks():
    asked = []
    found = Scope(Message(RAW), Meta(), lambda msg, message: asked.append(1) or [Happened("x")])
    assert len(render("- upsert: a.b\n  key: p/1\n  values: {a: 1}\n", found)) == 1
    assert asked == []


def test_a_merge_into_itself_does_nothing_and_an_empty_one_fails():
    text = '- merge: res.partner\n  key: p/1\n  retired: ["p/{{ a }}"]\n'
    assert render(text, scope(a="1")) == []
    assert render(text, scope(a="2"))[0]["retired"] == ["p/2"]
    with pytest.raises(StepError, match="retired"):
        render(text, scope(a=ABSENT))


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("- upsrt: res.partner\n  key: a\n  values: {}\n", "t.yaml:1:3", "upsert"),
        ("- upsert: res.partner\n  kye: a\n  values: {}\n", "t.yaml:2:3", "key"),
        ("- upsert: res.partner\n  values: {}\n", "t.yaml:1:3", "key"),
        ("- upsert: res.partner\n  key: a\n", "t.yaml:1:3", "values"),
        ("- upsert: '{{ x }}'\n  key: a\n  values: {}\n", "t.yaml:1:11", "model"),
        ("- upsert: a.b\n  key: a\n  values: {a: 1, a: 2}\n", "t.yaml:3:18", "twice"),
        ("- upsert: a.b\n  key: a\n  values: {a: '{{ 1 +* 2 }}'}\n", "t.yaml:3:15", "read"),
        ("- upsert: a.b\n  key: a\n  values: {a: '{{ x | digit }}'}\n", "t.yaml:3:15", "digits"),
        ("- upsert: a.b\n  key: a\n  values: {a: ''}\n", "t.yaml:3:15", "null"),
        ("- upsert: a.b\n  for: x of y\n  key: a\n  values: {}\n", "t.yaml:2:8", "for"),
        ("- upsert: a.b\n  for: msg in y\n  key: a\n  values: {}\n", "t.yaml:2:8", "msg"),
        ("- upsert: a.b\n  write: a.b\n  key: a\n  values: {}\n", "t.yaml:1:3", "verb"),
        ("- call: a.b\n  key: a\n  method: _private\n", "t.yaml:3:11", "method"),
        ("a: [", "t.yaml", "YAML"),
        ("", "t.yaml", "empty"),
        ("{}", "t.yaml:1:1", "operations"),
        ("- 7", "t.yaml:1:3", "mapping"),
        ("- upsert: a.b\n  key: a\n  values: {a: '{% include \"/etc/passwd\" %}'}\n", "t.yaml", "include"),
    ],
)
def test_a_bad_template_is_refused_with_its_place(text, where, hint):
    with pytest.raises(ConfigError) as caught:
        compile_yaml(text, "t.yaml", context())
    assert caught.value.where.startswith(where)
    assert hint in str(caught.value)


def test_sources(tmp_path):
    (tmp_path / "mine.yaml").write_text("- archive: a.b\n  key: k/1\n")
    where = BuildContext(base=tmp_path)
    assert compile_template("mine.yaml", where)(scope()) == [{"op": "archive", "model": "a.b", "key": "k/1"}]
    inline = compile_template([{"archive": "a.b", "key": "k/{{ msg['PID-3.1'] }}"}], where)
    assert inline(scope())[0]["key"] == "k/1001"
    with pytest.raises(ConfigError, match="no template"):
        compile_template("nowhere", where)
    with pytest.raises(ConfigError, match="no template"):
        compile_template("../../../etc/passwd", where)


def test_objects_and_entities_are_no_values():
    for bad in (SimpleNamespace(a=1), Part(), b"x"):
        with pytest.raises(StepError, match="cannot be sent"):
            finish(bad)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([ABSENT, CLEAR, msgspec.UNSET]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def clean(value):
    if isinstance(value, str):
        return value != "" and "\0" not in value
    if isinstance(value, dict):
        return all(map(clean, value.values()))
    if isinstance(value, list):
        return all(item is not None and clean(item) for item in value)
    return value is not msgspec.UNSET


@given(JSON)
def test_finished_values_have_no_empty_text_and_settle(value):
    done = finish(value)
    if done is not ABSENT:
        assert clean(done)
        assert finish(done) == done
