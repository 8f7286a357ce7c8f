"""What can never happen: filters, steps and operations behind a `message_type` filter that keeps their messages out.

A message type of HL7 v2 decides which canonical events there can be; so a condition over `message.type`, MSH-9.1,
MSH-9.2, `event.type`, `event.kind` and `event.action` is tried for every type that can come. Guarantees: what is told
is false for each of them, whatever else a message holds (all else is unknown: neither true nor false); after a step
that may write MSH-9, or a Python function, only `message.type` is known. Refuses nothing: without a `message_type`
filter that allows, in another format, or where the outcome is open, nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateSyntaxError, nodes

from engine.hl7.events import EVENTS
from engine.spec import sandbox
from engine.spec.channel import Bound
from engine.spec.meaning import found_in
from transforms.canonical.from_hl7 import types

SHOWN = 5
UNKNOWN: Any = object()
_ABOUT = re.compile(r"MSH-9|message\.type|\bevents?\b")
_MESSAGE = {"MSH-9.1": "code", "MSH-9.2": "trigger", "MSH-9.1.1": "code", "MSH-9.2.1": "trigger"}


class Case(NamedTuple):
    """A message that may come, and one of its events; `trigger` "" is any that has no name here."""

    code: str
    trigger: str
    event: str | None
    sure: bool = True  # whether the message still says so itself, and has these events

    @property
    def type(self) -> Any:
        """`message.type`."""
        return f"{self.code}^{self.trigger}" if self.trigger else UNKNOWN


Cases = frozenset[Case]
"""What may come to a step; where nobody knows, it is None."""


def through(bound: Bound, cases: Cases | None) -> Cases | None:
    """What is left behind a `message_type` filter; None: not known, so that it may be anything."""
    allow = [name.removesuffix("^*") for name in getattr(bound.settings, "allow", ())]
    deny = {name.removesuffix("^*") for name in getattr(bound.settings, "deny", ())}
    if cases is None and not allow:
        return None
    if cases is None:
        cases = frozenset(_expanded(allow))
    return frozenset(
        one
        for one in cases
        if not deny & _names(one) and (not allow or any(_fits(one, name) for name in allow))
    )


def never(bound: Bound, cases: Cases) -> list[int]:
    """Positions in `allow` of types that do not come to this filter."""
    allow = [name.removesuffix("^*") for name in getattr(bound.settings, "allow", ())]
    return [index for index, name in enumerate(allow) if not any(_fits(one, name) for one in cases)]


def _fits(case: Case, name: str) -> bool:
    """Whether a pattern may let it pass."""
    code, _, trigger = name.partition("^")
    if code != case.code or not trigger or trigger == case.trigger:
        return code == case.code
    return not case.trigger and trigger not in EVENTS.get(code, ())


def _names(case: Case) -> set[str]:
    return {case.code, case.type} if case.trigger else {case.code}


def _expanded(patterns: Iterable[str]) -> Iterator[Case]:
    for name in patterns:
        code, _, trigger = name.partition("^")
        for one in (trigger,) if trigger else (*EVENTS.get(code, ()), ""):
            for event in (*types(code, one), None):
                yield Case(code, one, event)


def after(bound: Bound, cases: Cases | None) -> Cases | None:
    """What is known behind a transformer."""
    if not cases:
        return cases
    writes = bound.settings.sets_any or any(
        isinstance(one.value, str) and one.value.startswith(("MSH-9", "MSH.message_type"))
        for one in found_in(bound.settings)
        if one.what == "path"
    )
    return frozenset(one._replace(sure=False) for one in cases) if writes else cases


def told(cases: Iterable[Case]) -> str:
    """`only ADT^A01 and ADT^A04 come here`."""
    by_code: dict[str, set[str]] = {}
    for one in cases:
        by_code.setdefault(one.code, set()).add(one.trigger)
    names = []
    for code, triggers in sorted(by_code.items()):
        names += [code] if "" in triggers else [f"{code}^{one}" for one in sorted(triggers)]
    if not names:
        return "nothing comes here"
    listed, more = names[:SHOWN], len(names) - SHOWN
    text = ", ".join(listed) + (f" and {more} more" if more > 0 else "")
    return f"only {text} come{'s' if len(names) == 1 else ''} here"


def possible(source: str, cases: Cases | None, lets: Mapping[str, str] | None = None) -> Cases | None:
    """The cases for which an expression is true, or may be."""
    if not cases or not (_ABOUT.search(source) or lets):
        return cases
    tree = _parsed(source)
    if tree is None:
        return cases
    return frozenset(one for one in cases if _Try(one, lets or {}).truth(tree) is not False)


_plain = sandbox.Environment()


@lru_cache(maxsize=4096)
def _parsed(source: str) -> nodes.Expr | None:
    bare = source.strip()
    if bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1:
        bare = bare[2:-2].strip()
    try:
        body = _plain.parse("{{ (" + bare + "\n) }}").body
    except (TemplateSyntaxError, ValueError, OverflowError, RecursionError):
        return None
    output = body[0] if len(body) == 1 else None
    return output.nodes[0] if isinstance(output, nodes.Output) and len(output.nodes) == 1 else None


class _Try:
    """An expression in one case: True, False, or None when that depends on something else."""

    def __init__(self, case: Case, lets: Mapping[str, str]) -> None:
        self.case = case
        self.lets = lets
        self.depth = 0

    def truth(self, node: nodes.Expr) -> bool | None:
        if isinstance(node, (nodes.And, nodes.Or)):
            left, right = self.truth(node.left), self.truth(node.right)
            decides = isinstance(node, nodes.Or)
            if left is decides or right is decides:
                return decides
            return None if left is None or right is None else not decides
        if isinstance(node, nodes.Not):
            inner = self.truth(node.node)
            return None if inner is None else not inner
        if isinstance(node, nodes.Compare) and len(node.ops) == 1:
            return self.compared(node)
        if isinstance(node, nodes.CondExpr):
            test = self.truth(node.test)
            if test is None:
                return None
            chosen = node.expr1 if test else node.expr2
            return self.truth(chosen) if chosen is not None else False
        if isinstance(node, nodes.Name) and node.name in self.lets and self.depth < len(self.lets):
            tree = _parsed(self.lets[node.name])
            self.depth += 1
            found = self.truth(tree) if tree is not None else None
            self.depth -= 1
            return found
        value = self.value(node)
        return None if value is UNKNOWN else bool(value)

    def compared(self, node: nodes.Compare) -> bool | None:
        (operand,) = node.ops
        left = self.value(node.expr)
        inside = operand.expr
        if operand.op in ("in", "notin"):
            if not isinstance(inside, (nodes.Tuple, nodes.List)):
                return None
            values = [self.value(item) for item in inside.items]
            if left is UNKNOWN or UNKNOWN in values:
                return None
            return (left in values) == (operand.op == "in")
        right = self.value(inside)
        if operand.op not in ("eq", "ne") or left is UNKNOWN or right is UNKNOWN:
            return None
        return bool((left == right) == (operand.op == "eq"))

    def value(self, node: nodes.Expr) -> Any:
        if isinstance(node, nodes.Const):
            return node.value
        if isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
            if node.node.name == "message" and node.attr == "type":
                return self.case.type
            if node.node.name == "event" and self.case.sure and "event" not in self.lets:
                return self.event(node.attr)
        if isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Name) and node.node.name == "msg":
            path = node.arg.value if isinstance(node.arg, nodes.Const) else None
            known = _MESSAGE.get(str(path), "") if self.case.sure else ""
            return (getattr(self.case, known) or UNKNOWN) if known else UNKNOWN
        if isinstance(node, nodes.Name) and node.name == "event" and self.case.sure:
            return self.case.event or ""
        return UNKNOWN

    def event(self, attribute: str) -> Any:
        """An attribute of the event; of one that is not there everything is absent."""
        if self.case.event is None:
            return ""
        kind, _, action = self.case.event.partition(".")
        return {"type": self.case.event, "kind": kind, "action": action}.get(attribute, UNKNOWN)
