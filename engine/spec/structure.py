"""From the YAML nodes of a template to one Jinja syntax tree.

Every leaf gets a number, which is its line number in the tree; `places[number]` is its file:line:column, so
that a fault at run time leads back to the leaf. Each operation becomes one output `(number, key, settings)`,
inside its `for`, `let` and `when`.

Grammar of an operation: one verb with a model, `key`, the settings of `VERBS`, and `when`, `for`, `let`.
A template is a list of operations, or `{let: {...}, operations: [...]}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml
from jinja2 import nodes

from engine.errors import ConfigError
from engine.spec import yamlnodes
from engine.spec.document import did_you_mean
from engine.spec.expressions import RESERVED, given, parse_expression, parse_text
from engine.spec.sandbox import Environment

VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # verb: (needed, allowed) besides `key`
    "upsert": (("values",), ()),
    "write": (("values",), ()),
    "archive": ((), ()),
    "merge": (("retired",), ()),
    "call": (("method",), ("args", "kwargs", "unless")),
}
FLOW = ("when", "for", "let")
MAPPINGS = frozenset({"values", "kwargs", "unless"})
_FOR = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s+in\s+(\S.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MODEL = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


@dataclass(frozen=True)
class Spec:
    """What is fixed of an operation: its verb, its model and its place."""

    verb: str
    model: str
    where: str
    node: yaml.Node  # as it is written


class Leaf(NamedTuple):
    """A value as it is written in an operation: its path there, its place and its text."""

    path: tuple[str | int, ...]
    where: str
    text: str


def leaves(spec: Spec, file: str) -> list[Leaf]:
    """Every value that an operation writes down, in order; mappings and lists are opened."""
    found: list[Leaf] = []

    def walk(node: yaml.Node, path: tuple[str | int, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            for name, (_, value) in yamlnodes.items(node, file).items():
                walk(value, (*path, name))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                walk(item, (*path, index))
        else:
            found.append(Leaf(path, yamlnodes.place(node, file), str(node.value)))

    walk(spec.node, ())
    return found


class Builder:
    """Builds the tree of one template."""

    def __init__(self, env: Environment, file: str) -> None:
        self.env = env
        self.file = file
        self.places = [file]
        self.specs: list[Spec] = []
        self._blocks: list[nodes.Node] = []  # statements that a leaf needs before its operation

    def build(self, root: yaml.Node) -> tuple[list[nodes.Node], list[Spec], list[str]]:
        """The body of the program, the operations, and the places by leaf number."""
        lets: list[nodes.Node] = []
        if isinstance(root, yaml.MappingNode):
            entries = yamlnodes.items(root, self.file)
            self._only(entries, ("let", "operations"), "a template")
            if "let" in entries:
                lets = self._lets(entries["let"][1])
            if "operations" not in entries:
                raise self._error(root, "the template has no `operations`", "template.empty")
            root = entries["operations"][1]
        if not isinstance(root, yaml.SequenceNode):
            raise self._error(root, "a template is a list of operations", "template.list")
        body: list[nodes.Node] = []
        for node in root.value:
            body.append(nodes.Scope(self._operation(node), lineno=len(self.places) - 1))
        return [nodes.Scope([*lets, *body], lineno=1)], self.specs, self.places

    def build_value(self, node: yaml.Node) -> tuple[list[nodes.Node], list[str]]:
        """The body of a program that gives one value, and the places by leaf number."""
        self._line(node)
        result = self.value(node)
        output = nodes.Output([result], lineno=1)
        return [nodes.Scope([*self._blocks, output], lineno=1)], self.places

    def _operation(self, node: yaml.Node) -> list[nodes.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(
                node, "an operation is a mapping like `upsert: res.partner`", "template.operation"
            )
        entries = yamlnodes.items(node, self.file)
        verb = self._verb(node, entries)
        needed, allowed = VERBS[verb]
        self._only(entries, (verb, "key", *needed, *allowed, *FLOW), f"`{verb}`")
        for name in ("key", *needed):
            if name not in entries:
                raise self._error(node, f"this {verb} has no `{name}`", "template.missing")
        model_node = entries[verb][1]
        model = model_node.value if isinstance(model_node, yaml.ScalarNode) else ""
        if not _MODEL.fullmatch(model):
            raise self._error(
                model_node, f"`{verb}` wants the name of a model, like res.partner", "template.model"
            )
        number = len(self.specs)
        self.specs.append(Spec(verb, model, yamlnodes.place(node, self.file), node))
        line = self._line(node)
        self._blocks = []
        key = self._leaf(entries["key"][1], "_key")
        pairs = [
            nodes.Pair(
                nodes.Const(name), self._setting(name, entries[name][1]), lineno=self._line(entries[name][1])
            )
            for name in (*needed, *allowed)
            if name in entries
        ]
        row = nodes.Tuple([nodes.Const(number), key, nodes.Dict(pairs, lineno=line)], "load", lineno=line)
        body: list[nodes.Node] = [*self._blocks, nodes.Output([row], lineno=line)]
        if "when" in entries:
            body = [nodes.If(self._expression(entries["when"][1]), body, [], [], lineno=line)]
        if "let" in entries:
            body = [*self._lets(entries["let"][1]), *body]
        return [self._loop(entries["for"][1], body)] if "for" in entries else body

    def _verb(self, node: yaml.Node, entries: dict[str, Any]) -> str:
        found = [name for name in entries if name in VERBS]
        if len(found) == 1:
            return found[0]
        if found:
            raise self._error(node, f"an operation has one verb, not {' and '.join(found)}", "template.verb")
        known = {name for needed, allowed in VERBS.values() for name in (*needed, *allowed)} | {"key", *FLOW}
        for name, (key, _) in entries.items():
            if name not in known:
                raise self._error(
                    key, f"there is no verb {name!r}", "template.verb", did_you_mean(name, VERBS)
                )
        raise self._error(
            node, "this operation has no verb", "template.verb", f"The verbs are {', '.join(VERBS)}."
        )

    def _loop(self, node: yaml.Node, body: list[nodes.Node]) -> nodes.Node:
        found = _FOR.fullmatch(node.value) if isinstance(node, yaml.ScalarNode) else None
        if found is None:
            raise self._error(node, "`for` is written `for: name in expression`", "template.for")
        name = self._free_name(node, found[1])
        items = self._parse(node, found[2])
        return nodes.For(
            nodes.Name(name, "store"), items, [nodes.Scope(body)], [], None, False, lineno=self._line(node)
        )

    def _lets(self, node: yaml.Node) -> list[nodes.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self._error(node, "`let` is a mapping of name to value", "template.let")
        outer, self._blocks = self._blocks, []
        result: list[nodes.Node] = []
        for name, (key, value) in yamlnodes.items(node, self.file).items():
            target = nodes.Name(self._free_name(key, name), "store", lineno=self._line(key))
            leaf = self.value(value)
            result += [*self._blocks, nodes.Assign(target, leaf, lineno=self._line(value))]
            self._blocks = []
        self._blocks = outer
        return result

    def _free_name(self, node: yaml.Node, name: str) -> str:
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise self._error(node, f"{name!r} cannot be the name of a variable", "template.name")
        return name

    def _setting(self, name: str, node: yaml.Node) -> nodes.Expr:
        if name in MAPPINGS and not isinstance(node, yaml.MappingNode):
            raise self._error(node, f"`{name}` is a mapping of field to value", "template.mapping")
        if name == "method" and not (isinstance(node, yaml.ScalarNode) and _NAME.fullmatch(node.value)):
            raise self._error(node, "`method` wants the name of a public method", "template.method")
        return self.value(node, "_key" if name == "retired" else "_text")

    def value(self, node: yaml.Node, joined: str = "_text") -> nodes.Expr:
        """The expression of a value with its leaves; `joined` says how text of several parts is made."""
        line = self._line(node)
        if isinstance(node, yaml.MappingNode):
            pairs = [
                nodes.Pair(
                    nodes.Const(name),
                    self.value(value, "_key" if name == "key" else joined),
                    lineno=self._line(value),
                )
                for name, (_, value) in yamlnodes.items(node, self.file).items()
            ]
            return nodes.Dict(pairs, lineno=line)
        if isinstance(node, yaml.SequenceNode):
            return nodes.List([self.value(item, joined) for item in node.value], lineno=line)
        return self._leaf(node, joined)

    def _leaf(self, node: yaml.Node, joined: str = "_text") -> nodes.Expr:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "this must be a text", "template.text")
        value = yamlnodes.scalar(node, self.file)
        if value is None:
            return nodes.Name("CLEAR", "load")
        if not isinstance(value, str):
            return nodes.Const(value if isinstance(value, (bool, int, float)) else value.isoformat())
        if not value:
            raise self._error(
                node, "an empty text says nothing", "template.empty_text", "write null to empty the field"
            )
        if "{{" not in value and "{%" not in value and "{#" not in value:
            return nodes.Const(value)
        return self._text(node, value, joined)

    def _text(self, node: yaml.Node, source: str, joined: str) -> nodes.Expr:
        line = self._line(node)
        body = parse_text(self.env, source, self.places[line]).body
        for item in body:
            _renumber(item, line)
        if not all(isinstance(item, nodes.Output) for item in body):
            name = f"_leaf_{line}"  # statements: the text is made before the operation
            self._blocks.append(nodes.AssignBlock(nodes.Name(name, "store"), None, body, lineno=line))
            return nodes.Name(name, "load", lineno=line)
        parts: list[nodes.Expr] = [part for item in body for part in item.nodes]  # type: ignore[attr-defined]
        if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData):
            return given(parts[0])
        pieces, found = [""], []
        for part in parts:
            if isinstance(part, nodes.TemplateData):
                pieces[-1] += part.data
            else:
                found.append(part)
                pieces.append("")
        if not found:
            return nodes.Const(pieces[0]) if pieces[0] else nodes.Name("ABSENT", "load")
        inner = nodes.Tuple(found, "load", lineno=line)
        return nodes.Filter(inner, joined, [nodes.Const(tuple(pieces))], [], None, None, lineno=line)

    def _expression(self, node: yaml.Node) -> nodes.Expr:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "this must be an expression", "template.expression")
        if node.tag != "tag:yaml.org,2002:str":
            return nodes.Const(yamlnodes.scalar(node, self.file))
        return self._parse(node, node.value)

    def _parse(self, node: yaml.Node, source: str) -> nodes.Expr:
        line = self._line(node)
        expression = parse_expression(self.env, source, self.places[line])
        _renumber(expression, line)
        return expression

    def _line(self, node: yaml.Node) -> int:
        self.places.append(yamlnodes.place(node, self.file))
        return len(self.places) - 1

    def _only(self, entries: dict[str, Any], known: tuple[str, ...], what: str) -> None:
        for name, (key, _) in entries.items():
            if name not in known:
                raise self._error(
                    key, f"{what} has no setting {name!r}", "template.setting", did_you_mean(name, known)
                )

    def _error(self, node: yaml.Node, what: str, code: str, todo: str = "") -> ConfigError:
        return ConfigError(what, code=code, where=yamlnodes.place(node, self.file), todo=todo)


def _renumber(node: nodes.Node, line: int) -> None:
    """Give a leaf's whole tree the leaf's number."""
    node.set_lineno(line, override=True)
