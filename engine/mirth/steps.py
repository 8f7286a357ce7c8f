"""Transformers of Mirth: mapper, message builder, destination set filter and small scripts become `set` steps.

Guarantees: a step is converted as a whole or not at all; what it writes is written in its order; a value that
Mirth would write empty empties the field (`absent: empty`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.mirth.expressions import Translator
from engine.mirth.findings import Findings
from engine.mirth.javascript import expression, statements
from engine.mirth.parts import Part
from engine.mirth.places import Place
from engine.mirth.rules import built
from engine.mirth.syntax import Assign, Call, Delete, If, Literal, Member, Name, Node, Return, Unreadable
from engine.mirth.values import (
    AND,
    FILTER,
    NOT,
    Value,
    filtered,
    literal,
    opposite,
    plain_pattern,
    quoted,
    text_of,
)
from engine.mirth.variables import Variables
from engine.mirth.yamltext import Remark, Said

_SETTERS = {"$c": "channel", "$co": "connector", "channelMap": "channel", "connectorMap": "connector"}
_KINDS = {
    "MapperStep": "mapper",
    "MessageBuilderStep": "message builder",
    "JavaScriptStep": "JavaScript step",
    "DestinationSetFilterStep": "destination set filter",
}
_HINTS = {
    "IteratorStep": "write a `python` step that loops, or a template with `for:` on the operation",
    "XsltStep": "write a `python` step",
    "ExternalScriptStep": "the script is in a file of Mirth's server: rewrite it for a `python` step",
}
_SCOPES = {"CHANNEL": "channel", "CONNECTOR": "connector"}


@dataclass
class _Set:
    """One `set` step on its way: values by name, and whether an absent one empties the field."""

    when: str = ""
    vars: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    empty: bool = False

    def item(self) -> dict[str, Any]:
        """The step as YAML."""
        inner = {"vars": self.vars, "fields": self.fields, "when": self.when}
        settings: dict[str, Any] = {name: value for name, value in inner.items() if value}
        if self.empty:
            settings["absent"] = "empty"
        return {"set": settings}


class Steps:
    """The steps of one transformer, and what its destination set filters say of each destination."""

    def __init__(self, variables: Variables, findings: Findings, tables: dict[str, Any], form: str) -> None:
        self.variables = variables
        self.form = form
        self.findings = findings
        self.tables = tables
        self.items: list[Any] = []
        self.skips: list[tuple[str, list[str], str]] = []  # behavior, destination numbers, variable
        self._open: _Set | None = None
        self._frozen = 0

    def add(self, found: Iterable[Part]) -> None:
        """Convert the parts of a transformer, in order."""
        for part in found:
            label = part.label(_KINDS.get(part.type, part.type))
            if not part.enabled:
                self.findings.add("note", "step", part.line, label, "it is disabled in Mirth and left out")
                continue
            made, variables = _Made(self, part), self.variables.fork()
            line = part.script_line if part.type == "JavaScriptStep" else part.line
            try:
                made.convert()
            except Unreadable as error:
                self.variables.restore(variables)
                self._close()
                self.items.append(Remark(f"Not converted, line {part.line}: {label}"))
                self.findings.add(
                    "not converted", "step", line + error.line, label, error.what, error.hint, part.script
                )
                continue
            for note in made.notes:
                self.findings.add("note", "step", part.line, label, note)
            self.findings.add(
                "adapted" if made.adapted else "converted", "step", part.line, label, made.adapted
            )
            self._take(made, f"Line {part.line}: {' '.join(part.name.split())[:60]}".rstrip(": "))
        self._close()

    def _take(self, made: _Made, comment: str) -> None:
        first = True
        for one in made.sets:
            if not self._fits(one):
                self._close()
                self._open = _Set(one.when)
            assert self._open is not None
            for mine, theirs in ((self._open.vars, one.vars), (self._open.fields, one.fields)):
                for name, value in theirs.items():
                    mine[name] = Said(value, comment) if first else value
                    first = False
            self._open.empty |= one.empty
            if one.when:
                self._close()
        self.tables |= made.tables
        self.skips += made.skips

    def _fits(self, one: _Set) -> bool:
        opened = self._open
        return (
            opened is not None
            and not opened.when
            and not one.when
            and not (opened.fields and one.vars)
            and not (opened.vars.keys() & one.vars.keys())
            and not (opened.fields.keys() & one.fields.keys())
        )

    def _close(self) -> None:
        if self._open is not None and (self._open.vars or self._open.fields):
            self.items.append(self._open.item())
        self._open = None

    def freeze(self, name: str) -> str:
        """The name of a variable that keeps a condition while what it reads is changed."""
        self._frozen += 1
        return self.variables.put("kept", f"{name}_{self._frozen}", "truth", sure=True, always=True)


class _Made:
    """What one part becomes."""

    def __init__(self, steps: Steps, part: Part) -> None:
        self.steps = steps
        self.part = part
        self.variables = steps.variables
        self.translator = Translator(self.variables, steps.form, f"line {part.line}")
        self.sets: list[_Set] = []
        self.tables: dict[str, Any] = {}
        self.skips: list[tuple[str, list[str], str]] = []
        self.adapted = ""
        self._own: list[str] = []

    @property
    def notes(self) -> list[str]:
        """Differences, each once."""
        return list(dict.fromkeys([*self._own, *self.translator.notes]))

    def convert(self) -> None:
        """Raises Unreadable."""
        part = self.part
        match part.type:
            case "MapperStep":
                if part.scope not in _SCOPES:
                    what = f"a mapper into the {part.scope.lower().replace('_', ' ')} map"
                    raise Unreadable(
                        0, what, "a step gives the same on every run here: use a code table or `lookup`"
                    )
                value = self.mapped()
                name = self.variables.put(
                    _SCOPES[part.scope], part.variable, value.kind, value.sure, always=True
                )
                self.variable(name, value, "")
            case "MessageBuilderStep":
                self.assign(expression(part.variable), self.mapped(), "")
            case "JavaScriptStep":
                self.block(statements(part.script), "", last=True)
            case "DestinationSetFilterStep":
                self.skip()
            case _:
                raise Unreadable(
                    0, f"a step of type {part.type}", _HINTS.get(part.type, "write a `python` step")
                )

    # Mapper and message builder

    def mapped(self) -> Value:
        """Mapping, default and replacements of a mapper or message builder."""
        part = self.part
        value = self.translator.value(expression(part.mapping or "''"))
        if part.default and part.default not in ("''", '""'):
            default = self.translator.value(expression(part.default))
            value = Value(
                f"{value.inside(FILTER)} | default({default.text})", sure=default.sure, level=FILTER
            )
        codes = [(self._literal(old), self._literal(new)) for old, new in part.replacements]
        if len(codes) > 1 and all(_code(old) for old, _ in codes):
            return self.table({_code(old): new for old, new in codes}, value)
        for old, new in codes:
            plain = plain_pattern(old)
            if old == "[^0-9]" and not new:
                value = filtered(value, "digits")
            elif plain is None or "$" in new or "\\" in new:
                raise Unreadable(0, "a replacement by a regular expression", "write a `python` step")
            elif plain:
                value = filtered(value, f"replace({quoted(plain)}, {quoted(new)})")
        return value

    def _literal(self, source: str) -> str:
        text = text_of(expression(source))
        if text is None:
            raise Unreadable(0, "a replacement that is computed", "write a `python` step")
        return text

    def table(self, codes: dict[str, str], value: Value) -> Value:
        """A code table of replacements that name whole codes."""
        plain = "".join(char if char.isalnum() else "_" for char in self.part.variable).strip("_").lower()
        base = name = plain or "codes"
        number = 2
        settings = {"values": codes, "otherwise": "keep"}
        while self.steps.tables.get(name, settings) != settings:
            name, number = f"{base}_{number}", number + 1
        self.tables[name] = settings
        self.adapted = (
            "its replacements became a code table: it compares whole codes, where Mirth replaces parts"
        )
        return filtered(value, f"table({quoted(name)})")

    # Assignments

    def variable(self, name: str, value: Value, when: str) -> None:
        """A variable that is set."""
        self._into(when, bool(self._last(when).fields) or name in self._last(when).vars).vars[name] = written(
            value
        )

    def assign(self, target: Node, value: Value, when: str) -> None:
        """A field that is set."""
        where = self.translator.place(target)
        if where is None:
            raise Unreadable(target.line, "what is written to is not a field of `msg`")
        self.write(where, self.translator.written(value, target.line), when)

    def write(self, where: Place, value: Value, when: str) -> None:
        if where.fixed:
            raise Unreadable(0, "the separators of the message cannot be changed")
        path = str(where)
        last = self._into(when, path in self._last(when).fields)
        last.fields[path] = written(value)
        last.empty |= not value.sure

    def _last(self, when: str) -> _Set:
        return self.sets[-1] if self.sets and self.sets[-1].when == when else _Set(when)

    def _into(self, when: str, fresh: bool) -> _Set:
        if fresh or not self.sets or self.sets[-1].when != when:
            self.sets.append(_Set(when))
        return self.sets[-1]

    # Scripts

    def block(self, found: tuple[Node, ...], when: str, last: bool = False) -> None:
        """The statements of a script or of a branch that runs `when`."""
        for at, one in enumerate(found):
            match one:
                case Assign(target=Name(name="msg" | "tmp")):
                    raise Unreadable(one.line, "the whole message is replaced")
                case Assign(target=Name(name=name), value=value):
                    self.put(self.translator.local, name, value, when, always=not when)
                case Assign(target=target, value=value):
                    self.assign(target, self.translator.value(value), when)
                case Delete(of=of):
                    self.assign(of, literal(""), when)
                case If():
                    self.choice(one, when)
                case Return() if last and at == len(found) - 1:
                    continue
                case Call():
                    self.call(one, when)
                case _:
                    raise Unreadable(one.line, "this statement")

    def put(self, scope: str, key: str, node: Node, when: str, always: bool) -> None:
        value = self.translator.value(node)
        name = self.variables.put(scope, key, value.kind, value.sure, always=always)
        self.variable(name, value, when)

    def call(self, node: Call, when: str) -> None:
        """`channelMap.put('x', …)` and its like."""
        match node:
            case Call(of=Member(of=Name(name="logger"))):
                self._own.append("what it logs is left out: every message is kept with its events")
                return
            case Call(of=Name(name="createSegment"), args=(Literal(), Name(name="msg"))):
                self._own.append("a segment is made with its first field, at the end of the message")
                return
            case Call(of=Name(name=name), args=(key, value)) if name in _SETTERS:
                scope = _SETTERS[name]
            case Call(of=Member(of=Name(name=name), key=Literal(value="put")), args=(key, value)) if (
                name in _SETTERS
            ):
                scope = _SETTERS[name]
            case _:
                self.translator.value(node)  # says why
                raise Unreadable(node.line, "a call whose result is not used")
        if text_of(key) is None:
            raise Unreadable(node.line, "the name of the variable is computed")
        self.put(scope, str(text_of(key)), value, when, always=not when)

    def choice(self, node: If, when: str) -> None:
        """`if`: each branch with its own `when`; the condition is kept when a branch could change it."""
        test = self.translator.truth(node.test)
        before = len(self.sets)
        if not node.no and not any(isinstance(one, If) for one in node.yes):
            self.sets.append(_Set("\0"))  # a wall: the branch joins nothing of before
            self.block(node.yes, both(when, test))
            del self.sets[before]
            if len(self.sets) <= before + 1:
                return
            del self.sets[before:]
        kept = self.steps.freeze("if")
        self.sets.append(_Set(when, {kept: written(test)}))
        known = Value(kept, "truth")
        self.block(node.yes, both(when, known))
        self.block(node.no, both(when, opposite(known)))

    # Destination set filter

    def skip(self) -> None:
        """A variable that says whether the destinations named are left out."""
        part = self.part
        value = self.translator.truth(built(part))
        name = self.steps.freeze("skip")
        self.variable(name, value, "")
        self.skips.append((part.behavior or "REMOVE", part.destinations, name))


def both(when: str, test: Value) -> str:
    """`when and test`; every `when` here is a test or joined by `and`."""
    return f"{when} and {test.inside(NOT)}" if when else test.inside(AND)


def _code(pattern: str) -> str:
    """The code that a pattern means as a whole; empty when it means something else."""
    plain = plain_pattern(pattern.removeprefix("^").removesuffix("$")) or ""
    whole = pattern.startswith("^") and pattern.endswith("$")
    return plain if whole or (len(plain) <= 4 and plain.isalnum()) else ""


def written(value: Value) -> Any:
    """A value as `set` takes it: text as it is, everything else as an expression."""
    plain = value.literal
    if plain == "":
        return "{{ ABSENT }}"
    special = plain is None or any(mark in plain for mark in ("{{", "{%", "{#", "${"))
    return "{{ " + value.text + " }}" if special else plain
