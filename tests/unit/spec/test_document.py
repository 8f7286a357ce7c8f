"""YAML with positions: YAML 1.2 scalars, anchors and merges with right marks, variables, secrets, bounds."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.spec.document import MAX_DEPTH, MAX_VALUES, Document, Secret, did_you_mean, read, read_text

FILE = Path("c.yaml")


def parsed(text, **environ):
    return read_text(text, Document(FILE), environ)


def told(document):
    return [f"{one.mark.line}:{one.mark.column} {one.code}: {one.text}" for one in document.problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("NO", "NO"), ("no", "no"), ("Y", "Y"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("True", "True"),
        ("true", True), ("false", False), ("TRUE", "TRUE"),
        ("007", "007"), ("0", 0), ("-0", 0), ("7", 7), ("-7", -7), ("+7", "+7"), ("1_000", "1_000"), ("0x10", "0x10"),
        ("0o7", "0o7"), ("1.5", 1.5), ("-0.25", -0.25), (".5", ".5"), ("1.", "1."), ("1e3", "1e3"), (".inf", ".inf"),
        (".nan", ".nan"), ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"), ("ADT^A01", "ADT^A01"),
        ("~", None), ("null", None), ("Null", "Null"), ("", None), ("''", ""), ('"true"', "true"), ("'7'", "7"),
        ("!!str 7", "7"), ("!!int '7'", 7), ("!!float 7", 7.0), ("|\n  x\n  y", "x\ny\n"), (">-\n  x\n  y", "x y"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(written, value):
    document = parsed(f"a: {written}\n")
    assert document.data == {"a": value} and type(document.data["a"]) is type(value)
    assert not document.problems


def test_keys_are_text():
    assert parsed("NO: 1\n007: 2\ntrue: 3\n1.5: 4\n~: 5\n").data == {
        "NO": 1,
        "007": 2,
        "true": 3,
        "1.5": 4,
        "~": 5,
    }


def test_every_value_and_key_knows_its_place():
    document = parsed("a:\n  - x\n  - b: 1\n    c: [2, 3]\n")
    marks = {where: (mark.line, mark.column) for where, mark in document.marks.items()}
    assert marks == {
        (): (1, 1), ("a",): (2, 3), ("a", 0): (2, 5), ("a", 1): (3, 5), ("a", 1, "b"): (3, 8),
        ("a", 1, "c"): (4, 8), ("a", 1, "c", 0): (4, 9), ("a", 1, "c", 1): (4, 12),
    }  # fmt: skip
    assert str(document.mark(("a", 1, "c"), key=True)) == "c.yaml:4:5"
    assert str(document.mark(("a", 1, "c", 9, "nowhere"))) == "c.yaml:4:8"
    assert str(document.mark(("nowhere",))) == "c.yaml:1:1"


def test_an_alias_has_the_place_of_its_anchor():
    document = parsed("a: &x [1, 2]\nb: *x\n")
    assert document.data["b"] == [1, 2]
    assert str(document.mark(("b", 1))) == "c.yaml:1:11"
    assert str(document.mark(("b",), key=True)) == "c.yaml:2:1"


def test_merged_keys_have_the_places_where_they_are_written():
    document = parsed(
        "x: &x\n  p: 1\n  q: {r: 2}\ny: &y\n  p: 8\n  s: 9\nz:\n  s: 3\n  <<: [*x, *y]\n  t: 4\n"
    )
    assert document.data["z"] == {"s": 3, "t": 4, "p": 1, "q": {"r": 2}}
    places = {key: str(document.mark(("z", key), key=True)) for key in "pqst"}
    assert places == {"p": "c.yaml:2:3", "q": "c.yaml:3:3", "s": "c.yaml:8:3", "t": "c.yaml:10:3"}
    assert str(document.mark(("z", "q", "r"))) == "c.yaml:3:10"
    assert not document.problems


def test_a_merge_into_a_merge():
    document = parsed("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}\n")
    assert document.data["c"] == {"x": 3, "y": 2}
    assert str(document.mark(("c", "x"))) == "c.yaml:3:16"


@pytest.mark.parametrize(
    ("text", "value", "problem"),
    [
        ("a: ${X}", "v", ""),
        ("a: p-${X}-${X}", "p-v-v", ""),
        ("a: '${X}'", "v", ""),
        ("a: ${NOT:-d}", "d", ""),
        ("a: ${NOT:-}", "", ""),
        ("a: ${EMPTY:-d}", "d", ""),
        ("a: ${EMPTY}", "", "1:4 env.unset: the environment variable EMPTY is not set"),
        ("a: ${NOT}", "", "1:4 env.unset: the environment variable NOT is not set"),
        ("a: ${ X }", "${ X }", ""),
        ("a: $X", "$X", ""),
        ("a: ${N:-7}", 7, ""),
        ("a: '${N:-7}'", "7", ""),
        ("a: ${N:-true}", True, ""),
        ("a: ${N:-007}", "007", ""),
        ("a: ${N:-~}", "~", ""),
        ("a: ${NOT:-${X}}", "${X}", ""),
    ],
)
def test_variables(text, value, problem):
    document = parsed(text, X="v", EMPTY="")
    if text == "a: ${NOT:-${X}}":  # no nesting: the default ends at the first brace
        assert document.data == {"a": "${X}"}
    else:
        assert document.data == {"a": value}
    assert told(document) == ([problem] if problem else [])


def test_a_secret_comes_from_the_environment_or_a_file(tmp_path):
    (tmp_path / "file_key").write_text("from file\n")
    document = parsed(
        "a: !secret env_key\nb: !secret file_key\n", ENV_KEY="from env", ISTHMUS_SECRETS=str(tmp_path)
    )
    assert document.data == {"a": "from env", "b": "from file"}
    assert isinstance(document.data["a"], Secret) and "from" not in repr(document.data)
    first = tmp_path / "first"
    first.mkdir()
    (first / "file_key").write_text("first")
    environ = {"CREDENTIALS_DIRECTORY": str(first), "ISTHMUS_SECRETS": str(tmp_path)}
    assert parsed("a: !secret file_key", **environ).data == {"a": "first"}


@pytest.mark.parametrize("name", ["missing", "..", "../file_key", "/etc/hostname", "''", '"a\\0b"', "a b"])
def test_a_secret_that_is_not_there_is_told_without_looking_elsewhere(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "file_key").write_text("x")
    document = parsed(f"a: !secret {name}", ISTHMUS_SECRETS=str(tmp_path / "in"))
    assert document.data == {"a": ""} and [one.code for one in document.problems] == ["secret.missing"]


def test_a_secret_that_cannot_be_read(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    document = parsed("a: !secret key", ISTHMUS_SECRETS=str(tmp_path))
    assert told(document) == ["1:4 secret.unreadable: the file of the secret 'key' cannot be read"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("a: 1\nb: 2\na: 3", ["3:1 yaml.duplicate: the key 'a' stands twice here"]),
        ("a: {b: 1, b: 2, b: 3}", ["1:11 yaml.duplicate: the key 'b' stands twice here",
                                    "1:17 yaml.duplicate: the key 'b' stands twice here"]),
        ("a: !env X", ["1:4 yaml.tag: unknown tag !env"]),
        ("a: !!python/object/apply:os.system [x]", ["1:4 yaml.tag: unknown tag !!python/object/apply:os.system"]),
        ("a: !!python/name:os.system x", ["1:4 yaml.tag: unknown tag !!python/name:os.system"]),
        ("a: !!binary eA==", ["1:4 yaml.tag: unknown tag !!binary"]),
        ("a: !!timestamp 2026-01-01", ["1:4 yaml.tag: unknown tag !!timestamp"]),
        ("a: !!set {x, y}", ["1:4 yaml.tag: unknown tag !!set"]),
        ("a: !secret [b]", ["1:4 secret.form: a secret is a name, or one of env, file and command"]),
        ("a: !!int x", ["1:4 yaml.value: this is no int"]),
        ("a: !!float x", ["1:4 yaml.value: this is no float"]),
        ("a: !!bool yes", ["1:4 yaml.value: this is no bool"]),
        ("a: " + "9" * 5000, ["1:4 yaml.value: this is no int"]),
        ("? [x]\n: 1", ["1:3 yaml.key: a key must be plain text"]),
        ("? {x: 1}\n: 1", ["1:3 yaml.key: a key must be plain text"]),
        ("a: {<<: 1}", ["1:9 yaml.merge: `<<` takes a mapping or a list of mappings"]),
        ("a: {<<: [{b: 1}, c]}", ["1:18 yaml.merge: `<<` takes a mapping or a list of mappings"]),
        ("a: &a [*a]", ["1:4 yaml.recursive: this alias contains itself"]),
        ("a: &a {b: *a}", ["1:4 yaml.recursive: this alias contains itself"]),
        ("a: &a {<<: *a, b: 1}", ["1:4 yaml.recursive: this alias contains itself"]),
        ("a: *b", ["1:4 yaml.syntax: this is not YAML: found undefined alias"]),
        ("a:\n\tb: 1", ["2:1 yaml.syntax: this is not YAML: found character that cannot start any token"]),
        ("a: 'b", ["1:6 yaml.syntax: this is not YAML: found unexpected end of stream"]),
        ("a: 1\n---\nb: 2", ["2:1 yaml.syntax: this is not YAML: but found another document"]),
        ("a: b\nc: \x07", ["2:4 yaml.syntax: the character U+0007 is not allowed here"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_its_place(text, problems):
    assert told(parsed(text)) == problems


def test_nesting_is_bounded():
    assert not parsed("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)).problems
    for text in (
        "[" * 200_000,
        "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH,
        "".join("  " * n + "a:\n" for n in range(400)),
    ):
        document = parsed(text)
        assert [one.code for one in document.problems] == ["yaml.depth"] and document.data is None
    chain = "x0: &x0 [1]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 300))
    assert {one.code for one in parsed(chain).problems} == {"yaml.depth"}
    chain = "x0: &x0 {a: 1}\n" + "".join(f"x{n}: &x{n} {{<<: *x{n - 1}}}\n" for n in range(1, 300))
    assert {one.code for one in parsed(chain).problems} == {"yaml.depth"}


@pytest.mark.parametrize("item", ["[{}]", "{{<<: [{}], own{}: 1}}"])
def test_aliases_of_aliases_do_not_fill_the_memory(item):
    text = "x0: &x0 {a: 1, b: 2}\n"
    for n in range(1, 12):
        text += f"x{n}: &x{n} " + item.format(", ".join([f"*x{n - 1}"] * 9), n) + "\n"
    tracemalloc.start()
    document = parsed(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told(document) == [
        f"1:1 yaml.size: there are more than {MAX_VALUES} values here, aliases counted each time"
    ]
    assert document.data is None and peak < 50 * 1024 * 1024


def test_a_file_that_cannot_be_read(tmp_path):
    assert told(read(tmp_path / "none.yaml"))[0].startswith(
        "1:1 file.unreadable: cannot read the file: No such file"
    )
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe4\n")
    assert told(read(tmp_path / "latin.yaml")) == [
        "1:1 file.unreadable: cannot read the file: it is not UTF-8"
    ]
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    document = read(tmp_path / "bom.yaml")
    assert document.data == {"a": 1, "b": 2} and document.mark(("b",)).line == 2


def test_did_you_mean():
    assert did_you_mean("templat", ["template", "connection"]) == "Did you mean 'template'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("zzz", [f"name{n}" for n in range(31)]) == ""


@given(st.text(alphabet="ab:-[]{}&*!<>|'\"%#,?~ \n\t0", max_size=60))
def test_no_text_raises(text):
    document = parsed(text)
    for problem in document.problems:
        assert 1 <= problem.mark.line <= text.count("\n") + 2 and problem.mark.column >= 1
