"""The normal form of YAML files: what `isthmus fmt` writes.

    blocks are indented by two, lists too; a line is at most 120 wide where braces can be opened into a block
    {braces} and [brackets] that fit into their line stay, `{a: 1, b: [2, 3]}`; longer ones, and those that hold
    comments, become blocks; a block stays a block
    the keys of what is declared (channel, destination, settings of a component) are in the order of the reference
    'text' becomes "text" unless that needs escapes; text that other YAML readers take for something else (NO, 007,
    1:30) gets quotes; quotes are never taken away, for in "${PORT}" they mean something
    at most one blank line between entries; none at the begin of a block; the file ends with one line end

Guarantees: comments, anchors, tags and the text of block scalars are kept; the result, formatted again, is the same;
what the file says is the same before and after, for the YAML of channel files and for plain YAML 1.1, or nothing is
written. A mapping that holds anchors keeps its order, since an alias must come after its anchor. Refuses
(`ConfigError`, `fmt.refused`): a file for which that cannot be done, and what `engine.spec.cst` refuses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import yaml

from engine.errors import ConfigError
from engine.spec import cst
from engine.spec.cst import Comment, Entry, File, Node
from engine.spec.document import Loader
from engine.spec.include import TOP

WIDTH = 120
STEP = 2
Schema = dict[str, Any]
_OTHERS = yaml.SafeLoader("").yaml_implicit_resolvers


def normal(text: str, name: str, schema: Schema) -> str:
    """`text` in its normal form; `schema` is that of channel files, for the order of keys."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    file = cst.compose(text, name)
    declared = _declared(file)
    if declared:
        _order(file.root, [schema], schema)
    made = _Writer(file, declared).lines()
    if not (file.root is not None and _keeps(file.root)):
        while made and not made[-1]:
            made.pop()
    result = "".join(f"{line}\n" for line in made)
    _same(text, result, name, declared)
    return result


def _declared(file: File) -> bool:
    """Whether this is a channel file, or one that it includes."""
    keys = {one.key.value for one in file.root.entries if one.key is not None} if file.root else set()
    return bool(keys & {*TOP}) and all(key in TOP or key.startswith("x-") for key in keys)


# order


def _order(node: Node | None, schemas: list[Schema], root: Schema) -> None:
    """Put the keys of a mapping into the order of the properties of its schema, and so on inside."""
    if node is None or node.kind not in ("mapping", "sequence"):
        return
    forms = [form for one in schemas for form in _forms(one, root)]
    if node.kind == "sequence":
        items = [form["items"] for form in forms if isinstance(form.get("items"), dict)]
        for entry in node.entries:
            _order(entry.value, items, root)
        return
    names = {entry.key.value for entry in node.entries if entry.key is not None}
    known = [form for form in forms if "properties" in form]
    best = max(known, key=lambda form: len(names & form["properties"].keys()), default=None)
    order = {name: n for n, name in enumerate(best["properties"])} if best else {}
    for entry in node.entries:
        assert entry.key is not None
        inner = [
            form["properties"][entry.key.value] for form in known if entry.key.value in form["properties"]
        ]
        if not inner:
            inner = [one for form in forms if isinstance(one := form.get("additionalProperties"), dict)]
        _order(entry.value, inner, root)
    if order and not any(map(_anchored, node.entries)):
        first = node.entries[0].blank if node.entries else False
        order["<<"] = -1
        node.entries.sort(key=lambda entry: order.get(entry.key.value, len(order)) if entry.key else 0)
        if node.entries and not first:
            node.entries[0].blank = False


def _forms(schema: Schema, root: Schema) -> Iterable[Schema]:
    if "$ref" in schema:
        yield from _forms(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
        return
    yield schema
    for one in schema.get("anyOf", ()):
        yield from _forms(one, root)


def _anchored(entry: Entry) -> bool:
    nodes = [entry.value, *([entry.key] if entry.key else [])]
    return any(node.anchor for node in nodes) or any(map(_anchored, entry.value.entries))


# writing


class _Writer:
    def __init__(self, file: File, declared: bool) -> None:
        self.file = file
        self.declared = declared
        self.behind = dict(file.behind)

    def lines(self) -> list[str]:
        made = ["---"] if self.file.start else []
        made += self.comments(self.file.head, 0, first=True)
        root = self.file.root
        if root is not None:
            if self.file.head:
                made.append("")
            if self.opened(root, 0):
                made += [self.properties(root)] * bool(self.properties(root))
                made += self.block(root, 0)
            else:
                made += self.value(root, STEP, "")
        foot = self.comments(self.file.foot, 0, first=not made)
        return made + foot + [text for _, text in sorted(self.behind.items())]  # the last ones: behind `...`

    def comments(self, found: list[Comment], indent: int, *, first: bool) -> list[str]:
        made = []
        for n, one in enumerate(found):
            if one.blank and not (first and n == 0):
                made.append("")
            made.append(" " * indent + one.text)
        return made

    def comment(self, line: int) -> str:
        """What stands behind the text of a line."""
        text = self.behind.pop(line, "")
        return f" {text}" if text else ""

    def block(self, node: Node, indent: int) -> list[str]:
        """A mapping or list, an entry a line."""
        made: list[str] = []
        kept = False
        for n, entry in enumerate(node.entries):
            above = self.comments(entry.above, indent, first=n == 0)
            if kept and above[:1] == [""]:
                del above[0]
            made += above
            if entry.blank and (n or entry.above) and not (kept and not above):
                made.append("")
            made += self.item(entry, indent) if entry.key is None else self.pair(entry, indent)
            kept = _keeps(entry.value)
        made += self.comments(node.foot, indent, first=not node.entries)
        return made

    def pair(self, entry: Entry, indent: int) -> list[str]:
        assert entry.key is not None
        node = entry.value
        key = self.scalar(entry.key, indent)[0]
        start = " " * indent + "".join(f"{one} " for one in [self.properties(entry.key)] if one) + key + ":"
        inner = indent + STEP
        if not self.opened(node, len(start) + 1):
            return self.value(node, inner, start)
        named = self.properties(node)
        head = f"{start} {named}" if named else start
        return [head + self.comment(entry.key.line), *self.block(node, inner)]

    def item(self, entry: Entry, indent: int) -> list[str]:
        node, dash = entry.value, " " * indent + "-"
        inner = indent + STEP
        if not self.opened(node, inner):
            return self.value(node, inner, dash)
        named = self.properties(node)
        if named:
            return [f"{dash} {named}" + self.comment(entry.line), *self.block(node, inner)]
        body = self.block(node, inner)
        above = []
        if node.style or entry.line != node.entries[0].line:  # `- # comment`, or `- {`
            above = [f"{' ' * indent}{one[1:]}" for one in [self.comment(entry.line)] if one]
        while body[0].lstrip().startswith("#") or not body[0]:
            above.append(" " * indent + body.pop(0).strip())
        return [*(line.rstrip() for line in above), f"{dash} {body[0].lstrip()}", *body[1:]]

    def opened(self, node: Node, column: int) -> bool:
        """Whether a value stands below its key, an entry a line."""
        if node.kind not in ("mapping", "sequence"):
            return False
        return node.block or self.braces(node, column) is None

    def braces(self, node: Node, column: int) -> str | None:
        """A value in braces on one line, or None: it is too long, or holds comments."""
        text = self.flat(node)
        wide = text is not None and column + len(text) > WIDTH
        return None if text is None or (wide and node.entries) else text

    def flat(self, node: Node) -> str | None:
        start = "".join(f"{one} " for one in [self.properties(node)] if one)
        if node.kind == "alias":
            return f"*{node.value}"
        if node.kind == "scalar":
            return (
                None if node.style in ("|", ">") or "\n" in node.source else start + self.scalar(node, 0)[0]
            )
        if node.foot or any(entry.above for entry in node.entries):
            return None
        if any(line in self.behind for line in range(node.line, node.last)):
            return None
        parts = []
        for entry in node.entries:
            value = self.flat(entry.value)
            if value is None:
                return None
            key = self.scalar(entry.key, 0)[0] if entry.key is not None else ""
            parts.append(value if entry.key is None else f"{key}: {value}")
        opening, closing = "{}" if node.kind == "mapping" else "[]"
        return start + opening + ", ".join(parts) + closing

    def value(self, node: Node, indent: int, start: str) -> list[str]:
        """A value that begins on the line of its key, which is `start`, with the comment behind it."""
        lines = self.scalar(node, indent) if node.kind == "scalar" else [self.flat(node) or ""]
        if node.kind == "scalar" and self.properties(node):
            lines[0] = f"{self.properties(node)} {lines[0]}"
        lines[0] = (f"{start} {lines[0]}" if start else lines[0]).rstrip()
        if node.style not in ("|", ">"):
            lines[-1] += self.comment(node.last)
        return lines

    def properties(self, node: Node) -> str:
        return " ".join(filter(None, [f"&{node.anchor}" if node.anchor else "", node.tag]))

    def scalar(self, node: Node, indent: int) -> list[str]:
        if node.style in ("|", ">"):
            return _body(node, indent)
        if "\n" in node.source:
            first, *more = node.source.split("\n")
            return [first.rstrip(), *(" " * indent + line.strip() if line.strip() else "" for line in more)]
        if node.style == "'" and not re.search(r'["\\]|[^\x20-\x7e\xa0-\ufefe]', node.value):
            return [f'"{node.value}"']
        if self.declared and not node.style and not node.tag and _ambiguous(node.value):
            return [f'"{node.value}"']
        return [node.source]


def _keeps(node: Node) -> bool:
    """Whether blank lines after it belong to its text."""
    while node.block and node.entries:
        node = node.entries[-1].value
    return node.style in ("|", ">") and "+" in node.source.partition("\n")[0].partition("#")[0]


def _body(node: Node, indent: int) -> list[str]:
    """A block scalar, its lines moved to another indentation."""
    header, _, rest = node.source.partition("\n")
    lines = rest.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    begins = next((line for line in node.value.split("\n") if line), "")
    written = next((line for line in lines if line.strip()), "")
    leading = len(begins) - len(begins.lstrip(" "))
    old = len(written) - len(written.lstrip(" ")) - leading
    found = re.match(r"([|>])([-+0-9]*)(.*)", header)
    assert found is not None
    chomp = re.sub(r"\d", "", found[2])
    body = [" " * indent + line[old:] if line[old:] else "" for line in lines]
    if chomp == "+":
        body += [""] * (len(node.value) - len(node.value.rstrip("\n")) - bool(node.value.strip("\n")))
    number = str(STEP) if leading else ""
    comment = found[3].strip()
    return [f"{found[1]}{number}{chomp}" + (f" {comment}" if comment else ""), *body]


def _ambiguous(text: str) -> bool:
    """Whether a plain text is text in channel files and something else to YAML 1.1, which editors may speak."""
    if not text or any(pattern.match(text) for _, pattern in _resolvers(Loader, text)):
        return False
    return any(pattern.match(text) for _, pattern in _OTHERS.get(text[0], ()) if text not in ("<<",))


def _resolvers(loader: Any, text: str) -> Iterable[tuple[str, re.Pattern[str]]]:
    found: list[tuple[str, re.Pattern[str]]] = loader.yaml_implicit_resolvers.get(text[:1], [])
    return found


# the same


def _same(before: str, after: str, name: str, declared: bool) -> None:
    """Refuse a result that says something else, or lost a comment."""
    loaders = [Loader] if declared else [Loader, yaml.SafeLoader]
    try:
        same = all(_says(before, loader) == _says(after, loader) for loader in loaders)
    except yaml.YAMLError:
        same = False
    old, new = (Counter(one.text for one, _ in cst.comments(text)) for text in (before, after))
    if not same or old != new:
        lost = next(iter(old - new), "")
        what = f"the comment {lost!r} would be lost" if same else "it would mean something else afterwards"
        raise ConfigError(
            f"this file cannot be formatted: {what}", code=cst.CODE, where=name,
            todo="nothing was changed; format it by hand",
        )  # fmt: skip


def _says(text: str, loader: Any) -> Any:
    """What a text says: data, tags, and whether what holds a variable is quoted; the order of keys aside."""
    known: dict[int, Any] = {}

    def walk(node: Any) -> Any:
        if id(node) in known:
            return known[id(node)]
        known[id(node)] = "itself"
        made: Any
        if isinstance(node, yaml.ScalarNode):
            made = node.tag, node.value, bool(node.style) and "${" in node.value
        elif isinstance(node, yaml.SequenceNode):
            made = node.tag, [walk(item) for item in node.value]
        else:
            made = node.tag, sorted(((walk(key)[1], walk(value)) for key, value in node.value), key=repr)
        known[id(node)] = made
        return made

    root = yaml.compose(text, Loader=loader)
    return walk(root) if root is not None else None
