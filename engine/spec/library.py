"""What all expressions and templates of a configuration share: Jinja macros and Python functions.

    macros: [shared/names.j2]        # {% macro full(p) %}{{ p.name.family }}, {{ p.name.given }}{% endmacro %}
    functions: [wards]               # wards.py beside this file: def building(code): ...

A macro is called by its name, `{{ full(event.patient) }}`, and gives text: absent when nothing is in it. A
function is called by its name, or stands as a filter: `{{ msg['PV1-3.1'] | building }}`. Functions are the public
ones that the module defines (or its `__all__`).

Guarantees: a macro runs in the sandbox with the budget of the expression that calls it, and only expressions
that use it pay for it; a fault in it is told at its own line. As a filter a function lets ABSENT and CLEAR
through, as any filter; None that it returns is ABSENT; what it raises is told without its text. Functions are not
sandboxed: they are code of whoever may change the configuration, and must be pure.
Reports: a file that cannot be read, anything but macros in a macro file, a name that is taken.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from engine.errors import ConfigError
from engine.model import ABSENT
from engine.spec import filters, sandbox
from engine.spec.document import Document, Mark, Problem, Where
from engine.spec.modules import failure, load
from engine.spec.values import is_absent, is_clear, normal

LINES = 1_000_000
"""Line numbers of the nth macro file begin at n * LINES, so that they are told from those of a template."""
RESERVED = frozenset(
    {"msg", "event", "events", "message", "vars", "table", "ABSENT", "CLEAR", "loop", "range"}
)


@dataclass
class Library:
    """The macros and functions of a configuration, by name."""

    macros: dict[str, nodes.Macro] = field(default_factory=dict)
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    files: list[str] = field(default_factory=lambda: [""])
    marks: dict[str, Mark] = field(default_factory=dict)
    """Where each name comes from."""

    @property
    def names(self) -> frozenset[str]:
        """All names that expressions may call."""
        return frozenset(self.marks)

    def used_by(self, body: Iterable[nodes.Node], env: sandbox.Environment) -> list[nodes.Node]:
        """Copies of the macros that `body` calls, and of those that they call."""
        found: dict[str, nodes.Macro] = {}
        waiting: list[nodes.Node] = list(body) if self.macros else []
        while waiting:
            node = waiting.pop()
            named = [node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name)
            for name in {item.name for item in named} & (self.macros.keys() - found.keys()):
                macro = self.macros[name]
                shared = {id(macro.environment): env}
                found[name] = copy.deepcopy(macro, shared)
                waiting.append(found[name])
        return list(found.values())

    def place(self, line: int) -> str:
        """`file:line:column` of a line of a macro file; empty for other lines."""
        number, line = divmod(line, LINES)
        return f"{self.files[number]}:{line}:1" if 0 < number < len(self.files) else ""


def read_library(document: Document) -> Library:
    """The library that `macros:` and `functions:` of a configuration name; what is wrong is reported into it."""
    library = Library()
    for index, name in _texts(document, "macros"):
        where: Where = ("macros", index)
        path = Path(document.mark(where).file).parent / name
        try:
            text = document.files.text(path)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            hint = "The path is relative to the channel file."
            document.report("macro.file", where, f"cannot read the macros {name}: {why}", hint)
            continue
        _macros(library, path, text, document)
    for index, name in _texts(document, "functions"):
        _functions(library, name, ("functions", index), document)
    return library


def _texts(document: Document, key: str) -> list[tuple[int, str]]:
    listed = document.data.get(key) if isinstance(document.data, dict) else None
    items = enumerate(listed if isinstance(listed, list) else ())
    return [(index, item) for index, item in items if isinstance(item, str) and item and "\0" not in item]


def _macros(library: Library, path: Path, text: str, document: Document) -> None:
    """Take the macros of one file."""

    def report(line: int, what: str, hint: str = "") -> None:
        document.problems.append(Problem("macro.syntax", Mark(str(path), line, 1), what, hint))

    try:
        tree = sandbox.Environment().parse(text)
    except TemplateSyntaxError as error:
        return report(error.lineno, f"cannot read the macros: {error.message}")
    except (ValueError, OverflowError, RecursionError):
        return report(1, "cannot read the macros: they are nested too deeply")
    base = len(library.files) * LINES
    library.files.append(str(path))
    for node in tree.body:
        if isinstance(node, nodes.Macro):
            mark = Mark(str(path), node.lineno, 1)
            if _free(library, node.name, mark, document, RESERVED):
                library.macros[node.name] = node
            for inner in [node, *node.find_all(nodes.Node)]:
                inner.lineno += base
        elif not isinstance(node, nodes.Output) or any(
            not isinstance(part, nodes.TemplateData) or part.data.strip() for part in node.nodes
        ):
            report(
                node.lineno, "a macro file holds macros alone", "Write {% macro name() %} … {% endmacro %}."
            )
    return None


def _functions(library: Library, module: str, where: Where, document: Document) -> None:
    """Take the functions of one module."""
    mark = document.mark(where)
    try:
        found = load(module, Path(mark.file).parent, document.files)
    except ConfigError as error:
        return document.report(error.code, where, error.what, error.todo)
    public = getattr(found, "__all__", None) or [
        name
        for name, item in vars(found).items()
        if inspect.isfunction(item) and item.__module__ == found.__name__ and not name.startswith("_")
    ]
    known = RESERVED | sandbox.Environment().filters.keys() | filters.make({}, "UTC").keys()
    if not public:
        document.report("function.none", where, f"the module {module!r} defines no function")
    for name in public:
        function = getattr(found, name, None)
        if not callable(function) or inspect.iscoroutinefunction(function):
            document.report("function.none", where, f"{module}:{name} is no plain function", "Write a def.")
        elif _free(library, name, mark, document, known):
            library.functions[name] = guarded(function, f"{module}:{name}")
    return None


def _free(library: Library, name: str, mark: Mark, document: Document, known: frozenset[str]) -> bool:
    """Whether a name can be taken; reported when not."""
    first = library.marks.get(name)
    if first is None and name not in known:
        library.marks[name] = mark
        return True
    what = f"first at {first}" if first else "Isthmus uses it itself"
    document.problems.append(
        Problem("library.name", mark, f"the name {name!r} is taken: {what}", "Rename it.")
    )
    return False


def guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """`function` as expressions may call it."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            raise failure(name, error) from None
        if isinstance(result, str):
            if len(result) > sandbox.MAX_TEXT:
                raise sandbox.too_big(name)
        elif isinstance(result, (list, tuple, dict)):
            sandbox.check_nested(result)
        return ABSENT if result is None else result

    return call


def as_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as a filter: absent and cleared values pass, and it pays for what it reads."""

    @wraps(function)
    def run(value: Any = ABSENT, *args: Any, **kwargs: Any) -> Any:
        return normal(value) if is_clear(value) or is_absent(value) else function(value, *args, **kwargs)

    return sandbox.bounded(name, run)
