"""YAML with the place of every node, read without building values that lose it.

Guarantees: a node knows `file:line:column` (1-based); a mapping has each key once.
Refuses: keys that are not text, keys that stand twice, `<<` merges (`ConfigError` with the place).
"""

from __future__ import annotations

from typing import Any

import yaml
from yaml.representer import SafeRepresenter

from engine.errors import ConfigError

_constructor = yaml.SafeLoader("")


def compose(text: str, file: str) -> yaml.Node | None:
    """The root node of a YAML text."""
    try:
        return yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        what = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"this is not YAML: {what}", code="yaml.syntax", where=where) from None


class _Representer(SafeRepresenter):
    """Gives what stands in several places a node for each, because each has its own path."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def represent(data: Any, where: str) -> yaml.Node:
    """A node tree of plain data that was read elsewhere; a node knows its path in the data, and no lines."""
    representer = _Representer(sort_keys=False)
    try:
        return _named(representer.represent_data(data), "")
    except yaml.YAMLError:
        raise ConfigError("this is not plain data", code="yaml.data", where=where) from None


def _named(node: yaml.Node, path: str) -> yaml.Node:
    node.path = path  # type: ignore[attr-defined]
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _named(key, f"{path}.{key.value}" if path else str(key.value))
            _named(value, key.path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _named(item, f"{path}[{index}]")
    return node


def place(node: yaml.Node, file: str) -> str:
    """`file:line:column` of a node; of one that was not read from a text its path after the name of the file."""
    mark = node.start_mark
    if mark is None:
        path = getattr(node, "path", "")
        return f"{file}{'' if not path or path[0] == '[' or not file else '.'}{path}"
    return f"{getattr(node, 'file', file)}:{mark.line + 1}:{mark.column + 1}"  # `file`: see presets


def items(node: yaml.Node, file: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The entries of a mapping: name to (key node, value node)."""
    result: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            raise ConfigError(
                "a key must be text", code="yaml.key", where=place(key, file), todo="put it in quotes"
            )
        if key.value in result:
            raise ConfigError(f"{key.value!r} is there twice", code="yaml.twice", where=place(key, file))
        result[key.value] = (key, value)
    return result


def scalar(node: yaml.ScalarNode, file: str) -> Any:
    """The value of a scalar: text, number, boolean, date or None."""
    try:
        return _constructor.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError):
        raise ConfigError("this value cannot be read", code="yaml.value", where=place(node, file)) from None
