"""Passwords and keys that stand in a configuration's text: hidden from who edits it, put back when they save.

Guarantees: what `veiled` gives holds no value of a key that is called a password, token, secret or API key: plain
values, defaults of variables and addresses with a password are `•••`, references (`!secret name`, `${NAME}`) stay
readable; `unveiled` puts each value back at its own place, so that an edit elsewhere never needs to know it.
Refuses (ConfigError `config.veil`): a `•••` at a place that has no such value to put back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from channels.wording import HIDDEN
from engine.errors import ConfigError

VEIL = "•••"
_DEFAULT = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*:-)([^}]+)(\})")
_IN_URL = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
Where = tuple[str | int, ...]


def veiled(text: str) -> str:
    """The text as it may be shown."""
    made, at = [], 0
    for _, begin, end in _hidden(text):
        made += [text[at:begin], _cover(text[begin:end])]
        at = end
    return "".join([*made, text[at:]])


def unveiled(text: str, before: str) -> str:
    """The edited text with every value that `veiled(before)` hid."""
    if VEIL not in text or not _is_yaml(text):  # what cannot be read cannot be written either
        return text
    kept = {where: before[begin:end] for where, begin, end in _hidden(before)}
    made, at = [], 0
    for where, begin, end in _hidden(text):
        shown = text[begin:end]
        if VEIL not in shown:
            continue
        if where not in kept or _cover(kept[where]) != shown:
            raise ConfigError(
                f"{VEIL} stands for a value that is not known here",
                code="config.veil",
                where=".".join(map(str, where)),
                todo="write the value again, or better `!secret NAME`",
            )
        made += [text[at:begin], kept[where]]
        at = end
    return "".join([*made, text[at:]])


def _is_yaml(text: str) -> bool:
    try:
        return any(True for _ in yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError:
        return False


def _cover(value: str) -> str:
    if _DEFAULT.search(value):
        return _DEFAULT.sub(lambda found: found[1] + VEIL + found[3], value)
    return value if value.strip("\"'").startswith("${") else f'"{VEIL}"'


def _hidden(text: str) -> Iterator[tuple[Where, int, int]]:
    """Where values stand that must not be shown, in their order. A text that is no YAML: by its lines."""
    try:
        found = [
            item
            for root in yaml.compose_all(text, Loader=yaml.SafeLoader)
            if root
            for item in _nodes(root, ())
        ]
    except yaml.YAMLError:
        found = []
        for match in re.finditer(
            r"(?m)^[ \t-]*[\"']?([\w.]+)[\"']?[ \t]*:[ \t]+(?!!secret)(\S.*?)[ \t]*$", text
        ):
            if HIDDEN.search(match[1]):
                found.append(((match[1], match.start(2)), match.start(2), match.end(2)))
    spans: dict[tuple[int, int], Where] = {}
    for where, begin, end in found:
        end = begin + len(text[begin:end].rstrip())  # a block ends where the next line begins
        spans.setdefault((begin, end), where)  # what an alias repeats is hidden once
    yield from ((where, begin, end) for (begin, end), where in sorted(spans.items()))


def _nodes(node: yaml.Node, where: Where, hide: bool = False) -> Iterator[tuple[Where, int, int]]:
    if isinstance(node, yaml.MappingNode):
        if node.tag == "!secret":
            return  # a reference: says where, not what
        names = [str(key.value) if isinstance(key, yaml.ScalarNode) else "?" for key, _ in node.value]
        for name, (_, value) in zip(names, node.value, strict=True):
            named = bool(HIDDEN.search(name)) or (name == "key" and "hash" in names)
            yield from _nodes(value, (*where, name), hide or named)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _nodes(item, (*where, index), hide)
    elif (
        (hide or VEIL in node.value or _IN_URL.search(str(node.value)))
        and node.tag != "!secret"
        and node.end_mark.index > node.start_mark.index
        and node.value
    ):
        yield where, node.start_mark.index, node.end_mark.index
