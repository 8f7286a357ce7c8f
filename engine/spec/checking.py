"""Settings checked by their pydantic model, and what is wrong told at its place in the file.

Guarantees: every error is told once, at the value or key that it is about; of a union only the member that fits
best speaks; a value is never quoted unless a validator of ours does so. Refuses nothing: errors are reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ValidationError

from engine.errors import IsthmusError
from engine.spec.document import Document, Where, did_you_mean

_WORDS = {  # what pydantic says in the words of Python
    "model_type": "must be a mapping of names",
    "dict_type": "must be a mapping of names",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "string_type": "must be a text",
}
_PATTERNS = {
    "^/": "must begin with /",
    r"^[A-Za-z0-9-]+$": "must be of letters, digits and -",
    r"^[a-z][a-z0-9_]{0,30}$": "must be of small letters, digits and _, begin with a letter and have 31 at most",
}


def validated(
    model: Any, data: Any, where: Where, also: Any, document: Document, *, partial: bool = False
) -> Any:
    """`model` filled with `data`, or None; `also` are keys that are known besides the model's own.

    With `partial`, what is missing is not told, nor what is wrong with the whole: the rest is elsewhere.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [
            (_inside(item["loc"], where, document), item)
            for item in error.errors(include_url=False)
            if not partial or (item["loc"] and item["type"] != "missing")
        ]
    except IsthmusError as error:
        document.report(error.code, where, error.what, error.todo)
        return None
    deepest = {loc[:1]: loc for loc, _ in sorted(found, key=lambda one: len(one[0]))}
    told: set[Where] = set()
    for loc, item in found:
        if len(loc) < len(item["loc"]) and item["type"] not in ("missing", "extra_forbidden"):
            if loc != deepest[loc[:1]] or loc in told:
                continue  # what another member of the union says
            told.add(loc)
        _report(model, item, where, loc, also, document)
    return None


def unknown_key(document: Document, key: str, where: Where, known: Any) -> None:
    """Report a key that nobody knows."""
    document.report("key.unknown", where, f"unknown key {key!r}", did_you_mean(key, known), key=True)


def _inside(loc: Any, where: Where, document: Document) -> Where:
    """`loc` without the names of union members and validators that pydantic puts into it."""
    place: Where = ()
    for part in loc:
        if (*where, *place, part) in document.marks:
            place = (*place, part)
    return place


def _report(model: Any, item: Any, where: Where, loc: Where, also: Any, document: Document) -> None:
    place = (*where, *loc)
    if any(one.code == "env.unset" and one.mark == document.marks.get(place) for one in document.problems):
        return  # its value is not known
    if item["type"] == "extra_forbidden":
        inner = _model_at(model, item["loc"][:-1])
        known = {*inner.model_fields, *(also if inner is model else ())} if inner else set(also)
        unknown_key(document, str(item["loc"][-1]), place, known)
    elif item["type"] == "missing":
        name = item["loc"][-1]
        document.report(
            "setting.missing",
            place,
            f"the setting {name!r} is missing",
            _described(model, item["loc"]),
            key=True,
        )
    else:
        name = ".".join(map(str, loc or item["loc"])) or str(where[-1] if where else "value")
        text = _PATTERNS.get(item.get("ctx", {}).get("pattern", "")) or _WORDS.get(item["type"])
        text = text or str(item["msg"]).removeprefix("Value error, ")
        hint = _described(model, loc or item["loc"]) or _described(model, loc[:1])
        document.report("setting.invalid", place, f"{name}: {text[:1].lower()}{text[1:]}", hint)


def _model_at(model: Any, loc: Any) -> Any:
    for part in loc:
        found = model.model_fields.get(part)
        if found is None:
            continue  # the key of a mapping, a place in a list, the name of a union's member
        model = next((item for item in _parts(found.annotation) if hasattr(item, "model_fields")), None)
        if model is None:
            return None
    return model


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and all types that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _described(model: Any, loc: Any) -> str:
    inner = _model_at(model, loc[:-1]) if loc else None
    found = inner.model_fields.get(loc[-1]) if inner is not None and loc else None
    return found.description or "" if found is not None else ""
