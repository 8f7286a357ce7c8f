"""What arrives on a channel, against what its configuration reads: fields that nobody uses, fields that never arrive,
and the codes that were seen against the tables that map them.

A field is used when a step reads it, or what comes out depends on it (`channels.influence`): so it holds through
canonical events and Python functions. Guarantees: the channel's own steps run, nothing is stored or sent;
of the message only codes are told, other values only with `reveal`. Refuses nothing: messages that cannot be read
are counted. MSH is left out: the intake reads it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import msgspec

from channels.impact import Sample
from channels.influence import Influence
from channels.tracer import Tracer
from engine.errors import IsthmusError
from engine.hl7 import names
from engine.hl7.paths import PathError
from engine.model import ABSENT, CLEAR
from engine.states import MessageState

LONGEST = 24  # characters of a code; longer ones are no codes
TOP = 50  # values of a census


class Field(msgspec.Struct):
    """A place that repetitions and segments share, and in how many messages it was."""

    path: str
    name: str
    messages: int


class Code(msgspec.Struct):
    """A code that was seen: how often, and where its row is ("": no row fits)."""

    code: str
    count: int
    where: str = ""


class Codes(msgspec.Struct):
    """The codes of one table: seen ones, most frequent first, and rows that nobody asked for."""

    table: str
    otherwise: str = ""  # what becomes of a code that it does not have
    seen: list[Code] = []
    never: list[Code] = []


class Census(msgspec.Struct):
    """The values at one path, most frequent first. `masked`: values are not told, only how many differ."""

    path: str
    name: str
    messages: int
    different: int
    masked: bool
    values: list[Code] = []


class Survey(msgspec.Struct):
    """What was found in `messages` messages. Those that are filtered, or cannot be read, are only counted."""

    messages: int = 0
    filtered: int = 0
    unreadable: int = 0
    unused: list[Field] = []
    never: list[Field] = []
    tables: list[Codes] = []
    census: list[Census] = []


class Surveyor:
    """Looks at the messages of one channel."""

    def __init__(self, tracer: Tracer, paths: Iterable[str] = (), *, reveal: bool = False) -> None:
        self._tracer = tracer
        self._reveal = reveal
        self._arrived: Counter[str] = Counter()
        self._used: set[str] = set()
        self._read: Counter[str] = Counter()
        self._there: set[str] = set()
        self._codes: dict[str, Counter[str]] = {name: Counter() for name in tracer.tables}
        self._census: dict[str, Counter[str]] = {path: Counter() for path in paths}
        self._hl7 = tracer.format.name == "hl7v2"

    def look(self, samples: Iterable[Sample]) -> Survey:
        """The survey of these messages."""
        told = Survey()
        for sample in samples:
            told.messages += 1
            state = self._one(sample.raw, sample.meta.received_at) if sample.raw is not None else ""
            told.unreadable += not state
            told.filtered += state == MessageState.FILTERED
        told.unused = [
            Field(path, self._name(path), count)
            for path, count in sorted(self._arrived.items(), key=lambda one: (-one[1], one[0]))
            if path not in self._used and not any(covers(read, path) for read in self._read)
        ]
        told.never = [
            Field(path, self._name(path), count)
            for path, count in sorted(self._read.items())
            if not any(there == path or there.startswith(f"{path}.") for there in self._there)
        ]
        told.tables = [self._table(name, seen) for name, seen in self._codes.items() if seen]
        looked_at = told.messages - told.filtered - told.unreadable
        told.census = [self._counted(path, seen, looked_at) for path, seen in self._census.items()]
        return told

    def _one(self, raw: bytes, at: int) -> str:
        """The state that the message would have, "" when it is not of the format."""
        try:
            view = self._tracer.format.parse(raw)
            state, notes = self._tracer.notes(raw, at)
        except IsthmusError:
            return ""
        if state == MessageState.FILTERED:
            return state
        for path, seen in self._census.items():
            seen.update(str(value) for value in view.all(path) if value not in (ABSENT, CLEAR))
        leaves = [(path, value) for path, value in view.leaves() if not path.startswith("MSH")]
        self._arrived.update({general(path) for path, _ in leaves})
        read = {general(one.path): one.value for one in notes.reads}
        self._read.update(path for path in read if not path.startswith(("message.", "MSH")))
        self._there |= {path for path, value in read.items() if value not in (ABSENT, CLEAR, None, [])}
        for item in notes.lookups:
            self._codes[item.table][item.code] += 1
        left = [one for one in leaves if general(one[0]) not in self._used]
        influence = Influence(raw, lambda data: self._tracer.facts(data, at), self._tracer.format.parse)
        self._used |= {general(path) for path in influence.used(left)}
        return state

    def _table(self, name: str, seen: Counter[str]) -> Codes:
        table = self._tracer.tables[name]
        found = Codes(name, "default" if table.default is not None else table.otherwise)
        asked = set()
        for code, count in seen.most_common():
            mark = table.place(code)
            asked.add(mark)
            shown = code if mark or self._reveal or len(code) <= LONGEST else "(a long text)"
            found.seen.append(Code(shown, count, str(mark or "")))
        rows = ((code, table.place(code)) for code in table.rows)
        found.never = [Code(code, 0, str(mark)) for code, mark in rows if mark not in asked]
        return found

    def _counted(self, path: str, seen: Counter[str], messages: int) -> Census:
        masked = not (self._reveal or self._coded(path))
        values = [] if masked else [Code(value, count) for value, count in seen.most_common(TOP)]
        return Census(path, self._name(path), messages, len(seen), masked, values)

    def _coded(self, path: str) -> bool:
        """Whether HL7 has a table for what is at the path: then it is no patient data."""
        try:
            return self._hl7 and bool(names.describe(re.sub(r"\[[^]]*\]", "", path)).table)
        except PathError:
            return False

    def _name(self, path: str) -> str:
        return names.label(path) if self._hl7 and not path.startswith("event.") else ""


def general(path: str) -> str:
    """A path without its numbers of segments, repetitions and items: `OBX[3]-5[2].1` is `OBX-5.1`."""
    return re.sub(r"/\d+(?=/|$)", "/*", re.sub(r"\[[^]]*\]", "", path))


def covers(read: str, path: str) -> bool:
    """Whether who reads `read` reads what is at `path`, too."""
    return path == read or path.startswith((f"{read}.", f"{read}/")) or read == f"{path}.1"
