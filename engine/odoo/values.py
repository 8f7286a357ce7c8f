"""A value of an operation as a cell of `load()`, and as something to compare with what Odoo has.

Guarantees: every cell is a string (a native bool or None in a boolean column is an error 500 in Odoo); None
and "" clear the field; two values compare equal only if writing the one over the other changes nothing. When
in doubt they differ: that costs a write, the contrary would lose an update.

| type | compared as |
|---|---|
| char, text | text, line ends unified; False and "" are the same |
| html | tags and text with white space folded, without one outer p, div or span: Odoo wraps plain text |
| boolean | true or false; empty is false |
| integer, float, monetary | number, a float rounded to the digits of the field; empty is 0 |
| date, datetime | seconds, UTC |
| selection | the key; a label stands for its key |
| many2one, many2many | database ids, a many2many as a set |

Refuses: text in a many2one (Odoo would guess by name), lists in a one2many (Odoo appends the lines on every
load), numbers and booleans that are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from engine.odoo.errors import OdooError
from engine.states import Result

TRUE = frozenset({"1", "true", "yes", "y", "t"})
FALSE = frozenset({"0", "false", "no", "n", "f", ""})
RELATIONS = frozenset({"many2one", "many2many"})
Info = Mapping[str, Any]


def cell(info: Info, value: Any, where: str) -> str:
    """The cell of a value that is not a reference; `where` is model.field for the error."""
    kind = info.get("type")
    if value is None or value == "":
        return "0" if kind == "boolean" else ""
    if kind == "boolean":
        return "1" if _truth(value, where) else "0"
    if kind in {"integer", "many2one_reference"}:
        return str(int(_number(value, where)))
    if kind in {"float", "monetary"}:
        return repr(_number(value, where))
    if isinstance(value, (dict, list, tuple)):
        raise refuse(where, "a list or mapping is no value of this field")
    if kind == "datetime":
        return _datetime(str(value))
    if kind == "selection":
        return _selection(info, str(value))
    return str(value)


def same(info: Info, text: str, current: Any) -> bool:
    """Whether writing the cell `text` over `current` (as `read` gives it) would change nothing."""
    kind = info.get("type")
    if kind == "boolean":
        return (text == "1") == bool(current)
    if kind in {"integer", "float", "monetary", "many2one_reference"}:
        return _equal(info, float(text or 0), float(current or 0))
    old = "" if current is False or current is None else str(current)
    if kind == "html":
        return fold(text) == fold(old)
    if kind in {"char", "text"}:
        return text.replace("\r\n", "\n") == old.replace("\r\n", "\n")
    return text == old


def _equal(info: Info, new: float, old: float) -> bool:
    digits = info.get("digits")
    if digits:
        return round(new, digits[1]) == round(old, digits[1])
    return new == old or abs(new - old) <= 1e-9 * max(abs(new), abs(old))


def _truth(value: Any, where: str) -> bool:
    if isinstance(value, (bool, int)):
        return bool(value)
    text = str(value).strip().lower()
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise refuse(where, "the value is neither true nor false")


def _number(value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise refuse(where, "the value is not a number") from None


def _datetime(text: str) -> str:
    """`YYYY-MM-DD HH:MM:SS` in UTC; what is not a time goes to Odoo as it is, which names the field."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    if found.tzinfo is not None:
        found = found.astimezone(UTC)
    return found.strftime("%Y-%m-%d %H:%M:%S")


def _selection(info: Info, text: str) -> str:
    choices = info.get("selection") or []
    if any(key == text for key, _ in choices):
        return text
    keys = [key for key, label in choices if label == text]
    return str(keys[0]) if len(keys) == 1 else text


def refuse(where: str, what: str) -> OdooError:
    """A value that cannot be sent. `what` holds no data."""
    return OdooError(what, result=Result.PERMANENT, code="odoo.value", where=where)


class _Folder(HTMLParser):
    """Tokens of an HTML text: tags with their attributes, text with white space folded."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tokens: list[str] = []
        self.text: list[str] = []

    def flush(self) -> None:
        folded = " ".join("".join(self.text).split())
        self.text = []
        if folded:
            self.tokens.append(folded)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.flush()
        kept = sorted((name, value or "") for name, value in attrs if not name.startswith("data-"))
        self.tokens.append(f"<{tag}{''.join(f' {name}={value!r}' for name, value in kept)}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"br", "hr", "img"}:
            self.flush()
            self.tokens.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def fold(html: str) -> list[str]:
    """The tokens of `html` without one outer, bare p, div or span."""
    folder = _Folder()
    folder.feed(html)
    folder.close()
    folder.flush()
    tokens = folder.tokens
    for tag in ("p", "div", "span"):
        opening, closing = f"<{tag}>", f"</{tag}>"
        if tokens[:1] == [opening] and tokens[-1:] == [closing] and closing not in tokens[1:-1]:
            return tokens[1:-1]
    return tokens


def together(fields: Mapping[str, Info], changed: set[str], sent: set[str]) -> set[str]:
    """The fields of `sent` to write when `changed` change.

    A stored field may be computed from others and still be editable (`calendar.event.stop` from `start` and
    `duration`): writing `start` alone would make Odoo move `stop`. So every sent field that depends on a
    changed one, directly or through others, goes along even if its value is the same.
    """
    reach: set[str] = set(changed)
    grown = True
    while grown:
        grown = False
        for name, info in fields.items():
            if name not in reach and any(
                path.partition(".")[0] in reach for path in info.get("depends") or ()
            ):
                reach.add(name)
                grown = True
    return sent & reach
