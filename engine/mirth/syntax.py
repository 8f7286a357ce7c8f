"""The parts of a script, as `engine.mirth.javascript` reads them; every part knows its line, from 0."""

from __future__ import annotations

from dataclasses import dataclass


class Unreadable(Exception):
    """A part of a script that is not converted: `line` counts from 0, `what` says why, `hint` what to do."""

    def __init__(self, line: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.line = line
        self.what = what
        self.hint = hint


@dataclass(frozen=True)
class Node:
    """A part of a script."""

    line: int


@dataclass(frozen=True)
class Literal(Node):
    """A text, a number, true, false, or null (also for undefined)."""

    value: str | int | float | bool | None


@dataclass(frozen=True)
class Pattern(Node):
    """A regular expression."""

    source: str
    flags: str


@dataclass(frozen=True)
class Array(Node):
    """`[items]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Name(Node):
    """A variable."""

    name: str


@dataclass(frozen=True)
class Member(Node):
    """`of[key]`, also for `of.key`."""

    of: Node
    key: Node


@dataclass(frozen=True)
class Call(Node):
    """`of(args)`."""

    of: Node
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Unary(Node):
    """`sign of`."""

    sign: str
    of: Node


@dataclass(frozen=True)
class Binary(Node):
    """`left sign right`."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Choice(Node):
    """`test ? yes : no`."""

    test: Node
    yes: Node
    no: Node


@dataclass(frozen=True)
class Assign(Node):
    """`target = value`; a declaration when `local`."""

    target: Node
    value: Node
    local: bool = False


@dataclass(frozen=True)
class If(Node):
    """`if (test) {yes} else {no}`."""

    test: Node
    yes: tuple[Node, ...]
    no: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Return(Node):
    """`return value`."""

    value: Node | None


@dataclass(frozen=True)
class Delete(Node):
    """`delete of`."""

    of: Node
