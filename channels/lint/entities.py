"""What a canonical event holds, for lint: whether `event.patient.mrn` is there, and which types events have.

Guarantees: only what the entities' own declarations say; where a value's type is not known (a dictionary, what a
filter makes), nothing is said of what is read from it. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
from jinja2 import nodes

from transforms.canonical.events import ACTIONS, Event

Kind = Any
"""The Python type of a value, `list[...]` of one, or None: not known."""
EVENT = Event


@cache
def words(attribute: str) -> frozenset[str]:
    """The values that `event.type`, `event.kind` or `event.action` can have."""
    if attribute == "kind":
        return frozenset(ACTIONS)
    if attribute == "action":
        return frozenset(word for actions in ACTIONS.values() for word in actions)
    if attribute == "type":
        return frozenset(f"{kind}.{word}" for kind, actions in ACTIONS.items() for word in actions)
    return frozenset()


@cache
def attributes(kind: type) -> dict[str, Any]:
    """Attribute to its type: fields, by both their names, and properties."""
    found: dict[str, Any] = dict(get_type_hints(kind))
    declared: Any = kind
    for name, encoded in zip(declared.__struct_fields__, declared.__struct_encode_fields__, strict=True):
        found[encoded] = found.get(name)
    for name in dir(kind):
        value = getattr(kind, name)
        if not name.startswith("_") and name not in found:
            found[name] = get_type_hints(value.fget).get("return") if isinstance(value, property) else None
    return found


def entity(hint: Any) -> Kind:
    """The one entity, or list of entities, that a type hint allows besides absence."""
    options = [
        option
        for option in (hint, *get_args(hint))
        if get_origin(option) is list or (isinstance(option, type) and issubclass(option, msgspec.Struct))
    ]
    if get_origin(hint) is list:
        return hint
    return options[0] if len(options) == 1 else None


class Kinds:
    """The types of names and expressions; `missing` is told of attributes that are not there."""

    def __init__(
        self, known: dict[str, Kind], missing: Callable[[nodes.Getattr, str, set[str]], None]
    ) -> None:
        self.names: dict[str, Kind] = {"event": EVENT, "events": list[EVENT], **known}
        self.missing = missing
        self._told: set[int] = set()

    def of(self, node: nodes.Node) -> Kind:
        """What an expression gives."""
        if isinstance(node, nodes.Name):
            return self.names.get(node.name)
        if isinstance(node, nodes.Getitem):
            before = self.of(node.node)
            return entity(get_args(before)[0]) if get_origin(before) is list else None
        if not isinstance(node, nodes.Getattr):
            return None
        before = self.of(node.node)
        if not isinstance(before, type) or not issubclass(before, msgspec.Struct):
            return None
        known = attributes(before)
        if node.attr in known:
            return entity(known[node.attr])
        if id(node) not in self._told:
            self._told.add(id(node))
            article = "an" if before.__name__[0] in "AEIOU" else "a"
            self.missing(node, f"{article} {before.__name__.lower()}", set(known))
        return None

    def loop(self, node: nodes.For) -> None:
        """`for name in list`."""
        items = self.of(node.iter)
        if isinstance(node.target, nodes.Name):
            self.names[node.target.name] = entity(get_args(items)[0]) if get_origin(items) is list else None
        else:
            for target in node.target.find_all(nodes.Name):
                self.names[target.name] = None

    def assign(self, node: nodes.Assign) -> None:
        """`set name = expression`."""
        if isinstance(node.target, nodes.Name):
            self.names[node.target.name] = self.of(node.node)
