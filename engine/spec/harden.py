"""Syntax trees of Jinja, made safe to run, or only looked at.

Guarantees: loops and texts are bounded at run time (`engine.spec.sandbox`), an `if` without `else` gives ABSENT; what
`Look` lets pass can be compiled, unless it is nested deeper than DEEP. Refuses, with ConfigError: blocks, includes and
imports; with TemplateSyntaxError (Look): filters and tests that are not there.
"""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.visitor import NodeTransformer

from engine.errors import ConfigError
from engine.spec import sandbox

DEEP = 40  # levels of a syntax tree
_REFUSED = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block)


class Harden(NodeTransformer):
    """Makes a parsed tree safe to run: bounded loops and text, ABSENT for an `if` without `else`."""

    def __init__(self, where: str) -> None:
        self.where = where

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """A node with what is in it, made safe."""
        if isinstance(node, _REFUSED):
            raise ConfigError(
                f"{type(node).__name__.lower()} is not available in a template",
                code="expression.refused",
                where=self.where,
            )
        node = super().generic_visit(node, *args, **kwargs)
        line = node.lineno
        if isinstance(node, nodes.CondExpr) and node.expr2 is None:
            node.expr2 = nodes.Name("ABSENT", "load", lineno=line)
        elif isinstance(node, nodes.For):
            node.iter = nodes.Filter(node.iter, "_loop", [], [], None, None, lineno=line)
        elif isinstance(node, nodes.Concat):
            parts = nodes.Tuple(node.nodes, "load", lineno=line)
            return nodes.Filter(parts, "_concat", [], [], None, None, lineno=line)
        return node


class Look(Harden):
    """For who only looks: what compiling would refuse, at a tenth of its price."""

    def __init__(self, where: str, env: sandbox.Environment) -> None:
        super().__init__(where)
        self.env = env
        self.tables: set[str] = set()
        self.depth = self.deepest = 0

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """A node with what is in it, looked at and made safe."""
        if isinstance(node, (nodes.Filter, nodes.Test)):
            known, kind = (
                (self.env.filters, "filter") if isinstance(node, nodes.Filter) else (self.env.tests, "test")
            )
            if node.name not in known:
                raise TemplateSyntaxError(f"No {kind} named {node.name!r}.", node.lineno)
            if node.name == "table":
                self.tables |= texts(node.args[:1])
        elif isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name == "table":
            self.tables |= texts(node.args[:1])
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        node = super().generic_visit(node, *args, **kwargs)
        self.depth -= 1
        return node


def texts(found: list[nodes.Expr]) -> set[str]:
    """The constant texts among expressions."""
    return {item.value for item in found if isinstance(item, nodes.Const) and isinstance(item.value, str)}
