"""A template of Odoo operations as lint sees it: every leaf read, with its place, and every operation.

Guarantees: a mistake in one operation does not hide those of the others; names that `let` and `for` give are
known inside. Refuses nothing: what is wrong is in `problems`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from jinja2 import nodes

from channels.lint import entities
from channels.lint.placing import Offsets, Written
from channels.lint.reading import AS_TEXT, Reading, looks_like_code, read
from engine.errors import ConfigError
from engine.spec import structure, yamlnodes
from engine.spec.channel import Configuration
from engine.spec.document import Mark, Problem, Where
from engine.spec.files import Files
from engine.spec.template import nodes_of

_FOR = re.compile(r"(\s*([A-Za-z][A-Za-z0-9_]*)\s+in\s+)(\S.*)", re.DOTALL)
Node = yaml.Node


class Entry(NamedTuple):
    """A field of an operation."""

    name: str
    key: Mark
    node: Node
    mark: Mark


@dataclass
class Asked:
    """One operation."""

    verb: str
    model: str
    mark: Mark  # of the model
    when: str = ""
    at: Mark | None = None  # of `when`
    lets: dict[str, str] = field(default_factory=dict)  # names for it, also those of the whole template
    values: list[Entry] = field(default_factory=list)
    unless: list[Entry] = field(default_factory=list)


@dataclass
class Sheet:
    """A template."""

    problems: list[Problem] = field(default_factory=list)
    readings: list[tuple[Written, Reading]] = field(default_factory=list)
    operations: list[Asked] = field(default_factory=list)
    place: Any = None  # node → Mark
    shared: bool = False  # comes with Isthmus: made for more messages than one channel has


def sheet_of_file(
    env: Offsets, configuration: Configuration, path: Path, preset: Path | None = None
) -> Sheet:
    """A template file as a preset changes it. Each is read once."""
    name, files = _short(path), configuration.files
    try:
        node = nodes_of(path, preset, files, configuration.fragments, name, _short(preset) if preset else "")
    except ConfigError as error:
        return Sheet([_problem(error, Mark(error.where or name, 1, 1))])

    def place(found: Node) -> Mark:
        mark = found.start_mark
        return Mark(getattr(found, "file", name), mark.line + 1, mark.column + 1)

    return _Reader(env, files, place).run(node, name)


def _short(path: Path) -> str:
    """The path as people write it: from here, where that is possible."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def sheet_of_data(env: Offsets, configuration: Configuration, where: Where, data: Any) -> Sheet:
    """`operations:` in the channel file."""
    document = configuration.document
    root = yamlnodes.represent(data, "operations")
    marks: dict[int, Mark] = {}

    def note(node: Node, at: Where) -> None:
        marks.setdefault(id(node), document.mark(at))
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                marks[id(key)] = document.mark((*at, key.value), key=True)
                note(value, (*at, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                note(item, (*at, index))

    note(root, where)
    start = document.mark(where)
    return _Reader(env, configuration.files, lambda node: marks.get(id(node), start)).run(root, str(start))


def _problem(error: ConfigError, otherwise: Mark) -> Problem:
    parts = error.where.rsplit(":", 2)
    mark = otherwise
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        mark = Mark(parts[0], int(parts[1]), int(parts[2]))
    return Problem(error.code, mark, error.what, error.todo)


class _Reader:
    """Reads one template."""

    def __init__(self, env: Offsets, files: Files, place: Any) -> None:
        self.env = env
        self.files = files
        self.place = place
        self.sheet = Sheet(place=place)
        self.given: dict[str, str] = {}

    def run(self, root: Node, name: str) -> Sheet:
        self.grammar(root, name)
        known: dict[str, entities.Kind] = {}
        if isinstance(root, yaml.MappingNode):
            entries = _entries(root)
            self.given = _texts(entries.get("let"))
            self.lets(entries.get("let"), known)
            root = entries.get("operations", (root, root))[1]
        for node in root.value if isinstance(root, yaml.SequenceNode) else ():
            if isinstance(node, yaml.MappingNode):
                self.operation(node, dict(known))
        return self.sheet

    def grammar(self, root: Node, name: str) -> None:
        """What the grammar refuses, operation by operation; the texts inside are read below."""
        whole = isinstance(root, yaml.SequenceNode)
        for node in root.value if whole else [root]:
            part = yaml.SequenceNode(root.tag, [node], root.start_mark, root.end_mark) if whole else root
            builder = _Grammar(self.env, name)
            builder.mark = self.place
            try:
                builder.build(part)
            except ConfigError as error:
                found = _problem(error, self.place(node))
                if found.code != "expression.syntax":
                    at = builder.wrong if builder.wrong is not None else found.mark
                    self.sheet.problems.append(Problem(found.code, at, found.text, _sentence(found.hint)))

    def operation(self, node: yaml.MappingNode, known: dict[str, entities.Kind]) -> None:
        entries = _entries(node)
        if "for" in entries:
            self.loop(entries["for"][1], known)
        self.lets(entries.get("let"), known)
        if "when" in entries:
            self.text(entries["when"][1], known, expression=True)
        verb = next((name for name in entries if name in structure.VERBS), "")
        asked = Asked(verb, _scalar(entries[verb][1]), self.place(entries[verb][1])) if verb else None
        for name, (_, value) in entries.items():
            if name not in ("for", "let", "when", verb):
                self.leaves(value, known)
            if asked is not None and name == "when":
                asked.when, asked.at = _scalar(value), self.place(value)
                asked.lets = {**self.given, **_texts(entries.get("let"))}
                if "for" in entries and (found := _FOR.fullmatch(_scalar(entries["for"][1]))):
                    asked.lets[found[2]] = ""
            if asked is not None and name in ("values", "unless") and isinstance(value, yaml.MappingNode):
                listed = asked.values if name == "values" else asked.unless
                listed += [
                    Entry(field, self.place(key), item, self.place(item))
                    for field, (key, item) in _entries(value).items()
                ]
        if asked is not None:
            self.sheet.operations.append(asked)

    def loop(self, node: Node, known: dict[str, entities.Kind]) -> None:
        found = _FOR.fullmatch(_scalar(node))
        if found is None:
            return
        reading = self.text(node, known, expression=True, start=len(found[1]))
        kind = reading.kind if reading else None
        known[found[2]] = entities.entity(get_args(kind)[0]) if get_origin(kind) is list else None

    def lets(self, entry: tuple[Node, Node] | None, known: dict[str, entities.Kind]) -> None:
        if entry is None or not isinstance(entry[1], yaml.MappingNode):
            return
        for name, (_, value) in _entries(entry[1]).items():
            kind: entities.Kind = None
            if isinstance(value, yaml.ScalarNode):
                reading = self.text(value, known)
                kind = reading.kind if reading else None
            else:
                self.leaves(value, known)
            known[name] = kind

    def leaves(self, node: Node, known: dict[str, entities.Kind]) -> None:
        if isinstance(node, yaml.MappingNode):
            for _, value in node.value:
                self.leaves(value, known)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self.leaves(item, known)
        else:
            self.text(node, known)

    def text(
        self, node: Node, known: dict[str, entities.Kind], *, expression: bool = False, start: int = 0
    ) -> Reading | None:
        whole = _scalar(node)
        source = whole[start:]
        if not expression and "{{" not in source and "{%" not in source:
            if looks_like_code(source):
                hint = f'Write "{{{{ {source} }}}}".'
                self.sheet.problems.append(
                    Problem("expression.text", self.place(node), AS_TEXT, hint, "warning")
                )
            return None
        reading = read(self.env, source, text=not expression, known=known)
        _shift(reading, start)
        self.sheet.readings.append((Written(whole, self.place(node), self.files), reading))
        return reading


class _Grammar(structure.Builder):
    """The builder of templates, for what it refuses: it knows where."""

    mark: Any = None
    wrong: Mark | None = None

    def _text(self, node: Node, source: str, joined: str) -> nodes.Expr:
        return nodes.Const("")  # the texts are read once, by themselves

    def _parse(self, node: Node, source: str) -> nodes.Expr:
        return nodes.Const("")

    def _error(self, node: Node, what: str, code: str, todo: str = "") -> ConfigError:
        self.wrong = self.mark(node)
        return super()._error(node, what, code, todo)


def _shift(reading: Reading, start: int) -> None:
    if start:
        for name in ("names", "paths", "tables", "faults"):
            listed = getattr(reading, name)
            listed[:] = [one._replace(offset=one.offset + start) for one in listed]


def _entries(node: yaml.MappingNode) -> dict[str, tuple[Node, Node]]:
    return {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def _texts(entry: tuple[Node, Node] | None) -> dict[str, str]:
    """What `let` gives, as text."""
    if entry is None or not isinstance(entry[1], yaml.MappingNode):
        return {}
    return {name: _scalar(value) for name, (_, value) in _entries(entry[1]).items()}


def _scalar(node: Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('?', '.')) else '.'}" if text else ""
