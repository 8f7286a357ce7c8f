"""Every filter does what its docstring says, and lets the empty values through."""

import ast
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, StepError
from engine.model import ABSENT, CLEAR, Meta, Scope
from engine.spec import filters
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression

FILTERS = filters.make({}, "Europe/Berlin")
EXAMPLE = re.compile(r"`([^`]*\|[^`]*)`\s+gives\s+`([^`]*)`")
EXAMPLES = [(name, *found) for name, item in FILTERS.items() for found in EXAMPLE.findall(item.__doc__)]
PASSING = sorted(
    set(FILTERS) - {"first_of", "default", "d", "default_absent", "join", "split_lines", "tojson", "table"}
)
CONTEXT = BuildContext(options={"timezone": "Europe/Berlin"})


def value(source, **variables):
    scope = Scope({}, Meta())
    scope.vars.update(variables)
    return compile_expression(source, CONTEXT)(scope)


@pytest.mark.parametrize(("name", "source", "expected"), EXAMPLES)
def test_the_example_in_the_docstring(name, source, expected):
    found = value(source)
    assert str(found) == expected or found == ast.literal_eval(expected)


def test_every_filter_is_documented():
    assert all(len(item.__doc__ or "") > 20 for item in FILTERS.values())
    assert {name for name, *_ in EXAMPLES} >= set(PASSING) - {"e", "escape"}


@pytest.mark.parametrize("name", PASSING)
def test_the_empty_values_pass_through(name):
    arguments = {"truncate_text": (5,), "replace": ("a", "b")}.get(name, ())
    assert FILTERS[name](ABSENT, *arguments) is ABSENT
    assert FILTERS[name](CLEAR, *arguments) is CLEAR
    assert FILTERS[name](None, *arguments) is CLEAR


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SMITH", "Smith"),
        ("smith", "Smith"),
        ("MCDONALD", "McDonald"),
        ("O'BRIEN", "O'Brien"),
        ("VAN DER BERG", "van der Berg"),
        ("DE LA CRUZ-GARCIA", "de la Cruz-Garcia"),
        ("deBoer", "deBoer"),
        ("KING III", "King III"),
        ("VON", "Von"),
        ("ÉMILE", "Émile"),
    ],
)
def test_name_case(name, expected):
    assert FILTERS["name_case"](name) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("'20260701120000' | odoo_datetime", "2026-07-01 10:00:00"),
        ("'20260101120000' | odoo_datetime", "2026-01-01 11:00:00"),
        ("'20260701120000-0500' | odoo_datetime", "2026-07-01 17:00:00"),
        ("'2026-07-01T12:00:00Z' | odoo_datetime", "2026-07-01 12:00:00"),
        ("'20260701120000' | odoo_datetime(timezone='UTC')", "2026-07-01 12:00:00"),
        ("'20260701' | odoo_datetime", "2026-06-30 22:00:00"),
        ("'20260701233000-0500' | odoo_date", "2026-07-01"),
        ("'rubbish' | odoo_date(on_error='absent')", ""),
        ("'1980' | odoo_date(on_error='absent')", ""),
        ("'20260230' | odoo_date(on_error='absent')", ""),
    ],
)
def test_dates(source, expected):
    assert value(source) == expected


def test_an_unreadable_date_is_an_error_that_does_not_quote_it():
    with pytest.raises(StepError) as caught:
        value("a | odoo_date", a="ZEBRAFISH")
    assert caught.value.code == "date.unreadable"
    assert "ZEBRAFISH" not in str(caught.value)


def test_an_unknown_time_zone_is_a_configuration_error():
    with pytest.raises(ConfigError):
        filters.make({}, "Europe/Atlantis")


def test_first_of_prefers_a_value_to_an_emptied_one():
    assert filters.first_of(ABSENT, CLEAR, "a") == "a"
    assert filters.first_of(ABSENT, CLEAR) is CLEAR
    assert filters.first_of(ABSENT, "") is ABSENT


@given(st.text())
def test_text_filters_take_any_text(text):
    for name in ("clean", "digits", "phone", "name_case", "mask", "html", "nl2br"):
        found = FILTERS[name](text)
        assert isinstance(found, str)
    assert "<" not in FILTERS["html"](text)
    assert re.fullmatch("[0-9]*", FILTERS["digits"](text))
    cleaned = FILTERS["clean"](text)
    assert FILTERS["clean"](cleaned) == cleaned
    assert len(FILTERS["mask"](text)) == len(text)
