"""What the text of a setting means: an expression, a template, an HL7 path, the name of a table.

A component says it in the type of its field, `path: HL7Path`, and `lint` then knows what to look at and where,
also in components of other packages. For pydantic, for the schema and at run time these are plain text.

    class Copy(Settings):
        path: HL7Path = Field(description="Where it is.")
        vars: dict[Variable, Value] = Field(default={}, description="Variable to value.")

Guarantees: `found_in` gives every marked text of a settings object with its place. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

What = Literal[
    "expression",  # Jinja without braces
    "text",  # a Jinja template
    "value",  # data with Jinja in its leaves
    "operations",  # a template of Odoo operations, in place
    "template",  # name or path of one
    "path",  # a path in msg[...]
    "message_type",  # ADT^A01, ADT, ADT^*
    "table",  # name of a code table
    "connection",  # name of a connection
    "variable",  # name of a variable that is set
    "fhirpath",
    "secret",  # must not stand in the file in clear
]


@dataclass(frozen=True)
class Means:
    """The mark on a field's type."""

    what: What


Expression = Annotated[str, Means("expression")]
JinjaText = Annotated[str, Means("text")]
Value = Annotated[Any, Means("value")]
Operations = Annotated[list[dict[str, Any]], Means("operations")]
TemplateName = Annotated[str, Means("template")]
HL7Path = Annotated[str, Means("path")]
MessageTypeName = Annotated[str, Means("message_type")]
TableName = Annotated[str, Means("table")]
ConnectionName = Annotated[str, Means("connection")]
Variable = Annotated[str, Means("variable")]
FHIRPath = Annotated[str, Means("fhirpath")]


@dataclass(frozen=True)
class Meant:
    """One text of a settings object: what it means, what it says, and where (`key`: it is a mapping's key)."""

    what: What
    value: Any
    where: tuple[str | int, ...]
    key: bool = False


def found_in(settings: BaseModel) -> Iterator[Meant]:
    """Every marked text in `settings`, defaults left out."""
    for name in type(settings).model_fields:
        if name in settings.model_fields_set:
            yield from _walk(_shape(type(settings), name), getattr(settings, name), (name,))


@cache
def _shape(model: type[BaseModel], name: str) -> Any:
    field = model.model_fields[name]
    marks = [mark for mark in field.metadata if isinstance(mark, Means)]
    return Annotated[field.annotation, marks[0]] if marks else field.annotation


def _walk(shape: Any, value: Any, where: tuple[str | int, ...], key: bool = False) -> Iterator[Meant]:
    if value is None or not _interesting(shape):
        return
    if get_origin(shape) is Annotated:
        inner, *marks = get_args(shape)
        for mark in marks:
            if isinstance(mark, Means):
                yield Meant(mark.what, value, where, key)
                return
        yield from _walk(inner, value, where, key)
    elif shape is SecretStr:
        yield Meant("secret", value, where, key)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            if name in value.model_fields_set:
                yield from _walk(_shape(type(value), name), getattr(value, name), (*where, name))
    elif isinstance(value, dict):
        keys, values = _members(shape, dict, 2)
        for name, item in value.items():
            yield from _walk(keys, name, (*where, name), True)
            yield from _walk(values, item, (*where, name))
    elif isinstance(value, (list, tuple)):
        (items,) = _members(shape, list, 1)
        for index, item in enumerate(value):
            yield from _walk(items, item, (*where, index))
    elif get_origin(shape) in (Union, UnionType):
        for member in get_args(shape):
            yield from _walk(member, value, where, key)


def _members(shape: Any, kind: type, count: int) -> tuple[Any, ...]:
    """What a list or mapping holds, as the type says; of a union the member that fits."""
    for candidate in (shape, *get_args(shape)):
        if get_origin(candidate) is kind and len(get_args(candidate)) >= count:
            return get_args(candidate)[:count]
    return (Any,) * count


@cache
def _interesting(shape: Any) -> bool:
    """Whether a mark is anywhere in a type."""
    if shape is SecretStr or (isinstance(shape, type) and issubclass(shape, BaseModel)):
        return True
    if any(isinstance(mark, Means) for mark in getattr(shape, "__metadata__", ())):
        return True
    return any(_interesting(part) for part in get_args(shape) if part is not Ellipsis)
