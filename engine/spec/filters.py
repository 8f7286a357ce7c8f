"""The filters of expressions and templates: text, names, phones, code tables (dates: `engine.spec.dates`).

Guarantees: ABSENT and CLEAR pass through every filter unchanged, so that `{{ msg['PID-13'] | phone }}` of a
message without a phone leaves the field alone; the same input gives the same output on every run.
Each docstring is the filter's documentation and its example is run as a test.
"""

from __future__ import annotations

import html as _html
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import msgspec
from jinja2 import Undefined

from engine.errors import StepError
from engine.model import ABSENT
from engine.spec import dates, sandbox
from engine.spec.tables import Otherwise, Table
from engine.spec.values import as_text, is_absent, is_clear, is_present, normal

# fmt: off
_PARTICLES = frozenset({
    "af", "al", "ap", "av", "bin", "d", "da", "das", "de", "dei", "del", "della", "den", "der", "des", "di",
    "do", "dos", "du", "e", "el", "la", "las", "le", "los", "ten", "ter", "van", "vom", "von", "zu", "zum",
    "zur",

})
# fmt: on
_SUFFIXES = frozenset({"II", "III", "IV", "VI", "VII", "VIII", "MD", "PHD", "DDS", "RN"})
_KEPT_CONTROLS = "\n\t"


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter let ABSENT and CLEAR through, and give it text."""

    @wraps(function)
    def filtered(value: Any = ABSENT, *args: Any, **kwargs: Any) -> Any:
        if is_clear(value) or is_absent(value):
            return normal(value) if value != "" or is_clear(value) else ABSENT
        return function(as_text(value), *args, **kwargs)

    return filtered


@passing
def digits(value: str) -> str:
    """Only the digits 0-9: `"(555) 12-34" | digits` gives `5551234`."""
    return re.sub(r"[^0-9]", "", value) or ABSENT


@passing
def phone(value: str, country: str = "") -> str:
    """A tidy phone number; with a country calling code, in international form.

    `"(0)555-12 34 ext. 5" | phone` gives `0555 12 34 x5`; `"0555 1234" | phone("49")` gives `+49 5551234`.
    """
    number, _, extension = _split_extension(value)
    plus = number.lstrip().startswith(("+", "00"))
    groups = re.findall(r"[0-9]+", number)
    if not groups:
        return ABSENT
    if plus:
        joined = " ".join(groups)
        tidy = "+" + (joined[2:] if not number.lstrip().startswith("+") else joined)
    elif country:
        tidy = f"+{country} " + "".join(groups).removeprefix("0")
    else:
        tidy = groups[0] + "".join(
            ("" if index == 0 and groups[0] == "0" else " ") + group for index, group in enumerate(groups[1:])
        )
    return f"{tidy} x{extension}" if extension else tidy


def _split_extension(value: str) -> tuple[str, str, str]:
    found = re.search(r"(?i)\s*(?:x|ext\.?|extension)\s*([0-9]+)\s*$", value)
    return (value[: found.start()], "x", found[1]) if found else (value, "", "")


@passing
def name_case(value: str) -> str:
    """A name that came in capitals, as people write it; a name in mixed case stays as it is.

    `"O'BRIEN-MCDONALD" | name_case` gives `O'Brien-McDonald`; `"VAN DER BERG" | name_case` gives
    `van der Berg`.
    """
    if value != value.upper() and value != value.lower():
        return value
    words = value.split()
    return " ".join(_name_word(word, last=index == len(words) - 1) for index, word in enumerate(words))


def _name_word(word: str, last: bool) -> str:
    if word.upper().rstrip(".") in _SUFFIXES:
        return word.upper()
    if word.lower() in _PARTICLES and not last:
        return word.lower()
    parts = re.split(r"([-'’])", word.lower())
    return "".join(_name_part(part) for part in parts)


def _name_part(part: str) -> str:
    if part.startswith("mc") and len(part) > 3:
        return "Mc" + part[2:].capitalize()
    return part.capitalize()


@passing
def clean(value: str) -> str:
    """Without control characters, with single spaces: `"  a\\u0000  b " | clean` gives `a b`."""
    kept = "".join(char if unicodedata.category(char) != "Cc" else " " for char in value)
    return " ".join(kept.split()) or ABSENT


def first_of(value: Any, *others: Any) -> Any:
    """The first value that is there: `msg['PID-13'] | first_of(msg['PID-14'])`."""
    candidates = (value, *others)
    for item in candidates:
        if is_present(item):
            return item
    return next((normal(item) for item in candidates if is_clear(item)), ABSENT)


@passing
def truncate_text(value: str, length: int, end: str = "…") -> str:
    """At most `length` characters, `end` included: `"appendectomy" | truncate_text(8)` gives `appende…`."""
    return value if len(value) <= length else value[: max(0, length - len(end))].rstrip() + end[:length]


@passing
def mask(value: str, keep: int = 4, char: str = "*") -> str:
    """All but the last `keep` characters hidden: `"123456789" | mask` gives `*****6789`."""
    shown = value[-keep:] if 0 < keep < len(value) else ""
    hidden = len(value) - len(shown)
    sandbox.check_product(char, hidden)
    return char * hidden + shown


def split_lines(value: Any) -> list[str]:
    """The lines of a text, as a list: `"a\\nb" | split_lines` gives `["a", "b"]`; absent gives no line."""
    return as_text(value).splitlines()


@passing
def html(value: str) -> str:
    """Safe inside an Odoo html field: `"a < b" | html` gives `a &lt; b`."""
    return _html.escape(value)


@passing
def nl2br(value: str) -> str:
    """Safe inside an Odoo html field, with its line breaks: `"a\\nb" | nl2br` gives `a<br>b`."""
    return "<br>".join(_html.escape(line) for line in value.splitlines())


def default(value: Any, otherwise: Any = "", boolean: bool = False) -> Any:
    """`otherwise` when there is no value (absent, cleared or undefined): `msg['PID-15'] | default("en")`."""
    if is_present(value) and (value or not boolean):
        return value
    return otherwise


def default_absent(value: Any, *unusable: Any) -> Any:
    """ABSENT instead of an unusable value: `"UNKNOWN" | default_absent("UNKNOWN", "N/A")` is absent."""
    if isinstance(value, Undefined) or is_absent(value) or (is_present(value) and value in unusable):
        return ABSENT
    return normal(value)


def join(value: Any, between: str = "", attribute: str = "") -> str:
    """The values that are there, joined: `["a", ABSENT, "b"] | join(" ")` gives `a b`; none gives ABSENT."""
    items = [value] if isinstance(value, str) else [] if value is None or value is msgspec.UNSET else value
    if attribute:
        items = [getattr(item, attribute) for item in items if not attribute.startswith("_")]
    parts = [as_text(item) for item in items if is_present(item)]
    sandbox.check_join(parts, between)
    return between.join(parts) or ABSENT


@passing
def replace(value: str, old: str, new: str) -> str:
    """`"a-b" | replace("-", " ")` gives `a b`."""
    sandbox.check_replace(value, old, new)
    return value.replace(old, new)


def tojson(value: Any) -> str:
    """JSON of a value: `{"a": 1} | tojson` gives `{"a":1}`; absent and cleared are null."""
    sandbox.check_nested(value)
    return msgspec.json.encode(None if isinstance(value, str) and not value else value).decode()


class TableFilter:
    """`table` as filter and function, with the tables of one channel."""

    def __init__(self, tables: Mapping[str, Table]) -> None:
        self.tables = tables

    def table(self, value: Any, name: str, otherwise: Otherwise | None = None, column: str = "") -> str:
        """A code in the words of a code table: `msg['PID-8'] | table("sex")`.

        As a function: `table("sex", msg['PID-8'])`; of a table with several columns `table("sex", column="odoo")`.
        """
        found = self.tables.get(name)
        if found is None:
            raise StepError(
                "there is no such code table", code="table.unknown", todo="declare it under tables:"
            )
        return found.get(value, otherwise, column)


TEXT: dict[str, Callable[..., Any]] = {
    "clean": clean,
    "d": default,
    "default": default,
    "default_absent": default_absent,
    "digits": digits,
    "e": html,
    "escape": html,
    "first_of": first_of,
    "html": html,
    "join": join,
    "mask": mask,
    "name_case": name_case,
    "nl2br": nl2br,
    "phone": phone,
    "replace": replace,
    "split_lines": split_lines,
    "tojson": tojson,
    "truncate_text": truncate_text,
}


def make(tables: Mapping[str, Table], timezone: str) -> dict[str, Callable[..., Any]]:
    """Every filter, for a channel with these tables whose messages tell local time of `timezone`."""
    return {**TEXT, **dates.make(timezone), "table": TableFilter(tables).table}
