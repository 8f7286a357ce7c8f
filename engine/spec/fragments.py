"""`use:` in a template file: operations that are written once, under `fragments:` of the configuration.

    # channels.yaml                                         # templates/visit.yaml
    fragments:                                              - use: ward
      ward: [{upsert: res.partner, key: …, values: …}]      - upsert: calendar.event

Guarantees: an operation keeps the place where it is written, in the file of its fragment; a fragment may use others.
Refuses (ConfigError, with the place of the `use`): a fragment that is not there, that contains itself, that is no
operation or list of them, and more than MOST operations in all. What stands in the configuration itself is put
together before (`engine.spec.compose`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from engine.errors import ConfigError
from engine.spec import yamlnodes
from engine.spec.document import Document, Mark, Where, did_you_mean

MOST = 10_000


class Fragments:
    """The fragments of a configuration as parts of templates; `used` are those that a template named."""

    def __init__(self, document: Document | None = None) -> None:
        self._document = document
        self.used: set[str] = set()

    @property
    def _known(self) -> dict[str, Any]:
        data = self._document.data if self._document is not None else None
        found = data.get("fragments") if isinstance(data, dict) else None
        return found if isinstance(found, dict) else {}

    def expand(self, root: yaml.Node, file: str) -> yaml.Node:
        """A template with the operations of its fragments in their places. Raises ConfigError."""
        if isinstance(root, yaml.MappingNode):
            pairs = [
                (key, self.expand(value, file) if key.value == "operations" else value)
                for key, value in root.value
            ]
            return yaml.MappingNode(root.tag, pairs, root.start_mark, root.end_mark)
        if not isinstance(root, yaml.SequenceNode) or not any(_names(item) for item in root.value):
            return root
        made: list[yaml.Node] = []
        for item in self._items(root, file, ()):
            made.append(item)
            if len(made) > MOST:
                raise _error(root, file, f"fragments give more than {MOST} operations", "yaml.size")
        return yaml.SequenceNode(root.tag, made, root.start_mark, root.end_mark)

    def _items(self, found: yaml.Node, file: str, inside: tuple[str, ...]) -> Iterator[yaml.Node]:
        for item in found.value if isinstance(found, yaml.SequenceNode) else [found]:
            names = _names(item)
            if names is None:
                yield item
            for name in names or ():
                text = name.value if isinstance(name, yaml.ScalarNode) else ""
                if text in inside:
                    chain = " → ".join([*inside[inside.index(text) :], text])
                    raise _error(name, file, f"these fragments contain each other: {chain}", "fragment.cycle")
                yield from self._items(self._fragment(text, name, file), file, (*inside, text))

    def _fragment(self, text: str, name: yaml.Node, file: str) -> yaml.Node:
        if self._document is None or self._known.get(text) is None:
            todo = did_you_mean(text, self._known) or "Declare it under `fragments:` of the channel file."
            raise _error(name, file, f"there is no fragment {text!r}", "fragment.unknown", todo)
        self.used.add(text)
        where = ("fragments", text)
        root = yamlnodes.represent(self._known[text], ".".join(where))
        _mark(root, where, self._document)
        if not isinstance(root, (yaml.SequenceNode, yaml.MappingNode)):
            raise _error(
                name, file, f"the fragment {text!r} is no operation and no list of them", "fragment.kind"
            )
        return root


def _names(item: yaml.Node) -> list[yaml.Node] | None:
    """What `use: name` or `use: [name, name]` names; None when it is something else."""
    if not isinstance(item, yaml.MappingNode) or [key.value for key, _ in item.value] != ["use"]:
        return None
    ((_, named),) = item.value
    return named.value if isinstance(named, yaml.SequenceNode) else [named]


def _mark(node: yaml.Node, at: Where, document: Document) -> None:
    """Tell a node, and all that is in it, where it is written."""
    _place(node, document.mark(at))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _place(key, document.mark((*at, key.value), key=True))
            _mark(value, (*at, key.value), document)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _mark(item, (*at, index), document)


def _place(node: yaml.Node, mark: Mark) -> None:
    node.file = mark.file  # type: ignore[attr-defined]
    node.start_mark = node.end_mark = yaml.Mark(mark.file, 0, mark.line - 1, mark.column - 1, None, 0)


def _error(node: yaml.Node, file: str, what: str, code: str, todo: str = "") -> ConfigError:
    return ConfigError(what, code=code, where=yamlnodes.place(node, file), todo=todo)
