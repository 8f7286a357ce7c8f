"""The reference page of the channel language, made from the components' declarations.

Guarantees: what is printed here is what validation accepts; nothing is written twice by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from engine.spec.component import Component, Kind, registry
from engine.spec.options import Backlog, ChannelOptions, DestinationOptions, Duplicates, Retry
from engine.spec.units import DURATION, SIZE, age_text

UNITS = ((DURATION, "duration"), (SIZE, "size"))
KINDS: tuple[tuple[Kind, str], ...] = (
    ("format", "Formats"),
    ("listener", "Listeners"),
    ("filter", "Filters"),
    ("transformer", "Transformers"),
    ("destination", "Destinations"),
    ("response", "Response steps"),
)
PLACES: dict[Kind, str] = {
    "format": "    format:\n      {}",
    "listener": "    listener:\n      {}",
    "filter": "    filters:\n      - {}",
    "transformer": "    transformers:\n      - {}",
    "destination": "    destinations:\n      name:\n        {}",
    "response": "    destinations:\n      name:\n        response:\n          - {}",
}
HEAD = """# Reference

Made from the components' own declarations by `isthmus docs`; do not edit. A component is its type as the single key,
with its settings below it; a channel has one format (HL7 v2 when it names none), one listener and any number of
filters, transformers and destinations. A duration is `90s`, `15m`, `24h` or `30d`, also `0.5s`, and a bare number is
seconds; a size is `500MB`, `50GB` or `1GiB`, and a bare number is bytes.
"""


def page() -> str:
    """The reference as Markdown."""
    parts = [HEAD]
    parts.append("## Channel\n\n" + table(ChannelOptions))
    for name, model in (("duplicates", Duplicates), ("backlog", Backlog), ("retry", Retry)):
        parts.append(f"### {name}\n\n" + table(model))
    parts.append(
        "## Destination\n\nBeside its component, `filters`, `transformers` and `response` (docs/responses.md):\n\n"
        + table(DestinationOptions)
    )
    for kind, title in KINDS:
        parts.append(f"## {title}")
        parts += [component(item) for item in registry if item.kind == kind]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def component(item: Component) -> str:
    """One component: description, example, settings."""
    text = "\n".join(line.strip() for line in (item.settings.__doc__ or "").strip().splitlines())
    example = PLACES[item.kind].format(item.example.replace("\n", "\n" + " " * _indent(item.kind)))
    return f"### {item.name}\n\n{text}\n\n```yaml\n{example}\n```\n\n{table(item.settings)}"


def _indent(kind: Kind) -> int:
    last = PLACES[kind].rsplit("\n", 1)[-1]
    return len(last) - len(last.lstrip(" -"))


def table(model: type[BaseModel], prefix: str = "") -> str:
    """Name, type, default and meaning of every setting, nested ones below their parent."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|", *_rows(model, prefix)]
    return "\n".join(rows)


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_default(field)}`"
        examples = ", ".join(f"`{_plain(example)}`" for example in field.examples or ())
        meaning = (field.description or "") + (f" For example {examples}." if examples else "")
        yield f"| `{prefix}{name}` | {_type(field)} | {default} | {meaning.replace('|', chr(92) + '|')} |"
        inner = _inner(field)
        if inner is not None and inner not in (Duplicates, Backlog, Retry):
            yield from _rows(inner, f"{prefix}{name}.")


def _inner(field: FieldInfo) -> type[BaseModel] | None:
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    is_age = _type(field).startswith("duration") and isinstance(value, (int, float))
    return age_text(value) if is_age else _plain(value)


def _plain(value: Any) -> str:
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        return "{}" if not value.model_fields_set else json.dumps(value.model_dump(mode="json"))
    return json.dumps(value, default=str, ensure_ascii=False)


def _type(field: FieldInfo) -> str:
    return (_unit(field.metadata) or _name(field.annotation)).replace("|", "\\|")


def _unit(metadata: Iterable[Any]) -> str:
    return next((name for unit, name in UNITS if unit in metadata), "")


def _name(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is None:
        known = {"str": "text", "int": "number", "float": "number", "bool": "true/false", "Any": "anything"}
        name = getattr(annotation, "__name__", str(annotation))
        if annotation is type(None):
            return "nothing"
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return "mapping"
        return known.get(name, "text")
    if origin is list:
        return f"list of {_name(args[0])}"
    if origin is Annotated and (unit := _unit(args[1:])):
        return unit
    if origin is dict:
        return "mapping"
    if str(origin) == "typing.Literal":
        return " or ".join(f"`{arg}`" for arg in args)
    return " or ".join(dict.fromkeys(_name(arg) for arg in args))
