"""Python from a template's syntax tree: native values, a line a leaf, and constant paths read all at once.

`msg['PID-5.1']` with a path that is known when the template is compiled becomes one element of what
`engine.hl7.reading` reads for the whole program in one go. The other ways to reach a message are as Jinja makes
them; so is everything in a template that calls something of its own `msg`, and messages of another format.

Guarantees: a program with such reads gives what it gave without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import nodes
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context

from engine.hl7.er7 import Message
from engine.hl7.paths import PathError
from engine.hl7.reading import Reader


class Generator(NativeCodeGenerator):
    """Yields values as they are, and puts each element of a structure on a line of its own, so that the line
    of a Python traceback leads back to the leaf."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Any, finalize: Any) -> Any:
        if isinstance(node, nodes.TemplateData):
            return super()._output_child_to_const(node, frame, finalize)
        raise nodes.Impossible

    def visit_Getitem(self, node: nodes.Getitem, frame: Any) -> None:  # noqa: D102
        number = _number(node)
        if number is None:
            super().visit_Getitem(node, frame)
        else:
            self.write(f"context.reads[{number}]")

    def visit_Filter(self, node: nodes.Filter, frame: Any) -> None:  # noqa: D102
        if node.name == "_given" and node.node is not None and _number(node.node) is not None:
            self.visit(node.node, frame)  # a read is never undefined
        else:
            super().visit_Filter(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:  # noqa: D102
        self.write("{")
        for item in node.items:
            self.newline(item)
            self.visit(item.key, frame)
            self.write(": ")
            self.visit(item.value, frame)
            self.write(",")
        self.write("}")

    def visit_List(self, node: nodes.List, frame: Any) -> None:  # noqa: D102
        self._elements("[", node.items, "]", frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:  # noqa: D102
        if node.ctx == "store":
            super().visit_Tuple(node, frame)
        else:
            self._elements("(", node.items, ")", frame)

    def _elements(self, before: str, items: list[nodes.Expr], after: str, frame: Any) -> None:
        self.write(before)
        for item in items:
            self.newline(item)
            self.visit(item, frame)
            self.write(",")
        self.write(after)


class ReadingContext(Context):
    """What a compiled program runs in; `reads[n]` is what its nth constant path gives."""

    reads: Sequence[Any] = ()

    def __init__(self, like: Context, parent: dict[str, Any]) -> None:
        """A context for one run, without what only templates that extend others need. `like`: one of its program."""
        self.parent = parent
        self.vars = {}
        self.environment = like.environment
        self.eval_ctx = like.eval_ctx
        self.exported_vars = set()
        self.name = like.name
        self.globals_keys = like.globals_keys
        self.blocks = like.blocks


class Reads:
    """The constant paths of one program, and how they are read."""

    def __init__(self, tree: nodes.Template) -> None:
        """Finds the paths, and tells the generator by a mark on their nodes."""
        self.paths: list[str] = []
        taken = any(name.name == "msg" and name.ctx != "load" for name in tree.find_all(nodes.Name))
        numbers: dict[str, int] = {}
        for item in tree.find_all(nodes.Getitem):
            path = _path(item)
            if path is not None and not taken:
                item.read = numbers.setdefault(path, len(numbers))  # type: ignore[attr-defined]
        self.paths = list(numbers)
        self._reader = Reader(self.paths)

    def of(self, msg: Any, getitem: Any) -> Sequence[Any]:
        """What the paths give for a message of any format."""
        if type(msg) is Message:
            return self._reader.read(msg)
        return _Later(msg, self.paths, getitem)


class _Later(Sequence[Any]):
    """Reads of what is not HL7v2, each when it is asked for."""

    def __init__(self, msg: Any, paths: list[str], getitem: Any) -> None:
        self._msg = msg
        self._paths = paths
        self._getitem = getitem

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, number: Any) -> Any:
        return self._getitem(self._msg, self._paths[number])


def _number(node: nodes.Node) -> int | None:
    return getattr(node, "read", None)


def _path(item: nodes.Getitem) -> str | None:
    """The path of `msg['...']` when it is one of HL7v2."""
    if not (isinstance(item.node, nodes.Name) and item.node.name == "msg" and item.ctx == "load"):
        return None
    path = item.arg.value if isinstance(item.arg, nodes.Const) else None
    if not isinstance(path, str):
        return None
    try:
        Reader([path])
    except PathError:
        return None  # it is told when it is read
    return path
