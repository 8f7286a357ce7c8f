"""Expressions and text templates: compiled once when a channel is built, run once for each message.

In scope: `msg`, `event`, `events`, `message`, `vars` and each variable by its own name, `table(name, value)`,
`ABSENT`, `CLEAR`, `range`, and the filters of `engine.spec.filters`. Canonical events are only made when an
expression mentions them. There is no `now`: a step gives the same result when it is run again; use
`message.received_at`.

Guarantees: what runs is sandboxed and bounded (`engine.spec.sandbox`); a fault on one message is a
`StepError` that quotes the template and never the message; a fault of the template itself is a `ConfigError`
when it is compiled.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.exceptions import TemplateRuntimeError, UndefinedError
from jinja2.runtime import Context
from jinja2.sandbox import SecurityError

from engine.errors import ConfigError, IsthmusError, StepError
from engine.model import ABSENT, Scope
from engine.spec import filters, sandbox
from engine.spec.component import BuildContext
from engine.spec.document import Document, Mark, Problem, did_you_mean
from engine.spec.generator import ReadingContext, Reads
from engine.spec.harden import DEEP, Harden, Look, texts
from engine.spec.library import RESERVED, Library, as_filter

EVENTS = frozenset({"event", "events"})
FILE = "<isthmus expression>"
_NO_EVENT: Any = object()


@dataclass(frozen=True)
class Analysis:
    """What a template mentions: for lint, and to compute only what is used."""

    names: frozenset[str]  # every name it takes from outside
    paths: tuple[str, ...]  # constant paths in msg[...] and msg.all(...)
    tables: frozenset[str]  # constant names of code tables

    @property
    def undeclared(self) -> frozenset[str]:
        """Names that only a `set` step, or nobody, provides."""
        return self.names - RESERVED - {"range", "namespace"}


def environment(context: BuildContext) -> sandbox.Environment:
    """The one environment of a channel's build, with its tables and its time zone."""
    env = context.cache.get("environment")
    if env is None:
        make = context.cache.get("make_environment", sandbox.Environment)  # who watches a run gives another
        env = context.cache["environment"] = make()
        env.filters |= filters.make(context.tables, str(context.options.get("timezone") or "UTC"))
        library = env.library = context.library or Library()
        env.filters |= {name: as_filter(name, item) for name, item in library.functions.items()}
        env.globals |= library.functions
        env.globals["table"] = lambda name, value, **more: env.filters["table"](value, name, **more)
    return env


def compile_expression(source: str, context: BuildContext, where: str = "") -> Callable[[Scope], Any]:
    """What `source` (an expression without braces) gives for a scope, as a native Python value.

    A bare `{{ expression }}` is taken too. Absent is ABSENT, cleared is CLEAR.
    """
    env = environment(context)
    program = Program(env, [nodes.Output([given(parse_expression(env, source, where))])], where)
    return program.first


def compile_text(template: str, context: BuildContext, where: str = "") -> Callable[[Scope], str]:
    """The text that `template` gives for a scope: absent and cleared values are empty."""
    env = environment(context)
    program = Program(env, parse_text(env, template, where).body, where)
    return program.text


def analyse(source: str, *, text: bool = False, context: BuildContext | None = None) -> Analysis:
    """What an expression, or with `text` a template, mentions; raises ConfigError when it cannot be read.

    `context` brings the macros and functions of a configuration.
    """
    env = environment(context or BuildContext())
    body = parse_text(env, source, "").body if text else [nodes.Output([parse_expression(env, source, "")])]
    tree = nodes.Template([*env.library.used_by(body, env), *body], lineno=1)
    tree.set_environment(env)
    try:
        return _analyse(env, tree)
    except TemplateSyntaxError as error:
        raise ConfigError(f"cannot read the expression: {error.message}", code="expression.syntax") from None


def check_macros(library: Library, tables: dict[str, Any], document: Document) -> None:
    """Compile every macro, and report those that cannot be."""
    context = BuildContext(library=library, tables=tables)
    env = environment(context)
    for name in library.macros:
        try:
            Program(env, [nodes.Output([nodes.Name(name, "load")])], str(library.marks[name]))
        except ConfigError as error:
            mark = Mark.parse(error.where) or library.marks[name]
            document.problems.append(Problem(error.code, mark, error.what, error.todo))


def undeclared(source: str, *, text: bool = False) -> frozenset[str]:
    """Names in an expression (or with `text` a template) that neither Isthmus nor the source provides."""
    return analyse(source, text=text).undeclared


def parse_expression(env: sandbox.Environment, source: str, where: str) -> nodes.Expr:
    """The syntax tree of one expression; braces around it may be there."""
    bare = source.strip()
    if bare.startswith("{{") and bare.endswith("}}") and bare.count("{{") == 1:
        bare = bare[2:-2].strip()
    template = parse_text(env, "{{ (" + bare + "\n) }}", where)
    found = template.body[0] if len(template.body) == 1 else None
    if isinstance(found, nodes.Output) and len(found.nodes) == 1:
        return found.nodes[0]
    raise ConfigError(
        "this is not one expression",
        code="expression.syntax",
        where=where,
        todo="write it without braces: msg['PID-8'] == 'F'",
    )


def given(node: nodes.Expr) -> nodes.Expr:
    """`node`, made to raise when its value is undefined."""
    if isinstance(node, (nodes.Const, nodes.Compare)):
        return node
    return nodes.Filter(node, "_given", [], [], None, None, lineno=node.lineno)


def parse_text(env: sandbox.Environment, source: str, where: str) -> nodes.Template:
    """The syntax tree of a text template."""
    try:
        return env.parse(source)
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"cannot read the expression: {error.message}", code="expression.syntax", where=where
        ) from None
    except (ValueError, OverflowError, RecursionError):
        raise _unreadable(where) from None


def _unreadable(where: str) -> ConfigError:
    return ConfigError(
        "cannot read the expression: it is nested too deeply, or a number in it is too long",
        code="expression.syntax",
        where=where,
        todo="make it shorter, with `set` steps before it",
    )


def _analyse(env: sandbox.Environment, tree: nodes.Template) -> Analysis:
    tracker = meta.TrackingCodeGenerator(env)
    tracker.optimizer = None  # nothing is computed while it is looked at
    tracker.visit(tree)
    names = tracker.undeclared_identifiers
    paths, tables = [], set()
    for item in tree.find_all(nodes.Getitem):
        if isinstance(item.node, nodes.Name) and item.node.name == "msg":
            paths.append(item.arg)
    for call in tree.find_all(nodes.Call):
        target = call.node
        if isinstance(target, nodes.Name) and target.name == "table":
            tables |= texts(call.args[:1])
        elif isinstance(target, nodes.Getattr) and target.attr == "all":
            paths.extend(call.args[:1])
    for used in tree.find_all(nodes.Filter):
        if used.name == "table":
            tables |= texts(used.args[:1])
    found = [path.value for path in paths if isinstance(path, nodes.Const) and isinstance(path.value, str)]
    given = {"range", "namespace", "table", "ABSENT", "CLEAR", *env.library.names}
    return Analysis(frozenset(names) - given, tuple(found), frozenset(tables))


class Program:
    """A compiled syntax tree. `run` yields what its outputs give, as native values.

    The line numbers of the tree may be any numbers: `place` turns the one of the failed part into a place.
    """

    def __init__(
        self,
        env: sandbox.Environment,
        body: list[nodes.Node],
        where: str = "",
        place: Callable[[int], str] | None = None,
    ) -> None:
        self.env = env
        self.where = where
        self.place = place
        tree = nodes.Template([*env.library.used_by(body, env), *body], lineno=1)
        tree.set_environment(env)
        if not env.looking:
            self._compile(Harden(where).visit(tree))
        elif self._look(tree):
            self.run = partial(self._run_after_all, tree)  # type: ignore[method-assign]
        else:
            self._compile(tree)

    def _compile(self, tree: nodes.Template) -> None:
        env, where = self.env, self.where
        namespace = {"environment": env, "__file__": FILE, "program": self}
        try:
            self.analysis = _analyse(env, tree)
            self._check_tables(env)
            self._reads = Reads(tree)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # of the generated code: (1)[0]
                exec(env.compile(tree, "expression", FILE), namespace)  # noqa: S102
        except TemplateSyntaxError as error:
            raise self._bad_template(error) from None
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
            raise _unreadable(where) from None
        self._root: Any = namespace["root"]
        self._like = Context(env, {}, "expression", {})
        self._lines = [
            (int(python), int(line))
            for line, _, python in (
                pair.partition("=") for pair in str(namespace["debug_info"]).split("&") if pair
            )
        ]
        self.uses_events = bool(self.analysis.names & EVENTS)
        self._vars = "vars" in self.analysis.names

    def _look(self, tree: nodes.Template) -> bool:
        """Harden it. Whether looking was enough: what is nested deep is compiled, to see whether that can be done."""
        look = Look(self.where, self.env)
        try:
            look.visit(tree)
        except TemplateSyntaxError as error:
            raise self._bad_template(error) from None
        except RecursionError:
            raise _unreadable(self.where) from None
        self.analysis = Analysis(frozenset(), (), frozenset(look.tables))
        self._check_tables(self.env)
        return look.deepest < DEEP

    def _check_tables(self, env: sandbox.Environment) -> None:
        known = env.filters["table"].__self__.tables
        for name in sorted(self.analysis.tables):
            if name not in known:
                raise ConfigError(
                    f"there is no code table {name!r}",
                    code="table.unknown",
                    where=self.where,
                    todo=did_you_mean(name, known) or "declare it under tables:",
                )

    def _bad_template(self, error: TemplateSyntaxError) -> ConfigError:
        what, todo = str(error.message), ""
        where = self._placed(error.lineno)
        if what.startswith("No filter named"):
            name = what.split("'")[1]
            what = f"there is no filter {name!r}"
            todo = did_you_mean(name, [item for item in self.env.filters if not item.startswith("_")])
        return ConfigError(
            f"cannot read the expression: {what}", code="expression.syntax", where=where, todo=todo
        )

    def run(self, scope: Scope, event: Any = _NO_EVENT) -> Iterator[Any]:
        """Evaluate for one scope, and for one of its events (else its last one)."""
        parent = {**self.env.globals, **scope.vars}
        parent["msg"] = scope.msg
        parent["message"] = scope.message
        parent["_budget"] = [sandbox.STEPS]
        if self._vars:
            parent["vars"] = sandbox.Variables(scope.vars)
        try:
            if self.uses_events:
                parent["events"] = scope.events
                chosen = scope.event if event is _NO_EVENT else event
                parent["event"] = ABSENT if chosen is None else chosen
            context = ReadingContext(self._like, parent)
            if self._reads.paths:
                context.reads = self._reads.of(scope.msg, self.env.getitem)
            yield from self._root(context)
        except GeneratorExit:
            raise
        except Exception as error:
            raise self._step_error(error) from None

    def _run_after_all(self, tree: nodes.Template, scope: Scope, event: Any = _NO_EVENT) -> Iterator[Any]:
        """`run` of a program that was only looked at: a component tries its text while it is built."""
        del self.run
        self._compile(tree)
        return self.run(scope, event)

    def first(self, scope: Scope) -> Any:
        """What the first output gives; ABSENT when there is none."""
        for value in self.run(scope):
            return value
        return ABSENT

    def text(self, scope: Scope) -> str:
        """All outputs, joined."""
        try:
            return sandbox.concat(self.run(scope))
        except UndefinedError as error:
            raise self._step_error(error) from None

    def _step_error(self, error: Exception) -> StepError:
        where = self._where(error)
        if isinstance(error, StepError):
            return StepError(error.what, code=error.code, where=error.where or where, todo=error.todo)
        if isinstance(error, IsthmusError) and any(repr(path) in str(error) for path in self.analysis.paths):
            return StepError(str(error), code=error.code, where=where)  # the path stands in the template
        if isinstance(error, UndefinedError):
            return StepError(str(error.message), code="expression.undefined", where=where)
        if isinstance(error, (SecurityError, TemplateRuntimeError)):
            return StepError(str(error.message), code="expression.refused", where=where)
        return StepError(
            f"the expression failed with {type(error).__name__}",
            code="expression.failed",
            where=where,
            todo="try the message in `try` to see the values",
        )

    def _where(self, error: BaseException) -> str:
        trace, python = error.__traceback__, 0
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == FILE:
                python = trace.tb_lineno
            trace = trace.tb_next
        return self.at(python)

    def at(self, python: int) -> str:
        """The place in the template, or in a macro, of a line of the generated code."""
        line = 0
        for start, number in self._lines:
            if start <= python:
                line = number
        return self._placed(line)

    def _placed(self, line: int) -> str:
        found = self.env.library.place(line)
        return found or (self.place(line) if self.place else self.where)


def running() -> str:
    """Where the expression that calls this is written, "" when none does: `file:line:column` of its leaf.

    For those who watch a run (`channels.recording`): it walks the stack.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == FILE:
            return str(frame.f_globals["program"].at(frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return ""
