"""How what an expression gives becomes the value of an operation: absent, clear, or a value.

Guarantees: an absent part leaves its key out, a cleared one gives None, NUL characters never reach Odoo, and
what is returned is plain JSON data (dates and times as Odoo's text in UTC).
Refuses: an entity or a mapping put into text, and an object that has no JSON form (`StepError`, no values).

| a leaf's result                                  | becomes                                    |
|--------------------------------------------------|--------------------------------------------|
| ABSENT, UNSET, `""` that is not CLEAR            | the key is left out                        |
| CLEAR, None                                      | None: empty the field                      |
| text of several parts, every interpolation absent| the key is left out                        |
| ... every interpolation absent or cleared        | None                                       |
| a reference (`key`, `xml_id`, `find`) that lacks a part | left out; None when the part is cleared |
| a key of which one interpolation is absent       | absent: an error on an operation           |
| a list whose elements were all left out          | left out (an empty list would empty a relation) |
| `[]` written so, or given by an expression       | `[]`                                       |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
from jinja2 import Undefined

from engine.errors import StepError
from engine.model import ABSENT, CLEAR

REFERENCE = ("key", "xml_id", "find")
MAX_DEPTH = 20


def is_absent(value: Any) -> bool:
    """Whether `value` says: leave the target alone. An empty text that is not CLEAR says so too."""
    if isinstance(value, str):
        return not value and value is not CLEAR
    return value is msgspec.UNSET


def is_clear(value: Any) -> bool:
    """Whether `value` says: empty the target."""
    return value is CLEAR or value is None


def is_present(value: Any) -> bool:
    """Whether there is a value: neither absent nor cleared."""
    return not (is_absent(value) or is_clear(value) or isinstance(value, Undefined))


def normal(value: Any) -> Any:
    """The two empty values as expressions see them: None is CLEAR, UNSET is ABSENT."""
    if value is None:
        return CLEAR
    return ABSENT if value is msgspec.UNSET else value


def as_text(value: Any) -> str:
    """`value` as it stands inside a text; absent and cleared are empty."""
    if type(value) is str:
        return value
    if isinstance(value, str):
        return str(value)
    if value is None or value is msgspec.UNSET:
        return ""
    if isinstance(value, (bool, int, float, Decimal, Undefined)):
        return str(value)  # an undefined name raises here
    if isinstance(value, datetime):
        return odoo_text(value)
    if isinstance(value, date):
        return value.isoformat()
    raise StepError(
        f"{kind(value)} cannot be put into a text",
        code="value.text",
        todo="name one of its values, or use | join or | tojson",
    )


def text(values: Sequence[Any], pieces: Sequence[str]) -> str:
    """A text of fixed `pieces` with `values` between them; ABSENT or CLEAR when no value is there."""
    parts = [pieces[0]]
    present = cleared = False
    for value, piece in zip(values, pieces[1:], strict=True):
        part = as_text(value)
        if part:
            present = True
        elif is_clear(value):
            cleared = True
        parts.append(part)
        parts.append(piece)
    if present:
        return "".join(parts)
    return CLEAR if cleared else ABSENT


def odoo_text(value: datetime) -> str:
    """`YYYY-MM-DD HH:MM:SS` in UTC, as Odoo's `write` and `load` want it; a naive time is taken as UTC."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC)
    return value.strftime("%Y-%m-%d %H:%M:%S")


def kind(value: Any) -> str:
    """What `value` is, for an error text: never what it says."""
    if isinstance(value, msgspec.Struct):
        return f"a whole {type(value).__name__}"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list"
    return f"a value of type {type(value).__name__}"


def given(value: Any) -> Any:
    """`value` itself; an undefined one raises here, where its place is known."""
    if isinstance(value, Undefined):
        str(value)
    return value


def finish(value: Any, depth: int = 0) -> Any:
    """`value` as operation data: ABSENT (leave out), None (clear) or JSON data."""
    if type(value) is str:
        if not value:
            return ABSENT
        if "\0" in value:
            return value.replace("\0", "") or ABSENT
        return value
    if value is ABSENT or value is msgspec.UNSET:
        return ABSENT
    if value is CLEAR or value is None:
        return None
    if isinstance(value, (bool, int, float)):
        return value
    if depth > MAX_DEPTH:
        raise StepError("a value is nested too deeply", code="value.depth")
    return _finish_other(value, depth + 1)


def _finish_other(value: Any, depth: int) -> Any:
    if depth == 1 and isinstance(value, (list, tuple, dict)):
        from engine.spec.sandbox import check_nested

        check_nested(value)
    if isinstance(value, str):  # a subclass, such as Markup
        return finish(str.__str__(value), depth)
    if isinstance(value, Mapping):
        return _finish_mapping(value, depth)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return odoo_text(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Undefined):
        raise StepError(value._undefined_message, code="expression.undefined")
    if isinstance(value, (msgspec.Struct, bytes)) or not isinstance(value, Iterable):
        raise StepError(
            f"{kind(value)} cannot be sent to Odoo", code="value.type", todo="name one of its fields"
        )
    return _finish_list(list(value), depth)


def _finish_mapping(value: Mapping[Any, Any], depth: int) -> Any:
    result = {}
    cleared = False
    whole = any(name in value for name in REFERENCE)
    for name, item in value.items():
        done = finish(item, depth)
        if done is ABSENT:
            if whole:
                return ABSENT
            continue
        cleared = cleared or done is None
        result[str(name)] = done
    if whole and "find" in result and _lacks_part(value["find"], result["find"]):
        return ABSENT
    if whole and (cleared or (isinstance(result.get("find"), dict) and None in result["find"].values())):
        return None
    if whole and "key" in result and not good_key(result["key"]):
        return ABSENT
    return result


def _lacks_part(asked: Any, found: Any) -> bool:
    return isinstance(asked, Mapping) and (not found or len(found) < len(asked))


def _finish_list(items: list[Any], depth: int) -> Any:
    result = []
    cleared = False
    for item in items:
        done = finish(item, depth)
        if done is None:
            cleared = True
        elif done is not ABSENT:
            result.append(done)
    if result or not items:
        return result
    return None if cleared else ABSENT


def finish_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` of an operation: absent names left out, cleared ones None."""
    result = {}
    for name, value in values.items():
        if type(value) is str and value and "\0" not in value:
            result[name] = value
        elif (done := finish(value)) is not ABSENT:
            result[name] = done
    return result


def key_text(found: Sequence[Any], pieces: Sequence[str]) -> str:
    """Like `text` for a key: it is absent or cleared as soon as one of its values is."""
    empty = [value for value in found if not as_text(value)]
    if empty:
        return CLEAR if all(is_clear(value) for value in empty) else ABSENT
    return text(found, pieces)


def good_key(key: Any) -> bool:
    """Whether `key` can name one record: not blank, and neither is what stands after its last slash.

    A part before that may be empty but not blank: the authority of an identifier that names none.
    """
    if not isinstance(key, str):
        return False
    *before, last = key.split("/")
    return bool(last.strip()) and all(part.strip() or not part for part in before)
