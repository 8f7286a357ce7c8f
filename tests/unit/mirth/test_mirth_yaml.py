"""YAML with comments is read back as the data it was made of."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from engine.mirth.yamltext import Remark, Said, render
from engine.spec.document import Document, read_text

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).filter(
    lambda text: "${" not in text
)
KEY = TEXT.filter(lambda text: text not in ("<<", ""))
SCALAR = (
    TEXT
    | st.integers(-9, 9999)
    | st.booleans()
    | st.sampled_from(["30d", "no", "1.5", "2575", "a: b", "- x", "#c", "~"])
)
DATA = st.dictionaries(
    KEY,
    st.recursive(
        SCALAR, lambda one: st.lists(one, max_size=3) | st.dictionaries(KEY, one, max_size=3), max_leaves=8
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


def back(text):
    document = read_text(text, Document(Path("a.yaml")), {})
    assert not document.problems, [str(problem) for problem in document.problems]
    return document.data


def commented(value, comment):
    if isinstance(value, dict):
        inner = {Remark(comment): None}
        return inner | {key: Said(commented(item, comment), comment) for key, item in value.items()}
    if isinstance(value, list):
        return [Remark(comment), *(Said(commented(item, comment), comment) for item in value)]
    return value


@given(DATA)
def test_data_is_read_back(data):
    assert back("\n".join(render(data))) == data


@given(DATA, TEXT)
@example({"0": []}, "0")
def test_comments_change_nothing(data, comment):
    found = back("\n".join(render(commented(data, comment))))
    assert found == _emptied(data)


def _emptied(value):
    """A mapping or list that holds comments alone is null in YAML."""
    if isinstance(value, dict):
        return {key: _emptied(item) for key, item in value.items()} or None
    if isinstance(value, list):
        return [_emptied(item) for item in value] or None
    return value


def test_its_form():
    data = {
        "port": Said(2575, "Line 3"),
        Remark("by hand"): None,
        "a": {"b": "c", "d": ["x", "30d"]},
        "e": "msg['A'] != 1",
    }
    assert render(data) == [
        "# Line 3",
        "port: 2575",
        "# by hand",
        "a: {b: c, d: [x, 30d]}",
        "e: \"msg['A'] != 1\"",
    ]
