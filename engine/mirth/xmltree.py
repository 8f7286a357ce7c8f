"""An XML file as a tree in which every element knows its line: what a Mirth export is read with.

Guarantees: nothing outside the file is ever read, no entity but the five of XML is expanded, and the work is
bounded by the size of the file.
Refuses (ConfigError, `mirth.xml`, with file:line:column): a document type, more than MAX_DEPTH levels, more
than MAX_SIZE bytes, and what is not well-formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from engine.errors import ConfigError

MAX_SIZE = 256 * 1024 * 1024
MAX_DEPTH = 200


class Node:
    """One element: its name, attributes, children in order, own text, and the line where it begins."""

    __slots__ = ("attributes", "children", "line", "tag", "text")

    def __init__(self, tag: str, attributes: dict[str, str], line: int) -> None:
        self.tag = tag
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""
        self.line = line

    def __iter__(self) -> Iterator[Node]:
        return iter(self.children)

    def child(self, *path: str) -> Node | None:
        """The first element at a path of names below this one."""
        found: Node | None = self
        for tag in path:
            found = next((one for one in found.children if one.tag == tag), None) if found else None
        return found

    def inside(self, *path: str) -> list[Node]:
        """The children of the element at a path; none when it is not there."""
        found = self.child(*path)
        return found.children if found else []

    def value(self, *path: str, default: str = "") -> str:
        """The text of the element at a path, without the blanks around it."""
        found = self.child(*path)
        return found.text.strip() if found else default


def read(path: Path) -> Node:
    """The tree of a file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read the file: {error.strerror}", code="file.unreadable", where=str(path)
        ) from None
    if len(data) > MAX_SIZE:
        raise ConfigError(
            f"the file has more than {MAX_SIZE // 1024 // 1024} MiB",
            code="mirth.xml",
            where=str(path),
            todo="export single channels or groups",
        )
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Node:
    """The tree of `data`; `name` is what errors call it. Raises ConfigError."""
    return _Builder(name).build(data)


class _Builder:
    def __init__(self, name: str) -> None:
        self.name = name
        self.open = [Node("", {}, 0)]
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self.doctype
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters

    def build(self, data: bytes) -> Node:
        try:
            self.parser.Parse(data, True)
        except expat.ExpatError as error:
            what = expat.errors.messages[error.code]
            self.refuse(f"this is not well-formed XML: {what}", error.lineno, error.offset + 1)
        except (LookupError, ValueError):
            self.refuse("its character set is not known", 1, 1)
        return self.open[0].children[0]

    def doctype(self, *_: object) -> None:
        self.refuse("the file has a document type", todo="an export of Mirth has none; delete the DOCTYPE")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.open) > MAX_DEPTH:
            self.refuse(f"elements are nested more than {MAX_DEPTH} levels deep")
        node = Node(tag, attributes, self.parser.CurrentLineNumber)
        self.open[-1].children.append(node)
        self.open.append(node)

    def end(self, _: str) -> None:
        node = self.open.pop()
        if node.children and not node.text.strip():
            node.text = ""

    def characters(self, text: str) -> None:
        self.open[-1].text += text

    def refuse(self, what: str, line: int = 0, column: int = 0, todo: str = "") -> NoReturn:
        line = line or self.parser.CurrentLineNumber
        column = column or self.parser.CurrentColumnNumber + 1
        raise ConfigError(what, code="mirth.xml", where=f"{self.name}:{line}:{column}", todo=todo)
