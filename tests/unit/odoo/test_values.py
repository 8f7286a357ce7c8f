"""Cells and their comparison with what Odoo has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model import Operation
from engine.odoo.errors import OdooError
from engine.odoo.records import Row
from engine.odoo.references import Cell
from engine.odoo.values import cell, fold, same, together


@pytest.mark.parametrize(
    ("info", "value", "text", "equal", "other"),
    [
        ({"type": "char"}, "x", "x", "x", "y"),
        ({"type": "char"}, None, "", False, "y"),
        ({"type": "char"}, "", "", "", "y"),
        ({"type": "text"}, "a\r\nb", "a\r\nb", "a\nb", "a b"),
        ({"type": "boolean"}, True, "1", True, False),
        ({"type": "boolean"}, "no", "0", False, True),
        ({"type": "boolean"}, None, "0", False, True),
        ({"type": "integer"}, "7", "7", 7, 8),
        ({"type": "integer"}, None, "", 0, 8),
        ({"type": "float", "digits": [16, 2]}, 1.234, "1.234", 1.23, 1.24),
        ({"type": "float"}, "0.1", "0.1", 0.1, 0.2),
        ({"type": "date"}, "2024-01-02", "2024-01-02", "2024-01-02", "2024-01-03"),
        ({"type": "datetime"}, "2024-01-02 03:04", "2024-01-02 03:04:00", "2024-01-02 03:04:00", False),
        ({"type": "datetime"}, "2024-01-02T03:04:05-06:00", "2024-01-02 09:04:05", "2024-01-02 09:04:05", ""),
        ({"type": "selection", "selection": [["a", "Alpha"], ["b", "Beta"]]}, "Beta", "b", "b", "a"),
        ({"type": "html"}, "one\ntwo", "one\ntwo", "<p>one\ntwo</p>", "<p>one</p>"),
        ({"type": "html"}, "a & b", "a & b", "<p>a &amp; b</p>", "<p>a</p>"),
        ({"type": "html"}, "<b>x</b> y", "<b>x</b> y", "<span><b>x</b> y</span>", "<p>x y</p>"),
        ({"type": "html"}, "a<br/>b", "a<br/>b", "<p>a<br>b</p>", "<p>ab</p>"),
    ],
)
def test_cells(info, value, text, equal, other):
    made = cell(info, value, "m.f")
    assert made == text
    assert same(info, made, equal)
    assert not same(info, made, other)


@pytest.mark.parametrize(("kind", "value"), [("integer", "x"), ("boolean", "perhaps"), ("char", {"a": 1})])
def test_refused_values_are_not_shown(kind, value):
    with pytest.raises(OdooError) as caught:
        cell({"type": kind}, value, "res.partner.f")
    assert caught.value.where == "res.partner.f"
    assert "perhaps" not in str(caught.value)


@given(st.text("ab <p>/&;brdiv\n", max_size=30), st.text("ab <p>/&;brdiv\n", max_size=30))
def test_html_never_equal_when_its_words_differ(one, two):
    if fold(one) == fold(two):
        assert _words(one) == _words(two)


def _words(html):
    return [token for token in fold(f"<i>{html}</i>") if not token.startswith("<")]


def test_a_field_that_odoo_would_recompute_goes_along():
    fields = {
        "start": {"depends": []},
        "duration": {"depends": ["start", "stop"]},
        "stop": {"depends": ["start", "duration"]},
        "name": {"depends": []},
    }
    assert together(fields, {"start"}, {"start", "stop", "name"}) == {"start", "stop"}
    assert together(fields, {"name"}, {"start", "stop", "name"}) == {"name"}


KINDS = ["char", "text", "html", "selection", "date", "boolean", "integer", "float", "many2one", "many2many"]
READ = {
    "boolean": st.booleans(),
    "integer": st.integers(0, 2) | st.just(False),
    "float": st.sampled_from([0.0, 1.0, 1.5, False]),
    "many2one": st.just(False) | st.sampled_from([[1, "one"], [2, "two"]]),
    "many2many": st.lists(st.integers(1, 2), unique=True),
}


@given(st.data(), st.sampled_from(KINDS))
def test_a_row_sends_exactly_the_cells_that_would_change_something(data, kind):
    old = data.draw(READ.get(kind, st.just(False) | st.sampled_from(["", "0", "a", "a\r\n", "<p>a</p>"])))
    if kind.startswith("many2"):
        ids = data.draw(st.frozensets(st.integers(1, 2), max_size=1))
        known = ids if not ids or data.draw(st.booleans()) else None
        sent = Cell("x", "x/id", ",".join(f"m.x{number}" for number in ids), known)
    else:
        texts = ["0", "1"] if kind == "boolean" else ["", "0", "1"] if kind in ("integer", "float") else None
        sent = Cell("x", "x", data.draw(st.sampled_from(texts or ["", "0", "a", "a\n", "a\r\n"])))
    fields = {"x": {"type": kind}}
    row = Row(Operation("upsert", "m", "k"), "m.k", [sent], id=1, current={"id": 1, "x": old})
    assert row.columns(fields) == ([] if sent.unchanged(fields["x"], old) else [sent])
    row.current = {"id": 1}
    assert row.columns(fields) == [sent]
