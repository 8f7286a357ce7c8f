"""Values of fields: what `create` and `write` take, what `read` gives, and HTML as Odoo cleans it.

Guarantees: the formats and error texts of Odoo 16 and 19; empty reads back as `False` (0 for numbers).
Refuses: what Odoo refuses (selections, dates), and scripts in HTML.
"""

from __future__ import annotations

import html
import re
import zoneinfo
from datetime import UTC, datetime
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

from engine.odoo.sandbox.faults import Crash
from engine.odoo.sandbox.schema import Field

DATETIME, DATE = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"
_BLOCKS = {"address", "article", "aside", "blockquote", "div", "dl", "fieldset", "figure", "footer", "form"}
_BLOCKS |= {"h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section"}
_BLOCKS |= {"table", "ul"}
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
_KILLED = {"script", "style", "title", "head", "meta", "link", "base", "embed", "object", "iframe", "frame"}
_KILLED |= {"applet", "form", "input"}


def parse_date(text: str) -> str:
    """A date as Odoo takes it; anything after the tenth character is cut off."""
    return _strptime(text[:10], DATE).strftime(DATE)


@lru_cache(maxsize=4096)
def parse_datetime(text: str) -> str:
    """A naive datetime as Odoo takes it: to the second, minute, hour or day."""
    return _strptime(text, DATETIME[: max(len(text) - 2, 0)] if len(text) < 19 else DATETIME).strftime(
        DATETIME
    )


def _strptime(text: str, form: str) -> datetime:
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007  Odoo's datetimes are naive UTC
    except ValueError as error:
        raise Crash("builtins.ValueError", str(error)) from None


@lru_cache(maxsize=4096)
def to_utc(text: str, zone: str) -> str:
    """A local time of `zone` as UTC; of an ambiguous hour the later one (standard time)."""
    local = _strptime(text, DATETIME).replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=1)
    return local.astimezone(UTC).strftime(DATETIME)


@lru_cache(maxsize=1)
def timezones() -> tuple[tuple[str, str], ...]:
    """The selection of `tz`: all names, those of "Etc" last, as in Odoo."""
    names = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules", "Factory"})
    return tuple((name, name) for name in sorted(names, key=lambda name: name.startswith("Etc/")))


def to_column(model: str, field: Field, value: Any, selection: tuple[tuple[str, str], ...]) -> Any:
    """What is stored for a value that a caller gave to `create` or `write`."""
    kind = field.type
    if kind == "boolean":
        return int(bool(value))
    if kind in ("integer", "float"):
        return _number(kind, value)
    if kind in ("many2one", "many2one_reference"):
        if isinstance(value, (list, tuple)) and value:
            value = value[0]
        return int(value) if isinstance(value, int) and not isinstance(value, bool) and value else None
    if value is None or value is False:
        return None
    if kind == "selection":
        if value == "":
            return None
        if all(value != key for key, _ in selection):
            raise Crash("builtins.ValueError", f"Wrong value for {model}.{field.name}: {value!r}")
        return value
    text = value if isinstance(value, str) else str(value)
    if "\x00" in text:
        raise Crash("builtins.ValueError", "A string literal cannot contain NUL (0x00) characters.")
    if kind == "datetime":
        return parse_datetime(text) if text else None
    if kind == "date":
        return parse_date(text) if text else None
    return text


def _number(kind: str, value: Any) -> float:
    try:
        return float(value or 0.0) if kind == "float" else int(value or 0)
    except (TypeError, ValueError) as error:
        raise Crash("builtins.ValueError", str(error)) from None


def from_column(kind: str, value: Any) -> Any:
    """What `read` gives for a stored value other than a many2one."""
    if kind in ("integer", "float", "many2one_reference"):
        return value or 0
    if kind == "boolean":
        return bool(value)
    if value is None:
        return False
    return value[:19] if kind == "datetime" else value


@lru_cache(maxsize=1024)
def sanitize(text: str, keep_div: bool) -> str:
    """HTML without scripts, wrapped as Odoo does: bare text in a paragraph, inline elements in a span.

    `keep_div`: 19 keeps one outer <div>, 16 takes it off.
    """
    if not text.strip():
        return ""
    cleaner = _Cleaner()
    cleaner.feed(text)
    cleaner.close()
    top = cleaner.finish()
    if not keep_div and len(top) == 1 and top[0][0] == "div":
        inner = re.sub(r"^<div[^>]*>|</div>$", "", top[0][1])
        return sanitize(inner, keep_div)
    return _wrap(top)


def _wrap(top: list[tuple[str, str]]) -> str:
    if not top:
        return ""
    if top[0][0] == "":  # bare text: a paragraph up to the first block
        end = next((place for place, (tag, _) in enumerate(top) if tag in _BLOCKS), len(top))
        lead = "".join(part for _, part in top[:end])
        return f"<p>{lead.strip(' ')}</p>" + "".join(part for _, part in top[end:])
    body = "".join(part for _, part in top)
    if len(top) == 1 or any(tag in _BLOCKS for tag, _ in top):
        return body
    return f"<span>{body}</span>"


class _Cleaner(HTMLParser):
    """Collects the top-level nodes as (tag or "", serialized)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.top: list[tuple[str, str]] = []
        self.stack: list[tuple[str, list[str]]] = []
        self.killed = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _KILLED:
            self.killed += tag not in _VOID
            return
        if self.killed:
            return
        kept = "".join(
            f' {name}="{_attribute(name, value)}"' for name, value in attrs if not name.startswith("on")
        )
        if tag in _VOID:
            self._put(tag, f"<{tag}{kept}>")
        else:
            self.stack.append((tag, [f"<{tag}{kept}>"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in _KILLED:
            self.killed = max(0, self.killed - (tag not in _VOID))
        elif not self.killed and any(open_tag == tag for open_tag, _ in self.stack):
            while self.stack:
                closed, parts = self.stack.pop()
                self._put(closed, "".join(parts) + f"</{closed}>")
                if closed == tag:
                    break

    def handle_data(self, data: str) -> None:
        if not self.killed:
            self._put("", html.escape(data, quote=False))

    def _put(self, tag: str, text: str) -> None:
        if self.stack:
            self.stack[-1][1].append(text)
        else:
            self.top.append((tag, text))

    def finish(self) -> list[tuple[str, str]]:
        """Closes what is open and gives the top-level nodes."""
        while self.stack:
            self.handle_endtag(self.stack[-1][0])
        return self.top


def _attribute(name: str, value: str | None) -> str:
    text = value or ""
    if name in ("href", "src", "action") and re.match(r"\s*(javascript|vbscript|data):", text, re.IGNORECASE):
        return ""
    return html.escape(text)
