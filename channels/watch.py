"""Watches the files of the running configuration.

Guarantees: a change is told once, when the files have come to rest (editors and version control write several, and
in steps): when two looks in a row find the same; touching a file without changing it tells nothing; a new channel
file in a folder of channel files is a change, and so is another secret, certificate or key in its file.
Refuses nothing: a file that cannot be looked at is one that has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall

from channels.ingredients import CONFIGURATION
from engine.spec.channel import Configuration
from engine.spec.files import digest

EVERY = 1.0  # seconds
Sight = tuple[list[tuple[Path, Any]], list[str]]


class Watch:
    """`start` it; `changed` is told."""

    def __init__(self, configuration: Configuration, clock: Any, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._loop = LoopingCall(self.look)
        self._loop.clock = clock
        self._last: Sight | None = None  # what the last look saw
        self._judged: Sight | None = None  # what is known to be taken up, or was told
        self.follow(configuration)

    @property
    def running(self) -> bool:
        """Whether it looks."""
        return bool(self._loop.running)

    def start(self) -> None:
        """Look every second."""
        self._loop.start(EVERY, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def follow(self, configuration: Configuration) -> None:
        """This is what runs now; what was written since it was read will be found different."""
        self._contents = dict(configuration.files.contents)
        self._guarded = dict(configuration.files.guarded)  # secrets, certificates, keys
        self._folders = sorted({path.parent for path in self._contents if path.suffix in CONFIGURATION})
        self._names = self._listed()
        self._judged = None

    def look(self) -> None:
        """Tell of a change that has come to rest."""
        sight = self._sight()
        before, self._last = self._last, sight
        if sight == self._judged or sight != before:
            return
        self._judged = sight
        written = any(_read(path) != data for path, data in self._contents.items())
        renewed = any(digest(path) != known for path, known in self._guarded.items())
        if sight[1] != self._names or written or renewed:
            self._names = sight[1]
            self._changed()

    def _sight(self) -> Sight:
        return [(path, _stat(path)) for path in (*self._contents, *self._guarded)], self._listed()

    def _listed(self) -> list[str]:
        return [
            str(file) for folder in self._folders for file in _files(folder) if file.suffix in CONFIGURATION
        ]


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _stat(path: Path) -> Any:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
