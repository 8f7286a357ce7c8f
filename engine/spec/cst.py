"""A YAML file as it is written: values with their quotes, anchors and tags, and every comment at its place.

Guarantees: every comment is kept: behind what stands on its line, above the entry that follows it, or at the foot of
the innermost block that it is indented into; and so are blank lines between entries. Refuses (`ConfigError` with the
place): what is not YAML, several documents, directives, and keys that are not plain text on one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from engine.errors import ConfigError

CODE = "fmt.refused"


@dataclass
class Comment:
    """A line that is a comment. Lines and columns count from 0."""

    text: str
    line: int
    column: int
    blank: bool  # whether a blank line is above it


@dataclass
class Node:
    """A value: `kind` is scalar, alias, mapping or sequence."""

    kind: str
    line: int
    column: int
    last: int = 0  # the line on which it ends
    value: str = ""  # of a scalar what it says, of an alias its name
    style: str = ""  # of a scalar its quote, `|`, `>` or ""; of others "{" when it is written in braces
    source: str = ""  # a scalar as it is written
    anchor: str = ""
    tag: str = ""
    entries: list[Entry] = field(default_factory=list)
    foot: list[Comment] = field(default_factory=list)  # comments after the last entry

    @property
    def block(self) -> bool:
        """Whether entries stand on lines of their own."""
        return self.kind in ("mapping", "sequence") and not self.style


@dataclass
class Entry:
    """A key with its value, or an item of a list."""

    key: Node | None
    value: Node
    line: int
    within: Node
    parent: Entry | None
    blank: bool = False
    above: list[Comment] = field(default_factory=list)


@dataclass
class File:
    """A whole file. `behind`: the comment behind what stands on a line."""

    root: Node | None
    head: list[Comment]  # before everything, with a blank line after it
    foot: list[Comment]
    behind: dict[int, str]
    start: bool  # it has a `---`


def compose(text: str, name: str) -> File:
    """Read a text; `name` is the file's, for errors."""
    try:
        return _Reader(text, name).read()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        what = getattr(error, "problem", None) or "it holds characters that YAML does not allow"
        raise ConfigError(f"this is not YAML: {what}", code="yaml.syntax", where=where) from None
    except RecursionError:
        raise ConfigError("it is nested too deep", code="yaml.depth", where=name) from None


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.lines = text.split("\n")
        self.events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self.entries: list[Entry] = []  # in the order of the file
        self.braces: list[Node] = []

    def read(self) -> File:
        root, start, documents = None, False, 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.refused(
                        event, "there are several documents in this file", "make a file of each"
                    )
                if event.version or event.tags:
                    raise self.refused(event, "a YAML directive stands here", "take it out")
                start = bool(event.explicit)
                root = self.node(next(self.events), None)
        if root is not None and root.kind == "scalar" and not (root.source or root.anchor or root.tag):
            root = None
        file = File(root, [], [], {}, start)
        for comment, alone in comments(self.text):
            if alone:
                comment.blank = self.blank(comment.line)
                self.place(comment, file)
            else:
                file.behind[comment.line] = comment.text
        for entry in self.entries:
            entry.blank = self.blank(entry.line)
        if self.entries:
            first = self.entries[0]
            cut = max((n for n, one in enumerate(first.above) if one.blank and n), default=0)
            cut = len(first.above) if first.blank else cut
            file.head, first.above = first.above[:cut], first.above[cut:]
        return file

    def blank(self, line: int) -> bool:
        return line > 0 and not self.lines[line - 1].strip()

    def refused(self, event: Any, what: str, todo: str = "") -> ConfigError:
        mark = event.start_mark
        where = f"{self.name}:{mark.line + 1}:{mark.column + 1}"
        return ConfigError(what, code=CODE, where=where, todo=todo)

    def node(self, event: Any, parent: Entry | None) -> Node:
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.AliasEvent):
            return Node("alias", start.line, start.column, end.line, str(event.anchor))
        if isinstance(event, yaml.ScalarEvent):
            source, last = self.text[start.index : end.index], end.line
            prefix = re.match(r"(?:[&!]\S*\s+)*", source) if event.anchor or event.tag else None
            source = source[prefix.end() if prefix else 0 :]
            if event.style in ("|", ">"):
                last = end.line - (source.endswith("\n") and end.column == 0)
            found = Node("scalar", start.line, start.column, last, event.value, event.style or "", source)
        else:
            kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
            found = Node(kind, start.line, start.column, style="{" if event.flow_style else "")
            self.fill(found, parent)
        found.anchor, found.tag = event.anchor or "", _tag(event)
        return found

    def fill(self, node: Node, parent: Entry | None) -> None:
        """The entries of a mapping or a list."""
        if node.style:
            self.braces.append(node)
        while not isinstance(event := next(self.events), (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            line = event.start_mark.line
            entry = Entry(None, node, line, node, parent)
            self.entries.append(entry)
            if node.kind == "mapping":
                entry.key = self.node(event, entry)
                if entry.key.kind == "alias" or not _one_line(entry.key):
                    raise self.refused(event, "a key must be plain text on one line")
                event = next(self.events)
            entry.value = self.node(event, entry)
            if node.kind == "sequence" and not node.style:
                entry.line = self.dash(entry, node)
            node.entries.append(entry)
        node.last = event.end_mark.line  # type: ignore[union-attr]
        if node.entries and not node.style:
            node.last = max(entry.value.last for entry in node.entries)
            if node.kind == "mapping":
                first = node.entries[0].key
                node.column = first.column if first is not None else node.column

    def dash(self, entry: Entry, node: Node) -> int:
        """The line of an item's dash: its value may begin below it."""
        for line in range(entry.line, node.line - 1, -1):
            before, dash = self.lines[line][: node.column], self.lines[line][node.column : node.column + 1]
            if dash == "-" and not before.strip(" -"):
                return line
        return entry.line

    def place(self, comment: Comment, file: File) -> None:
        """Give a comment line to what it is about."""
        after = next((one for one in self.entries if one.line > comment.line), None)
        inside = [one for one in self.braces if one.line < comment.line <= one.last]
        if inside:
            node = inside[-1]
            following = next((one for one in node.entries if one.line > comment.line), None)
            (node.foot if following is None else following.above).append(comment)
            return
        before = next((one for one in reversed(self.entries) if one.line < comment.line), None)
        least = after.within.column if after is not None else -1
        while before is not None:
            block = before.within
            if not block.style and (after is None or block.column > least) and block.column <= comment.column:
                if after is None and before.parent is None:
                    break  # at the end of the file
                if after is None or block is not after.within:
                    block.foot.append(comment)
                    return
            before = before.parent
        (file.foot if after is None else after.above).append(comment)


def _one_line(key: Node) -> bool:
    return key.kind == "scalar" and key.style not in ("|", ">") and "\n" not in key.source


def _tag(event: Any) -> str:
    tag = event.tag
    if not tag or (isinstance(event, yaml.ScalarEvent) and event.implicit[1] and event.style):
        return ""
    if tag.startswith("tag:yaml.org,2002:"):
        return "!!" + tag.removeprefix("tag:yaml.org,2002:")
    return str(tag) if tag.startswith("!") else f"!<{tag}>"


def comments(text: str) -> Iterator[tuple[Comment, bool]]:
    """Every comment, and whether it has its line to itself: they are between the tokens, and nowhere else."""
    end = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        yield from _between(text, end, token.start_mark.index)
        end = max(end, token.end_mark.index)
    yield from _between(text, end, len(text))


def _between(text: str, begin: int, end: int) -> Iterator[tuple[Comment, bool]]:
    at = begin
    while (found := text.find("#", at, end)) >= 0:
        line_start = text.rfind("\n", 0, found) + 1
        line_end = text.find("\n", found)
        at = len(text) if line_end < 0 else line_end
        comment = Comment(text[found:at].rstrip(), text.count("\n", 0, found), found - line_start, False)
        yield comment, not text[line_start:found].strip()
