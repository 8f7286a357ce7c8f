"""What an expression or a text template mentions, each with its offset: names, paths, tables, filters, events.

Guarantees: one parse finds all of it; what is wrong with the text itself is in `faults`. Refuses nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from jinja2 import TemplateSyntaxError, nodes

from channels.lint import entities
from channels.lint.placing import Offsets
from engine.spec.document import did_you_mean
from engine.spec.expressions import RESERVED

GUARDS = frozenset({"default", "d", "default_absent", "first_of"})
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}")
_ELSEWHERE = {  # what other languages write
    "got '='|got 'assign'": "Write `==` to compare.",
    "char '&'": "Write `and`.",
    r"char '\|'|got '\|'|got 'pipe'": "Write `or`.",
    "char '!'": "Write `not`.",
    r"char '\?'|char '`'|got ';'": "Write `a if condition else b`.",
}
AS_TEXT = "this is a text as it stands, and looks like an expression"
_CODE = re.compile(r"\s*(msg\[['\"]|msg\.all\(|events?\.\w|vars\.\w|(lookup|table)\(['\"])")
_UNEXPECTED = re.compile(r"unexpected char .* at (\d+)")


class Spot(NamedTuple):
    """A word of a text, and its offset."""

    text: str
    offset: int


class Fault(NamedTuple):
    """What is wrong at an offset."""

    code: str
    offset: int
    text: str
    hint: str = ""
    severity: str = "error"


@dataclass
class Reading:
    """What a text mentions."""

    names: list[Spot] = field(default_factory=list)  # taken from outside, not asked for with `is defined`
    paths: list[Spot] = field(default_factory=list)  # in msg[...] and msg.all(...)
    tables: list[Spot] = field(default_factory=list)
    loads: frozenset[str] = frozenset()  # every name that is read, asked for or not
    any_table: bool = False  # a table's name is only known when it runs
    faults: list[Fault] = field(default_factory=list)
    kind: entities.Kind = None  # of the one value that an expression gives


def looks_like_code(text: str) -> bool:
    """Whether somebody forgot the braces around an expression."""
    return "{{" not in text and "{%" not in text and _CODE.match(text) is not None


def read(env: Offsets, source: str, *, text: bool, known: dict[str, entities.Kind] | None = None) -> Reading:
    """Read an expression, or with `text` a template; `known` are local names and what they are."""
    reading = Reading()
    given, shift = source, 0
    if not text:
        bare = source.strip()
        start = source.find(bare)
        if bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1:
            inner = bare[2:-2].strip()
            start, bare = source.find(inner, start + 2), inner
        given, shift = "{{ (" + bare + "\n) }}", start - 4
    try:
        tree = env.parse(given)
    except TemplateSyntaxError as error:
        found = _UNEXPECTED.search(str(error.message))
        brackets = "', expected '" in str(error.message)  # the lexer's own error has no offset
        offset = int(found[1]) if found else len(given) if brackets else error.lineno
        what = str(error.message).partition(" at ")[0].partition(". Jinja")[0].rstrip(".")
        if offset + shift >= len(source.rstrip()) or "nexpected end of template" in what:
            offset, what = len(source.rstrip()) - 1 - shift, "it ends too early"
        hint = next((todo for wrong, todo in _ELSEWHERE.items() if re.search(wrong, what)), "")
        told = f"cannot read this: {what}"
        reading.faults.append(_fault("expression.syntax", offset, shift, source, told, hint))
        return reading
    except (ValueError, OverflowError, RecursionError):
        reading.faults.append(
            Fault("expression.syntax", 0, "this is nested too deeply, or a number too long")
        )
        return reading
    if not text and not (len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output)):
        reading.faults.append(
            Fault("expression.syntax", 0, "this is not one expression", "Write it without braces.")
        )
        return reading
    walker = _Walker(env, reading, shift, source, known or {})
    walker.walk(tree)
    walker.undeclared()
    if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) and len(tree.body[0].nodes) == 1:
        reading.kind = walker.kinds.of(tree.body[0].nodes[0])
    return reading


def _fault(code: str, offset: int, shift: int, source: str, text: str, hint: str = "") -> Fault:
    return Fault(code, max(0, min(offset + shift, max(len(source) - 1, 0))), text, hint)


class _Walker:
    """Goes through one tree."""

    def __init__(
        self, env: Offsets, reading: Reading, shift: int, source: str, known: dict[str, entities.Kind]
    ) -> None:
        self.env = env
        self.reading = reading
        self.shift = shift
        self.source = source
        self.known = known
        self.kinds = entities.Kinds(known, self.attribute)
        self.guarded: set[str] = set()
        self.loads: list[Spot] = []
        self.stored: set[str] = set()

    def fault(self, code: str, node: nodes.Node, text: str, hint: str = "", past: int = 0) -> None:
        self.reading.faults.append(_fault(code, node.lineno + past, self.shift, self.source, text, hint))

    def spot(self, node: nodes.Node, text: str) -> Spot:
        return Spot(text, max(0, node.lineno + self.shift))

    def attribute(self, node: nodes.Getattr, what: str, options: set[str]) -> None:
        told = f"{what} has no {node.attr!r}"
        self.fault("event.attribute", node, told, did_you_mean(node.attr, options), 1)

    def walk(self, node: nodes.Node) -> None:
        if isinstance(node, nodes.For):
            self.kinds.loop(node)
        elif isinstance(node, nodes.Assign):
            self.kinds.assign(node)
        for child in node.iter_child_nodes():
            self.walk(child)
        visit = getattr(self, f"see_{type(node).__name__}", None)
        if visit is not None:
            visit(node)

    def see_Name(self, node: nodes.Name) -> None:
        if node.ctx == "load":
            self.loads.append(self.spot(node, node.name))
        else:
            self.stored.add(node.name)

    def see_Macro(self, node: nodes.Macro) -> None:
        self.stored.add(node.name)

    def see_Getattr(self, node: nodes.Getattr) -> None:
        if _is_msg(node.node) and _SEGMENT.fullmatch(node.attr):
            told = f"a message has no {node.attr!r}: its places are named by paths"
            self.fault("hl7.path", node, told, f"Write msg['{node.attr}-…'], such as msg['PID-3.1'].", 1)
        self.kinds.of(node)

    def see_Test(self, node: nodes.Test) -> None:
        if node.name in ("defined", "undefined") and isinstance(node.node, nodes.Name):
            self.guarded.add(node.node.name)
        if node.name not in self.env.tests:
            hint = did_you_mean(node.name, self.env.tests)
            at = self.source.find(node.name, max(0, node.lineno + self.shift)) - self.shift
            self.fault("expression.test", node, f"there is no test {node.name!r}", hint, at - node.lineno)

    def see_Filter(self, node: nodes.Filter) -> None:
        if node.name in GUARDS and isinstance(node.node, nodes.Name):
            self.guarded.add(node.node.name)
        if node.name not in self.env.filters:
            known = [name for name in self.env.filters if not name.startswith("_")]
            self.fault(
                "expression.filter", node, f"there is no filter {node.name!r}", did_you_mean(node.name, known)
            )
        if node.name == "table":
            self.table(node.args)

    def see_Getitem(self, node: nodes.Getitem) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name == "msg":
            self.path(node.arg)
            if isinstance(node.arg, nodes.Sub) and isinstance(node.arg.left, nodes.Name):
                segment = node.arg.left.name
                self.guarded.add(segment)
                self.fault("hl7.path", node.arg.left, "a path stands in quotes", f"Write msg['{segment}-…'].")

    def see_Call(self, node: nodes.Call) -> None:
        if isinstance(node.node, nodes.Name) and node.node.name == "table":
            self.table(node.args)
        called = node.node
        if isinstance(called, nodes.Getattr) and called.attr == "all" and _is_msg(called.node):
            for argument in node.args[:1]:
                self.path(argument)

    def see_Compare(self, node: nodes.Compare) -> None:
        if not isinstance(node.expr, nodes.Getattr) or self.kinds.of(node.expr.node) is not entities.EVENT:
            return
        known = entities.words(node.expr.attr)
        constants: list[nodes.Expr] = []
        for operand in node.ops:
            inside = operand.expr
            constants += inside.items if isinstance(inside, (nodes.Tuple, nodes.List)) else [inside]
        for item in constants if known else ():
            if isinstance(item, nodes.Const) and isinstance(item.value, str) and item.value not in known:
                text = f"no event has the {node.expr.attr} {item.value!r}"
                self.fault("event.unknown", item, text, did_you_mean(item.value, known))
                self.reading.faults[-1] = self.reading.faults[-1]._replace(severity="warning")

    def path(self, node: nodes.Expr) -> None:
        if isinstance(node, nodes.Const) and isinstance(node.value, str):
            at = self.spot(node, node.value)
            self.reading.paths.append(Spot(at.text, at.offset + 1))  # inside the quotes

    def table(self, arguments: list[nodes.Expr]) -> None:
        if arguments and isinstance(arguments[0], nodes.Const):
            at = self.spot(arguments[0], str(arguments[0].value))
            self.reading.tables.append(Spot(at.text, at.offset + 1))
        else:
            self.reading.any_table = True

    def undeclared(self) -> None:
        """The names that come from outside and are not known by themselves."""
        inside = RESERVED | self.env.globals.keys() | self.guarded | self.known.keys() | self.stored
        seen: set[str] = set()
        self.reading.loads = frozenset(spot.text for spot in self.loads)
        for spot in sorted(self.loads, key=lambda one: one.offset):
            if spot.text not in inside and spot.text not in seen:
                seen.add(spot.text)
                self.reading.names.append(spot)


def _is_msg(node: nodes.Expr) -> bool:
    return isinstance(node, nodes.Name) and node.name == "msg"
