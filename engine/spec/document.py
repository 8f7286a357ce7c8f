"""YAML with positions: every value of a configuration file remembers its file, line and column.

Guarantees: one read gives plain data, a mark for each key and value (through anchors and merge keys), and a
list of problems instead of the first exception; `${NAME}` and `${NAME:-default}` come from the environment,
`!secret` from a secret source (`engine.spec.secret`). A variable that is a whole unquoted value is what YAML
makes of its text: a port from a variable is a number. Only `true` and `false` are booleans and numbers with a
leading zero stay text, so `NO`, `Y` and `007` are what they look like (YAML 1.2 core schema, not 1.1).
Refuses: duplicate keys, unknown tags, unset variables without a default, aliases that contain themselves,
more than MAX_DEPTH levels, and more than MAX_VALUES values (aliases count each time they are used).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import yaml

from engine.spec.files import Files
from engine.spec.secret import Secret, SecretError, Secrets

Where = tuple[str | int, ...]
"""A place in the data: keys and list positions from the top."""

MAX_DEPTH = 50
MAX_VALUES = 50_000
TOO_DEEP = f"this is nested more than {MAX_DEPTH} levels deep"
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class Mark(msgspec.Struct, frozen=True):
    """A position in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """The mark that prints as `text`."""
        file, _, rest = text.rpartition(":")[0].rpartition(":")
        line, column = rest, text.rpartition(":")[2]
        return cls(file, int(line), int(column)) if file and line.isdigit() and column.isdigit() else None


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


class Loader(yaml.CSafeLoader):
    """The C parser with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


def _resolver(tag: str, pattern: str, first: str) -> None:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolver("bool", r"^(?:true|false)$", "tf")
_resolver("null", r"^(?:~|null|)$", "~n")
Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile(r"^$")))
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
    files: Files = field(default_factory=Files)
    unused: set[str] = field(default_factory=set)  # fragments that no channel uses; a template file may

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


class Sources:
    """Where the values of one load come from: the environment, files, secrets."""

    def __init__(self, environ: Mapping[str, str] | None = None, root: Path | None = None) -> None:
        self.environ = os.environ if environ is None else environ
        self.secrets = Secrets(self.environ)
        self.files = Files(root or Path())

    def secret(self, wanted: Any, base: Path) -> Secret:
        """The secret that stands behind `!secret wanted`; its file is looked at for changes. SecretError."""
        try:
            return self.secrets.find(wanted, base)
        finally:
            for file in self.secrets.files:
                self.files.guard(file)
            self.secrets.files.clear()


def read(path: Path, source: Sources | Mapping[str, str] | None = None) -> Document:
    """Read a YAML file. Problems of syntax, variables and secrets are in the document, never raised.

    `source` is the environment, or what is shared by the files of one load.
    """
    sources = source if isinstance(source, Sources) else Sources(source, path.parent)
    document = Document(path, files=sources.files)
    try:
        text = sources.files.text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        document.report("file.unreadable", (), f"cannot read the file: {reason}", "Check the path.")
        return document
    return read_text(text, document, sources)


def read_text(text: str, document: Document, source: Sources | Mapping[str, str]) -> Document:
    """Read YAML from text into `document`."""
    sources = source if isinstance(source, Sources) else Sources(source)
    try:
        deep = _too_deep(text)
        node = None if deep else yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        document.problems.append(_syntax(error, text, document.path))
        return document
    if deep:
        mark = Mark(str(document.path), deep.line + 1, deep.column + 1)
        document.problems.append(Problem("yaml.depth", mark, TOO_DEEP))
    if node is not None:
        try:
            document.data = _Walk(document, sources).value(node, ())
        except _TooMany:
            document.data = None
            what = f"there are more than {MAX_VALUES} values here, aliases counted each time"
            document.report("yaml.size", (), what, "Move tables into files of their own.")
    return document


class _TooMany(Exception):
    """The document has too many values."""


def _too_deep(text: str) -> Any:
    """Where the nesting passes MAX_DEPTH; looked at first, because the composer of nodes recurses."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return event.start_mark
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


def _syntax(error: yaml.YAMLError, text: str, path: Path) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        before = text[: error.position]
        mark = Mark(str(path), before.count("\n") + 1, error.position - before.rfind("\n"))
        code = error.character if isinstance(error.character, int) else ord(error.character)
        return Problem("yaml.syntax", mark, f"the character U+{code:04X} is not allowed here", "Delete it.")
    what = getattr(error, "problem", None) or "it cannot be read"
    at = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if "expected ':'" in what:  # where the name begins, not where the next one shows that it had no end
        at = getattr(error, "context_mark", None) or at
    mark = Mark(str(path), at.line + 1 if at else 1, at.column + 1 if at else 1)
    if "nesting depth" in what:  # libyaml has a limit of its own
        return Problem("yaml.depth", mark, TOO_DEEP)
    written = text.splitlines()[mark.line - 1 : mark.line]
    return Problem(
        "yaml.syntax", mark, f"this is not YAML: {what}", _remedy(what, *written, column=mark.column)
    )


def _remedy(what: str, line: str = "", *, column: int) -> str:
    """What to do about a line that is not YAML."""
    if line[column - 1 : column] == "\t":
        return "Indent with spaces: this is a tab."
    if re.search(r"[:{,\[-]\s*\{[{%]", line):
        return 'Put quotes around a value that begins with a brace: "{{ … }}".'
    if line[column - 1 : column] in ("@", "`", "%"):
        return "Put quotes around a value that begins with this character."
    if "expected ':'" in what:
        return "Write `name: value`, or check the indentation."
    if "mapping values" in what:
        return "Check the indentation, and whether the line above lacks its colon."
    return "Check the indentation."


_PLAIN: dict[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": {"true": True, "false": False}.__getitem__,
    "int": int,
    "float": float,
}


def _tag(node: yaml.Node) -> str:
    return str(node.tag).replace("tag:yaml.org,2002:", "!!")


class _Walk:
    """Turns nodes into data, noting positions."""

    def __init__(self, document: Document, sources: Sources, parent: _Walk | None = None) -> None:
        self.document = document
        self.sources = sources
        self.open: set[int] = parent.open if parent else set()
        self.left: list[int] = parent.left if parent else [MAX_VALUES]

    def at(self, node: yaml.Node) -> Mark:
        return Mark(str(self.document.path), node.start_mark.line + 1, node.start_mark.column + 1)

    def problem(self, code: str, node: yaml.Node, text: str, hint: str = "") -> None:
        self.document.problems.append(Problem(code, self.at(node), text, hint))

    def value(self, node: yaml.Node, where: Where) -> Any:
        self.left[0] -= 1
        if self.left[0] < 0:
            raise _TooMany
        self.document.marks[where] = self.at(node)
        if node.tag == "!secret":
            return self.secret(node, where)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node)
        if node.tag not in ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"):
            self.problem("yaml.tag", node, f"unknown tag {_tag(node)}", "Known: !secret, before a name.")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, where)
        if not self.enter(node):
            return None
        result = [self.value(item, (*where, index)) for index, item in enumerate(node.value)]
        self.open.discard(id(node))
        return result

    def enter(self, node: yaml.Node) -> bool:
        """Whether `node` is not inside itself, and not too deep inside others (aliases hide depth)."""
        if id(node) in self.open:
            self.problem("yaml.recursive", node, "this alias contains itself")
            return False
        if len(self.open) >= MAX_DEPTH:
            self.problem("yaml.depth", node, TOO_DEEP)
            return False
        self.open.add(id(node))
        return True

    def mapping(self, node: yaml.MappingNode, where: Where) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        if not self.enter(node):
            return result
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
            shadow = _Walk(Document(self.document.path), self.sources, self)
            found = shadow.mapping(source, where)
            new = found.keys() - result.keys()
            result |= {key: value for key, value in found.items() if key in new}
            for marks, more in (
                (self.document.marks, shadow.document.marks),
                (self.document.key_marks, shadow.document.key_marks),
            ):
                for path, mark in more.items():
                    if path[len(where)] in new:
                        marks.setdefault(path, mark)
            self.document.problems += shadow.document.problems
        self.open.discard(id(node))
        return result

    def scalar(self, node: yaml.ScalarNode) -> Any:
        text = node.value
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "str":
            return self.substitute(node) if "${" in text else text
        if kind not in _PLAIN:
            self.problem("yaml.tag", node, f"unknown tag {_tag(node)}", "Known: !secret, before a name.")
            return text
        try:
            return _PLAIN[kind](text)
        except (KeyError, ValueError):
            self.problem("yaml.value", node, f"this is no {kind}", "Put quotes around text.")
            return None

    def substitute(self, node: yaml.ScalarNode) -> Any:
        """The text with its variables; a number or boolean when it is one unquoted variable and nothing else."""

        def one(found: re.Match[str]) -> str:
            name, default = found.group(1), found.group(2)
            value = self.sources.environ.get(name) or default
            if value is None:
                self.problem(
                    "env.unset",
                    node,
                    f"the environment variable {name} is not set",
                    f"Set it, or write ${{{name}:-default}}.",
                )
                return ""
            self.sources.files.variables[name] = value
            return value

        text = VARIABLE.sub(one, node.value)
        if not node.style and VARIABLE.fullmatch(node.value):
            for tag, pattern in Loader.yaml_implicit_resolvers.get(text[:1], ()):
                kind = tag.removeprefix("tag:yaml.org,2002:")
                if kind in ("bool", "int", "float") and pattern.match(text):
                    return _PLAIN[kind](text)
        return text

    def secret(self, node: yaml.Node, where: Where) -> Secret:
        """`!secret name`, or `!secret {env | file | command: …}`."""
        try:
            wanted = node.value
            if isinstance(node, yaml.MappingNode):
                wanted = self.mapping(node, where)
            return self.sources.secret(wanted, self.document.path.parent)
        except SecretError as error:
            self.problem(error.code, node, error.text, error.hint)
            return Secret("")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the nearest known words, or with all of them when they are few."""
    options = sorted(known)
    close = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(options)}." if 0 < len(options) <= 30 else ""
