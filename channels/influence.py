"""Where a result comes from: the places of the message, and the rows of code tables, without which it would differ.

It is found by experiment: the message is run again with one place emptied, and with it changed a little; what is
then another result depends on that place. So it holds through canonical events, variables, Python functions and
lookups alike, whatever the format of the message, and names what decides, not what was merely looked at.

Guarantees: nothing is stored or sent; the message that is looked at is never changed. An experiment after which the
message goes another way (ERROR, FILTERED) says nothing of values, only of the way. Refuses nothing. A limit: what
depends on two places of which each alone would do (`first_of` of two equal values) is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.errors import IsthmusError
from engine.model import CLEAR

_ITEM = re.compile(r"(?:/|\[)\d+\]?$")
Key = tuple[Any, ...]
Facts = dict[Key, Any]
"""A result taken apart: each value by its path. `("state",)` is the way that the message goes."""
STATE: Key = ("state",)
LIMIT = 4000
"""Experiments with one message, at most: some seconds."""
UNTOUCHED = ("id", "correlation_id")  # of an event: made of the bytes of the whole message


def flatten(value: Any, path: Key, into: Facts) -> None:
    """Put every plain value inside `value` into `into`, by its path."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            flatten(item, (*path, name), into)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            flatten(item, (*path, index), into)
    else:
        into[path] = value


def other(value: Any) -> Any:
    """A value of the same shape that is not `value`: of a text, its last letter or digit is the next one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    text = str(value)
    for index in range(len(text) - 1, -1, -1):
        char = text[index]
        if char.isalnum() and char.isascii():
            new = {"9": "8", "z": "y", "Z": "Y"}.get(char) or chr(ord(char) + 1)
            return text[:index] + new + text[index + 1 :]
    return text + "x"


def emptied(path: str) -> str:
    """What empties a place: an item of a list must stay, or the others would have other places."""
    return CLEAR if _ITEM.search(path) else ""


def group_of(path: str) -> str:
    """What is tried together first: the segment, or the element at the top."""
    if path.startswith("/"):
        return "/".join(path.split("/")[:3])
    return path.partition("-")[0] if "-" in path else re.split(r"[.\[]", path, maxsplit=1)[0]


class Influence:
    """Experiments with one message. `run` gives the facts of bytes; `parse` reads bytes to set places in them."""

    def __init__(self, raw: bytes, run: Callable[[bytes], Facts], parse: Callable[[bytes], Any]) -> None:
        self._raw = raw
        self._run = run
        self._parse = parse
        self.base = run(raw)
        again = run(raw)
        self._unsteady = {key for key, value in self.base.items() if again.get(key) != value}
        self.left = LIMIT
        self.found: dict[Key, list[Any]] = {}  # result to what it depends on, in the order of the message

    def places(self, leaves: Iterable[tuple[str, Any]]) -> None:
        """Try every place, group by group (segments): a group that changes nothing is not looked into."""
        groups: dict[str, dict[str, Any]] = {}
        for path, value in leaves:
            groups.setdefault(group_of(path), {})[path] = value
        for group in groups.values():
            if not self._tried(group, list(group)) and len(group) > 1:
                continue
            for path, value in group.items():
                for key in self._tried({path: value}, [path]):
                    self._add(key, path)

    def used(self, leaves: Iterable[tuple[str, Any]]) -> set[str]:
        """Those of the places on which what comes out depends; in a few runs when it is none of them.

        Canonical events are on the way, they do not come out.
        """
        values = dict(leaves)
        found: set[str] = set()
        waiting = [list(values)] if values else []
        while waiting:
            paths = waiting.pop()
            tried = self._tried({path: values[path] for path in paths}, paths)
            if all(key[0] == "event" for key in tried):
                continue
            if len(paths) == 1:
                found.add(paths[0])
            else:
                middle = len(paths) // 2
                waiting += [paths[:middle], paths[middle:]]
        return found

    def also(self, what: Any, again: Callable[[], Iterable[Facts]]) -> None:
        """Note what depends on `what`: `again` runs the message with it changed, in one way after the other."""
        for facts in again():
            for key in self._differing(facts):
                self._add(key, what)

    def _tried(self, values: dict[str, Any], paths: list[str]) -> set[Key]:
        """The results that differ with these places emptied or changed."""
        found: set[Key] = set()
        for change in (emptied, other):
            try:
                message = self._parse(self._raw)
                for path in reversed(paths):  # what is emptied may go, and what is behind it move up
                    message[path] = change(path if change is emptied else values[path])
                raw = bytes(message)
            except (IsthmusError, ValueError, LookupError, TypeError):
                continue  # this place cannot be set
            if raw != self._raw and self.left:
                self.left -= 1
                found |= self._differing(self._run(raw))
        return found

    def _differing(self, facts: Facts) -> set[Key]:
        base = self.base
        if facts.get(STATE) != base.get(STATE):
            return {STATE}
        gone = {key[:-1] for key in base if key[-1] == "made" and key not in facts}
        moved = {(_anywhere(key), repr(value)) for key, value in facts.items()}
        return {
            key
            for key, value in base.items()
            if facts.get(key, Ellipsis) != value
            and key not in self._unsteady
            and (key[-1] == "made" or key[: _owner(key)] not in gone)
            and (key[-1] == "made" or _anywhere(key) == key or (_anywhere(key), repr(value)) not in moved)
        }

    def _add(self, key: Key, what: Any) -> None:
        known = self.found.setdefault(key, [])
        if what not in known:
            known.append(what)


def _anywhere(key: Key) -> Key:
    """The key without positions in lists: what moved up because one before it is gone is the same value."""
    size = _owner(key)
    return (*key[:size], *(None if isinstance(part, int) else part for part in key[size:]))


def _owner(key: Key) -> int:
    """How much of a key names what it is a value of: an operation, or an event."""
    return 3 if key[0] == "operation" else 2
