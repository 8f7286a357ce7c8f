"""YAML with positions: every value of a configuration file remembers its file, line and column.

Guarantees: one read gives plain data, a mark for each key and value (through anchors and merge keys), and a
list of problems instead of the first exception; `${NAME}` and `${NAME:-default}` come from the environment,
`!secret name` from a secret source. Only `true` and `false` are booleans and numbers with a leading zero stay
text, so `NO`, `Y` and `007` are what they look like (YAML 1.2 core schema, not 1.1).
Refuses: duplicate keys, unknown tags, unset variables without a default, aliases that contain themselves.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

Where = tuple[str | int, ...]
"""A place in the data: keys and list positions from the top."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Mark(msgspec.Struct, frozen=True):
    """A position in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(msgspec.Struct, frozen=True):
    """One finding: a stable code, where, what is wrong in plain words, and what to do."""

    code: str
    mark: Mark
    text: str
    hint: str = ""
    severity: str = "error"  # error | warning

    def __str__(self) -> str:
        tail = f" {self.hint}" if self.hint else ""
        return f"{self.mark}: {self.severity}: {self.text}.{tail} [{self.code}]"


class Secret(str):
    """A text that came from `!secret`: never shown, logged or echoed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"


class _Loader(yaml.CSafeLoader):
    """The C parser with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _resolver(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolver("bool", r"^(?:true|false)$", "tf")
_resolver("null", r"^(?:~|null|)$", "~n")
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))
_resolver("int", r"^-?(?:0|[1-9][0-9]*)$", "-0123456789")
_resolver("float", r"^-?(?:0|[1-9][0-9]*)\.[0-9]+$", "-0123456789")
_resolver("merge", r"^<<$", "<")


@dataclass
class Document:
    """A file as plain data, with marks and problems."""

    path: Path
    data: Any = None
    marks: dict[Where, Mark] = field(default_factory=dict)
    key_marks: dict[Where, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def mark(self, where: Iterable[str | int], *, key: bool = False) -> Mark:
        """The position of a value (or of its key), or of its nearest parent."""
        path = tuple(where)
        if key and path in self.key_marks:
            return self.key_marks[path]
        while path:
            if path in self.marks:
                return self.marks[path]
            path = path[:-1]
        return self.marks.get((), Mark(str(self.path), 1, 1))

    def report(
        self,
        code: str,
        where: Iterable[str | int],
        text: str,
        hint: str = "",
        *,
        key: bool = False,
        severity: str = "error",
    ) -> None:
        """Add a problem at a place."""
        self.problems.append(Problem(code, self.mark(where, key=key), text, hint, severity))


def read(path: Path, environ: Mapping[str, str] | None = None) -> Document:
    """Read a YAML file. Problems of syntax, variables and secrets are in the document, never raised."""
    document = Document(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        document.report("file.unreadable", (), f"cannot read the file: {reason}", "Check the path.")
        return document
    return read_text(text, document, os.environ if environ is None else environ)


def read_text(text: str, document: Document, environ: Mapping[str, str]) -> Document:
    """Read YAML from text into `document`."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        at = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        mark = Mark(str(document.path), at.line + 1 if at else 1, at.column + 1 if at else 1)
        what = getattr(error, "problem", None) or str(error)
        document.problems.append(
            Problem("yaml.syntax", mark, f"this is not YAML: {what}", "Check the indentation.")
        )
        return document
    if node is not None:
        document.data = _Walk(document, environ).value(node, ())
    return document


class _Walk:
    """Turns nodes into data, noting positions."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document = document
        self.environ = environ
        self.open: set[int] = set()

    def at(self, node: yaml.Node) -> Mark:
        return Mark(str(self.document.path), node.start_mark.line + 1, node.start_mark.column + 1)

    def problem(self, code: str, node: yaml.Node, text: str, hint: str = "") -> None:
        self.document.problems.append(Problem(code, self.at(node), text, hint))

    def value(self, node: yaml.Node, where: Where) -> Any:
        self.document.marks[where] = self.at(node)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if id(node) in self.open:
            self.problem("yaml.recursive", node, "this alias contains itself")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*where, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self.mapping(node, where)
        finally:
            self.open.discard(id(node))

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problem("yaml.key", key_node, "a key must be plain text")
                continue
            key = str(key_node.value)
            if key in result:
                self.problem("yaml.duplicate", key_node, f"the key {key!r} stands twice here", "Delete one.")
            self.document.key_marks[(*where, key)] = self.at(key_node)
            result[key] = self.value(value_node, (*where, key))
        for source in merged:
            if not isinstance(source, yaml.MappingNode):
                self.problem("yaml.merge", source, "`<<` takes a mapping or a list of mappings")
                continue
            shadow = _Walk(Document(self.document.path), self.environ)
            for key, value in shadow.mapping(source, where).items():
                if key not in result:
                    result[key] = value
                    self._adopt(shadow.document, (*where, key))
            self.document.problems += shadow.document.problems
        return result

    def _adopt(self, other: Document, where: Where) -> None:
        for path, mark in other.marks.items():
            if path[: len(where)] == where:
                self.document.marks.setdefault(path, mark)
        for path, mark in other.key_marks.items():
            if path[: len(where)] == where:
                self.document.key_marks.setdefault(path, mark)

    def scalar(self, node: yaml.ScalarNode) -> Any:
        tag, text = node.tag, node.value
        if tag == "!secret":
            return self.secret(node)
        kind = tag.rpartition(":")[2] if tag.startswith("tag:yaml.org,2002:") else ""
        if kind == "null":
            return None
        if kind == "bool":
            return text == "true"
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text)
        if not kind:
            self.problem("yaml.tag", node, f"unknown tag {tag}", "Known: !secret.")
            return text
        return self.substitute(node) if "${" in text else text

    def substitute(self, node: yaml.ScalarNode) -> str:
        def one(found: re.Match[str]) -> str:
            name, default = found.group(1), found.group(2)
            value = self.environ.get(name) or default
            if value is None:
                self.problem(
                    "env.unset",
                    node,
                    f"the environment variable {name} is not set",
                    f"Set it, or write ${{{name}:-default}}.",
                )
                return ""
            return value

        return VARIABLE.sub(one, node.value)

    def secret(self, node: yaml.ScalarNode) -> Secret:
        """`!secret name`: the variable NAME, else the file `name` in one of the secret folders."""
        name = node.value
        value = self.environ.get(name.upper())
        if value is not None:
            return Secret(value)
        folders = [
            self.environ.get("CREDENTIALS_DIRECTORY"),
            self.environ.get("ISTHMUS_SECRETS"),
            "/run/secrets",
        ]
        for folder in filter(None, folders):
            file = Path(folder) / name
            if re.fullmatch(r"[\w.-]+", name) and file.is_file():
                return Secret(file.read_text(encoding="utf-8").strip())
        self.problem(
            "secret.missing",
            node,
            f"no secret {name!r}",
            f"Set the variable {name.upper()}, or put a file {name} into $ISTHMUS_SECRETS.",
        )
        return Secret("")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known words, or with all of them when they are few."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(options)}." if 0 < len(options) <= 30 else ""
