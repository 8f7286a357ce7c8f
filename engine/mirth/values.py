"""An expression in the words of Isthmus, as a text that knows what may be put around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.mirth.syntax import Literal, Node
from engine.mirth.variables import Kind

_TESTS = {"absent": "not absent", "not absent": "absent", "present": "not present", "not present": "present"}
_PLAIN = re.compile(r"(?:[^\\^$.|?*+()\[\]{}]|\\[^A-Za-z0-9])*")
ATOM, FILTER, SUM, TEST, NOT, AND, OR, CHOICE = range(8)
"""How strongly the last operator of an expression binds, the strongest first."""


@dataclass(frozen=True)
class Value:
    """An expression in the words of Isthmus."""

    text: str
    kind: Kind = "text"
    sure: bool = False  # it is never empty
    level: int = ATOM
    literal: str | None = None

    def inside(self, level: int) -> str:
        """The text, fit to be an operand of an operator that takes up to `level`."""
        return self.text if self.level <= level else f"({self.text})"


def quoted(text: str) -> str:
    """A text as a literal of an expression; also fit to stand in YAML, where `${` would begin a variable."""
    plain = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return "'" + plain.replace("\t", "\\t").replace("${", "$\\x7b") + "'"


def literal(text: str) -> Value:
    """A text that is written out."""
    return Value(quoted(text), sure=bool(text), literal=text)


def plain_pattern(source: str) -> str | None:
    """The text that a regular expression without operators matches; None when it has some."""
    return re.sub(r"\\(.)", r"\1", source) if _PLAIN.fullmatch(source) else None


def filtered(found: Value, name: str, kind: Kind = "text") -> Value:
    """`found | name`."""
    return Value(f"{found.inside(FILTER)} | {name}", kind, sure=kind == "number", level=FILTER)


def absent(found: Value, negated: bool = False) -> Value:
    """Whether there is nothing in `found`."""
    return Value(f"{found.inside(FILTER)} is {'not ' if negated else ''}absent", "truth", level=TEST)


def opposite(found: Value) -> Value:
    """`not found`."""
    test, _, word = found.text.rpartition(" is ")
    if found.level == TEST and word in _TESTS:
        return Value(f"{test} is {_TESTS[word]}", "truth", level=TEST)
    one, _, words = found.text.partition(" in [")
    if found.level == TEST and words.endswith("]") and " " not in one:
        return Value(f"{one} not in [{words}", "truth", level=TEST)
    if found.level == TEST and found.text.count(" == ") == 1:
        return Value(found.text.replace(" == ", " != "), "truth", level=TEST)
    return Value(f"not {found.inside(TEST)}", "truth", level=NOT)


def text_of(node: Node) -> str | None:
    """The text that `node` is, when it is written out."""
    return node.value if isinstance(node, Literal) and isinstance(node.value, str) else None
