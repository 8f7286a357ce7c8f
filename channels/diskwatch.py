"""Watches the disk of the data folder: listeners stop reading before it is full, and read on when there is room.

Guarantees: below the `pause` mark nothing is read from any listener, below `refuse` messages are answered
AR 207; both end by themselves once there is a quarter more room than the mark, so that it does not flutter;
other reasons to hold a channel back (its backlog) are left alone. What is stored goes on to be delivered.
Refuses nothing: a disk that cannot be asked leaves everything as it is, and is logged once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import structlog

from engine.errors import HL7Error
from engine.spec.retention import Disk

log = structlog.get_logger()

PAUSE = 1 << 30  # bytes, or ...
SHARE = 0.02  # ... of the disk, whichever is smaller
ROOM = 1.25  # times a mark: what must be free before it counts as over
LONG_LOG = 1 << 30  # bytes of write-ahead log that somebody should hear of
STATES = ("ok", "paused", "refusing")
NO_ROOM = HL7Error(
    "the disk of the engine is almost full",
    code="disk.full",
    todo="Send the message again later.",
    ack="AR",
    condition="207",
)


class Held(Protocol):
    """What can be held back: a channel."""

    def hold(self, why: str, *, pause: bool, refuse: HL7Error | None = None) -> None:
        """Stop reading, refuse, or neither, for this reason."""


class DiskWatch:
    """`look` is called every few seconds, on the reactor thread."""

    def __init__(
        self,
        database: Path,
        marks: Disk,
        channels: Callable[[], Iterable[Held]],
        usage: Callable[[Path], Any] = shutil.disk_usage,
    ) -> None:
        self._database = database
        self._log = database.with_name(database.name + "-wal")
        self._marks = marks
        self._channels = channels
        self._usage = usage
        self._level = 0
        self._unknown = False
        self._long_log = False
        self.free = 0
        self.pause = self.refuse = 0  # bytes: the marks in force

    def use(self, marks: Disk) -> None:
        """Watch by other marks from the next look on."""
        self._marks = marks

    def look(self) -> None:
        """Measure, and hold back or let go."""
        try:
            usage = self._usage(self._database.parent)
        except OSError as error:
            if not self._unknown:
                log.error("disk.unknown", why=error.strerror)
            self._unknown = True
            return
        self._unknown = False
        self.free = usage.free
        self.pause = self._marks.pause or min(PAUSE, int(usage.total * SHARE))
        self.refuse = min(self._marks.refuse or self.pause // 2, self.pause)
        level = self._weigh()
        if level != self._level:
            tell = log.warning if level else log.info
            tell("disk.state", state=STATES[level], free=self.free, pause=self.pause, refuse=self.refuse)
            self._level = level
        for channel in self._channels():
            channel.hold("disk", pause=level > 0, refuse=NO_ROOM if level > 1 else None)
        self._watch_log()

    @property
    def state(self) -> str:
        """ok, paused or refusing."""
        return STATES[self._level]

    def _weigh(self) -> int:
        free, level = self.free, self._level
        if free < self.refuse or (level == 2 and free < self.refuse * ROOM):
            return 2
        if free < self.pause or (level > 0 and free < self.pause * ROOM):
            return 1
        return 0

    def _watch_log(self) -> None:
        """A reader that never ends keeps the write-ahead log growing."""
        long = _size(self._log) > LONG_LOG
        if long != self._long_log:
            self._long_log = long
            (log.warning if long else log.info)(
                "store.log_long" if long else "store.log_short", bytes=_size(self._log)
            )

    def status(self) -> dict[str, Any]:
        """For people and `status --json`; bytes."""
        return {
            "state": self.state,
            "free": self.free,
            "pause": self.pause,
            "refuse": self.refuse,
            "database": _size(self._database),
            "log": _size(self._log),
        }


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
