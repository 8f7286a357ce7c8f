"""Where in a file a character of a setting's text stands, and Jinja syntax trees whose nodes know it.

Guarantees: `Written.at(offset)` gives the line and column of that character, in plain, quoted, literal and folded
YAML scalars; where the text in the file is another one (a variable, an escape that is not known) it gives the
place where the text begins. `Offsets` is the environment of the channel with one difference: the line number of
a node is the offset of its token, and so is the one of a syntax error. Refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import nodes
from jinja2.lexer import TokenStream

from engine.spec import sandbox
from engine.spec.document import Mark
from engine.spec.files import Files

NEAR = 20  # lines that are looked at first, beyond those of the text itself
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", " ": " ", "/": "/", "a": "\a", "e": "\x1b"}
_LENGTHS = {"x": 2, "u": 4, "U": 8}
_HEADER = re.compile(r"[|>][-+0-9]*[^\n]*\n")
_PROPERTIES = re.compile(r"(?:[&!][^\s]*\s+)+")


class Written(NamedTuple):
    """A text, and where in a file it begins."""

    text: str
    mark: Mark
    files: Files

    def at(self, offset: int) -> Mark:
        """The place of the character at `offset`."""
        lines = source(self.files, self.mark.file)
        if self.mark.line > len(lines):
            return self.mark
        begin = self.mark.line - 1
        near = begin + self.text.count("\n") + len(self.text) // 8 + NEAR  # folded text has more lines
        rest = "\n".join(lines[begin:near])[self.mark.column - 1 :]
        found = _locate(rest, self.text, offset)
        if found is None and near < len(lines):
            rest = "\n".join(lines[begin:])[self.mark.column - 1 :]
            found = _locate(rest, self.text, offset)
        if found is None:
            return self.mark
        before = rest[:found]
        breaks = before.count("\n")
        column = len(before) - before.rfind("\n") if breaks else self.mark.column + found
        return Mark(self.mark.file, self.mark.line + breaks, column)

    @property
    def raw(self) -> str:
        """What the file has from here to the end of the line."""
        lines = source(self.files, self.mark.file)
        return lines[self.mark.line - 1][self.mark.column - 1 :] if self.mark.line <= len(lines) else ""


def source(files: Files, name: str) -> list[str]:
    """The lines of a file that was read; none when it was not read from a file."""
    try:
        return files.lines(Path(name))
    except (OSError, ValueError):
        return []


def _locate(raw: str, text: str, offset: int) -> int | None:
    """The index in `raw` (YAML from the scalar's first character on) of the character `text[offset]`."""
    start = _PROPERTIES.match(raw)
    begin = start.end() if start else 0
    style = raw[begin : begin + 1]
    if style in "|>" and (header := _HEADER.match(raw, begin)):
        begin, style = header.end(), "|"
    elif style in "\"'" and style:
        begin += 1
    place, index = begin, begin
    for wanted in text[: offset + 1]:
        if wanted.isspace() and not (style == '"' and raw[index : index + 1] == "\\"):
            place = index  # how white space is folded does not matter: what follows is found again
            index += raw[index : index + 1] == wanted
            continue
        while raw[index : index + 1].isspace() or (style == '"' and raw[index : index + 2] == "\\\n"):
            index += 2 if raw[index] == "\\" else 1
        place = index
        value, length = _character(raw, index, style)
        if value != wanted:
            return None
        index += length
    return place


def _character(raw: str, index: int, style: str) -> tuple[str, int]:
    """The character that stands at `index`, and how long it is written."""
    if style == "'" and raw[index : index + 2] == "''":
        return "'", 2
    if style == '"' and raw[index : index + 1] == "\\":
        name = raw[index + 1 : index + 2]
        if name in _LENGTHS:
            digits = raw[index + 2 : index + 2 + _LENGTHS[name]]
            return (chr(int(digits, 16)) if re.fullmatch("[0-9a-fA-F]+", digits) else ""), 2 + len(digits)
        return _ESCAPES.get(name, name), 2
    return raw[index : index + 1], 1


class Looker(sandbox.Environment):
    """The sandbox of components that are built to see whether they can be built."""

    looking = True

    def __init__(self) -> None:
        super().__init__()
        self.trees: dict[str, nodes.Template] = {}  # of an Offsets: texts that it read

    def parse(self, source: str, name: str | None = None, filename: str | None = None) -> nodes.Template:
        """The tree of a text; one that was read already is taken, for it will be changed."""
        return self.trees.pop(source, None) or super().parse(source, name, filename)


class Offsets(sandbox.Environment):
    """The sandbox, for looking only: `lineno` of a node or of a syntax error is the offset of its token.

    The trees that were read are kept until whoever builds the same text takes them: each is parsed once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trees: dict[str, nodes.Template] = {}

    def parse(self, source: str, name: str | None = None, filename: str | None = None) -> nodes.Template:
        """The tree of a text."""
        tree = self.trees[source] = super().parse(source, name, filename)
        return tree

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        text = self.preprocess(source, name, filename)
        tokens = self.lexer.wrap(self._placed(text, name, filename, state), name, filename)
        return TokenStream(tokens, name, filename)

    def _placed(self, text: str, name: Any, filename: Any, state: Any) -> Iterator[tuple[int, str, str]]:
        at = 0
        for _, token, value in self.lexer.tokeniter(text, name, filename, state):
            found = text.find(value, at)
            at = found if found >= 0 else at
            yield at, token, value
            at += len(value)
