"""Files of a folder, each handed over once it is complete: the listener `file`.

Guarantees: a file is moved only after what is in it was stored and answered (C1), so a crash in between reads it
again, and the same file under the same name makes no second message (its messages without a control id get one
made of name, time and size). Files go in order of their names or times, one at a time; one that could not be stored
stays and is tried again. The log names the folder and counts, never a file: names may hold patient data.
Refuses: links, hidden files, files above `max_size`.

| what happens                                | then                                                       |
|---------------------------------------------|------------------------------------------------------------|
| a file grows                                | waited for, until it is the same for `stable` seconds       |
| it grows, or another takes its name, while  | left where it is, and read again: what was stored of it     |
| what was read of it is at work              | before is known by its control ids                          |
| stored, also as ERROR that can be replayed  | moved to `done`                                            |
| refused, or not readable as the format      | stored as ERROR, moved to `error`, the answer beside it     |
| the store cannot take it now (AR 207)       | left, tried again                                          |
| the folder cannot be read, or moved to      | tried again; the status says why                           |
"""

from __future__ import annotations

import errno
import hashlib
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

import structlog
from pydantic import Field, field_validator
from twisted.internet import defer, threads
from twisted.internet.task import LoopingCall

from engine import clock
from engine.errors import ConfigError
from engine.formats.base import worst
from engine.hl7.format import Hl7v2
from engine.model import Incoming
from engine.spec.component import BuildContext, Settings, component
from engine.spec.units import Duration
from listeners.base import Receiver

GOOD = ("AA", "CA")
_log = structlog.get_logger()


@component("listener", "file", example="file: {path: inbox, pattern: '*.hl7'}")
class File(Settings):
    """Reads files of a folder, which is looked at again and again.

    A file that is stored goes to `done`, one that cannot be used to `error` with the answer beside it.
    """

    path: Path = Field(description="The folder, relative to the channel file.", examples=["/srv/hl7/in"])
    pattern: str = Field(default="*", description="Names of files that are taken.", examples=["*.hl7"])
    done: Path = Field(
        default=Path("done"), description="Where files go that are stored, relative to `path`."
    )
    error: Path = Field(default=Path("error"), description="Where files go that were refused.")
    delete: bool = Field(default=False, description="Delete files that are stored, instead of moving them.")
    every: Duration = Field(default=2, gt=0, description="Time between two looks.")
    stable: Duration = Field(
        default=2,
        ge=0,
        description="Time that size and time of a file must stay the same before it is taken.",
    )
    order: Literal["name", "time"] = Field(default="name", description="Which file comes first.")
    max_size: int = Field(default=64 << 20, ge=1024, description="Bytes in one file, at most.")

    @field_validator("pattern")
    @classmethod
    def _plain(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("is for names in one folder: it has no /")
        return value

    def build(self, context: BuildContext) -> FileListener:
        """Nothing is looked at before `start`."""
        return FileListener(self, context)


class Found(NamedTuple):
    """A file as it was seen; the same twice means that nobody writes to it."""

    name: str
    size: int
    changed: int  # nanoseconds
    number: int  # of the file, whatever its name

    @classmethod
    def of(cls, name: str, stat: os.stat_result) -> Found:
        """As it is now."""
        return cls(name, stat.st_size, stat.st_mtime_ns, stat.st_ino)


class Arrival(Incoming):
    """The content of one file."""

    __slots__ = ("answered", "reference")

    def __init__(self, raw: bytes, peer: str, reference: str) -> None:
        super().__init__(raw, peer, clock.now())
        self.reference = reference
        self.answered: defer.Deferred[Any] = defer.Deferred()

    def answer(self, data: Any) -> None:
        """It is stored, or refused."""
        self.answered.callback(data)


class FileListener:
    """See listeners.base.Listener."""

    def __init__(self, settings: File, context: BuildContext) -> None:
        self.settings = settings
        self.channel = context.channel
        self.reactor = context.reactor
        self.format = context.format or Hl7v2()
        self.folder = context.base / settings.path
        self.done, self.error = self.folder / settings.done, self.folder / settings.error
        self.receiver: Receiver
        self.paused = self.stopping = False
        self.taken = self.refused = 0
        self.why = ""
        self._seen: dict[Found, float] = {}  # since when, in seconds of the reactor
        self._loop: LoopingCall | None = None
        self._working: defer.Deferred[None] | None = None

    def start(self, receiver: Receiver) -> Any:
        """Make the folders and look for the first time. A ConfigError when the folder cannot be used."""
        self.receiver = receiver
        self.stopping = False
        try:
            for folder in (self.folder, self.done, self.error):
                folder.mkdir(parents=True, exist_ok=True)
            self._list()
        except OSError as error:
            raise ConfigError(
                f"the folder cannot be used: {error.strerror}",
                code="file.folder",
                where=str(self.folder),
                todo="check its path, owner and rights",
            ) from None
        self._loop = LoopingCall(self.look)
        self._loop.clock = self.reactor
        self._loop.start(self.settings.every)
        return defer.succeed(str(self.folder))

    def pause(self) -> None:
        """Take no more files."""
        self.paused = True

    def resume(self) -> None:
        """Go on with the next look."""
        self.paused = False

    def stop(self) -> Any:
        """Take no more files. Gives a Deferred that fires when the one at work is moved."""
        self.stopping = True
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        waiting: defer.Deferred[None] = defer.Deferred()
        if self._working is None:
            waiting.callback(None)
        else:
            self._working.addBoth(lambda _: waiting.callback(None))
        return waiting

    def close(self) -> Any:
        """Nothing is held open."""
        return defer.succeed(None)

    def status(self) -> dict[str, Any]:
        """Counts since the start."""
        return {
            "address": str(self.folder),
            "paused": self.paused,
            "waiting": len(self._seen),
            "files": self.taken,
            "refused": self.refused,
            "why": self.why,
        }

    # Looking ----------------------------------------------------------------------------------------------

    def look(self) -> Any:
        """Take every file that is complete, one after the other; the next look waits for them."""
        if self.paused:
            return None
        self._working = defer.Deferred()
        working = defer.ensureDeferred(self._look())

        def over(result: Any) -> None:
            done, self._working = self._working, None
            if done is not None:
                done.callback(None)
            if result is not None:
                _log.error("file.failed", channel=self.channel, error=result.type.__name__)

        return working.addBoth(over)

    async def _look(self) -> None:
        try:
            for found in self._complete(await self._aside(self._list)):
                if self.paused or self.stopping or not await self._take(found):
                    break
            else:
                self.why = ""
        except OSError as error:
            self._trouble(f"the folder cannot be used: {error.strerror}")

    def _aside(self, work: Any, *args: Any) -> Any:
        """In a thread, for a network folder may hang; at once where the reactor has none (tests)."""
        pool = getattr(self.reactor, "getThreadPool", None)
        if pool is None:
            return defer.maybeDeferred(work, *args)
        return threads.deferToThreadPool(self.reactor, pool(), work, *args)

    def _list(self) -> list[Found]:
        found = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or not fnmatch(name, self.settings.pattern):
                    continue
                if entry.is_file(follow_symlinks=False):
                    found.append(Found.of(name, entry.stat(follow_symlinks=False)))
        by_time = self.settings.order == "time"
        return sorted(found, key=lambda one: (one.changed, one.name) if by_time else (one.name,))

    def _complete(self, found: list[Found]) -> list[Found]:
        """Those that have been the same for long enough. One that grows holds up what comes after it."""
        now = self.reactor.seconds()
        self._seen = {one: self._seen.get(one, now) for one in found}
        complete = []
        for one in found:
            if now - self._seen[one] < self.settings.stable:
                break
            complete.append(one)
        return complete

    async def _take(self, found: Found) -> bool:
        """Hand one file over and move it. False when the next must wait."""
        if found.size > self.settings.max_size:
            self.refused += 1
            return bool(await self._aside(self._move, found, self.error, b"larger than max_size\n"))
        raw = await self._aside(self._read, found)
        if raw is None:
            return False
        mark = f"{found.name}|{found.size}|{found.changed}".encode("utf-8", "surrogateescape")
        arrival = Arrival(raw, "file", hashlib.blake2b(mark, digest_size=12).hexdigest())
        self.receiver.receive(arrival)
        answer = await arrival.answered
        verdict = worst(self.format, answer)
        if verdict is None or verdict.code in GOOD:
            self.taken += 1
            return bool(await self._aside(self._move, found, None if self.settings.delete else self.done))
        if verdict.condition == "207" and verdict.code in ("AR", "CR"):
            self._trouble("the engine takes no messages now")
            return False
        self.refused += 1
        told = answer if isinstance(answer, bytes) else b"".join(answer)
        return bool(await self._aside(self._move, found, self.error, told))

    def _read(self, found: Found) -> bytes | None:
        """What is in the file; None when it is not as it was seen."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a link, or a pipe, may have its name by now
        try:
            handle = os.open(self.folder / found.name, flags)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return None
            raise
        with os.fdopen(handle, "rb") as file:
            raw = file.read(found.size + 1)
            return raw if Found.of(found.name, os.fstat(handle)) == found and len(raw) == found.size else None

    def _move(self, found: Found, folder: Path | None, answer: bytes | None = None) -> bool:
        """Into the folder, under a name that is free there; None: away. False, and nothing, when it is not as it was
        seen: then there is something in it that was not read."""
        path = self.folder / found.name
        try:
            if Found.of(found.name, path.lstat()) != found:
                return False
        except FileNotFoundError:
            return False
        if folder is None:
            path.unlink()
            return True
        name, number = path.name, 1
        while (folder / name).exists():
            name, number = f"{path.stem}-{number}{path.suffix}", number + 1
        if answer is not None:
            (folder / f"{name}.answer").write_bytes(answer)
        path.replace(folder / name)
        return True

    def _trouble(self, why: str) -> None:
        if why != self.why:
            _log.warning("file.waits", channel=self.channel, folder=str(self.folder), why=why)
        self.why = why
