"""What became of each part of an export: converted, converted with a difference, or not and why."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import msgspec

Kind = Literal["channel", "connector", "rule", "step", "script", "setting"]
Status = Literal["converted", "adapted", "not converted", "note"]
PARTS: tuple[Kind, ...] = ("connector", "rule", "step", "script")
"""What decides what a channel does: when one of these is not converted, the channel must not run as it is."""


class Finding(msgspec.Struct, frozen=True):
    """One part of an export and what became of it; `line` is the line of the XML."""

    status: Status
    kind: Kind
    line: int
    channel: str
    what: str
    why: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.channel}: " if self.channel else ""
        tail = "".join(f" {part[:1].upper()}{part[1:]}." for part in (self.why, self.hint) if part)
        return f"{self.line}: {self.status}: {place}{self.what}.{tail}"


class Quote(msgspec.Struct, frozen=True):
    """Code that was not converted, for somebody to read."""

    line: int
    channel: str
    what: str
    code: str


class Findings:
    """Everything that is to be told of one file, in the order of its lines."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.channel = ""
        self._all: list[Finding] = []
        self.quotes: list[Quote] = []

    def add(
        self, status: Status, kind: Kind, line: int, what: str, why: str = "", hint: str = "", code: str = ""
    ) -> None:
        """Tell of one part; `code` is quoted for the reader."""
        self._all.append(Finding(status, kind, line, self.channel, what, why, hint))
        if code.strip():
            self.quotes.append(Quote(line, self.channel, what, code))

    def open_parts(self, channel: str) -> list[Finding]:
        """The parts of a channel that are not converted, and without which it would do something else."""
        return [
            one
            for one in self._all
            if one.channel == channel and one.status == "not converted" and one.kind != "setting"
        ]

    @property
    def all(self) -> list[Finding]:
        """Every finding, by line."""
        return sorted(self._all, key=lambda one: one.line)

    @property
    def told(self) -> list[Finding]:
        """The findings that somebody should read: all but what was simply converted."""
        return [one for one in self.all if one.status != "converted"]

    def counts(self) -> dict[str, Counter[str]]:
        """How many of each kind of part had which fate."""
        found: dict[str, Counter[str]] = {kind: Counter() for kind in PARTS}
        for one in self._all:
            if one.kind in PARTS and one.status != "note":
                found[one.kind][one.status] += 1
        return found
