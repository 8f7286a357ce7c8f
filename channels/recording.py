"""Watching a channel at work: what each step reads and looks up, and which leaf of a template asked.

Guarantees: a recorded channel does what the channel does, with the same code; everything that is noted is noted by
stand-ins (for the message, what is known of it, the code tables, the environment of the expressions) that are made
for it, so a channel that is not recorded pays nothing. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from channels.build import Builder
from engine.model import Accessor, Meta
from engine.spec import expressions, sandbox
from engine.spec.channel import ChannelSpec, Configuration
from engine.spec.component import BuildContext
from engine.spec.tables import Otherwise, Table
from transforms.canonical.events import Event

ENTITIES = (msgspec.Struct, list, dict)


@dataclass
class Read:
    """One value that was read: by its path in the message, in `message`, or in the canonical event."""

    path: str
    value: Any
    leaf: str = ""  # file:line:column of the leaf that read it, "" outside a template


@dataclass
class Lookup:
    """One question to a code table."""

    table: str
    code: str
    value: Any
    leaf: str = ""


@dataclass
class Notes:
    """What was read and looked up since `take`."""

    reads: list[Read] = field(default_factory=list)
    lookups: list[Lookup] = field(default_factory=list)

    def read(self, path: str, value: Any) -> None:
        """Note a value, once for each leaf."""
        found = Read(path, value, expressions.running())
        if found not in self.reads:
            self.reads.append(found)

    def take(self) -> Notes:
        """What was noted so far; begins anew."""
        taken = Notes(self.reads, self.lookups)
        self.reads, self.lookups = [], []
        return taken


class Message:
    """A message of any format that notes what is read of it."""

    __slots__ = ("_notes", "recorded")

    def __init__(self, message: Accessor, notes: Notes) -> None:
        self.recorded = message
        self._notes = notes

    def __getitem__(self, path: str) -> Any:
        value = self.recorded[path]
        self._notes.read(path, value)
        return value

    def __setitem__(self, path: str, value: str) -> None:
        self.recorded[path] = value

    def __contains__(self, path: str) -> bool:
        return path in self.recorded  # type: ignore[operator]

    def __bytes__(self) -> bytes:
        return bytes(self.recorded)

    def all(self, path: str) -> Any:
        """Every value that `path` names."""
        found = self.recorded.all(path)
        self._notes.read(path, found)
        return found

    def get(self, path: str, default: str = "") -> Any:
        """The value, or `default`."""
        value = self.recorded.get(path, default)  # type: ignore[attr-defined]
        self._notes.read(path, value)
        return value

    def segment(self, name: str, occurrence: int = 1) -> Any:
        """The nth segment of that name."""
        found = self.recorded.segment(name, occurrence)  # type: ignore[attr-defined]
        return found and Segment(found, f"{name}[{occurrence}]" if occurrence > 1 else name, self._notes)

    def segments(self, name: str | None = None) -> list[Any]:
        """The segments in order, all or those of one name."""
        return list(self._all_segments(name))

    __iter__ = segments

    def _all_segments(self, name: str | None) -> Iterator[Any]:
        seen: dict[str, int] = {}
        for found in self.recorded.segments(name):  # type: ignore[attr-defined]
            seen[found.name] = count = seen.get(found.name, 0) + 1
            yield Segment(found, f"{found.name}[{count}]", self._notes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recorded, name)


class Segment:
    """A segment that notes what is read of it."""

    __slots__ = ("_notes", "_place", "_segment")

    def __init__(self, segment: Any, place: str, notes: Notes) -> None:
        self._segment = segment
        self._place = place
        self._notes = notes

    def __getitem__(self, path: str | int) -> Any:
        value = self._segment[path]
        self._notes.read(f"{self._place}-{path}", value)
        return value

    def __setitem__(self, path: str | int, value: str) -> None:
        self._segment[path] = value

    def get(self, path: str | int, default: str = "") -> Any:
        """The value, or `default`."""
        value = self._segment.get(path, default)
        self._notes.read(f"{self._place}-{path}", value)
        return value

    def all(self, path: str | int) -> Any:
        """The value in every repetition."""
        found = self._segment.all(path)
        self._notes.read(f"{self._place}-{path}", found)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._segment, name)


class Known:
    """What is known of a message besides its bytes (`message.type`), noting what is read of it."""

    __slots__ = ("_notes", "recorded")

    def __init__(self, meta: Meta, notes: Notes) -> None:
        self.recorded = meta
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.recorded, name)
        self._notes.read(f"message.{name}", value)
        return value


def plain(item: Any) -> Any:
    """What a stand-in stands for."""
    return item.recorded if isinstance(item, (Message, Known)) else item


class RecordedTable(Table):
    """A code table that notes who asks; `instead` gives codes another value, to see what depends on a row."""

    __slots__ = ("_notes", "instead")

    def __init__(self, table: Table, notes: Notes) -> None:
        for name in Table.__slots__:
            setattr(self, name, getattr(table, name))
        self._notes = notes
        self.instead: dict[str, str] = {}

    def get(self, code: Any, otherwise: Otherwise | None = None, column: str = "") -> str:
        """As a table does."""
        value = self.instead.get(str(code))
        try:
            value = super().get(code, otherwise, column) if value is None else value
        finally:  # also when there is no such code
            if code:
                self._notes.lookups.append(Lookup(self.name, str(code), value, expressions.running()))
        return value


class Environment(sandbox.Environment):
    """The environment of expressions, noting the values of canonical events that they read."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes
        self._paths: dict[int, str] = {}
        self._kept: list[Any] = []  # what `_paths` knows by its id must not be freed

    def forget(self) -> None:
        """Before another message."""
        self._paths.clear()
        self._kept.clear()

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`."""
        value = super().getattr(obj, attribute)
        path = "event" if isinstance(obj, Event) else self._paths.get(id(obj), "")
        if path and not callable(value):
            path = f"{path}.{attribute}"
            if isinstance(value, ENTITIES):
                self._name(value, path)
            if not isinstance(value, msgspec.Struct):
                self._notes.read(path, value)
        return value

    def _name(self, value: Any, path: str) -> None:
        self._paths[id(value)] = path
        self._kept.append(value)
        if isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ENTITIES):
                    self._name(item, f"{path}[{index}]")


class RecordingBuilder(Builder):
    """Builds a channel that notes what it reads."""

    def __init__(
        self, configuration: Configuration, reactor: Any = None, data_dir: Path | None = None
    ) -> None:
        self.notes = Notes()
        self.environments: list[Environment] = []
        self.watching = False
        super().__init__(configuration, reactor, data_dir)
        self.watching = True
        self.recorded = {name: RecordedTable(t, self.notes) for name, t in self.tables.items()}
        self.tables = dict(self.recorded)

    def context(self, spec: ChannelSpec) -> BuildContext:
        """With an environment that notes what expressions read."""
        context = super().context(spec)
        if self.watching:
            context.cache["make_environment"] = self._environment
        return context

    def _environment(self) -> Environment:
        self.environments.append(Environment(self.notes))
        return self.environments[-1]
