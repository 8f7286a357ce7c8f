"""Keeps the write-ahead log small without making a commit wait for it.

SQLite's own checkpoint runs inside a COMMIT and shows as a p99 spike. Here a thread with a connection of its
own copies the log into the database (PASSIVE: it blocks nobody). While commits keep coming it never catches
up with the end of the log, and only a log that was copied to its end is begun anew; so once it is close and
the log is long, the rest is copied right after a COMMIT, in the commit thread, where it is only a few pages.
A reader that stays in a transaction keeps the log from being begun anew: it grows, and nothing else happens.

A log that was copied to its end is overwritten by the next transaction. Until then it is the only place where its
messages are safe, should the disk have lost the copy and called it durable: so the writer asks, after BEGIN and before
it writes, whether a checkpoint `may_have_ended`, and if so the file system whether it still keeps anything.

A checkpoint that begins on a log that is copied to its end already, at the instant in which a COMMIT begins it anew,
takes the new pages for copied: they are lost (https://www.sqlite.org/wal.html, "The WAL-Reset Bug": SQLite before
3.51.3, but for 3.50.7 and 3.44.6). So here is the only checkpoint of a database that an engine works on (whoever else
writes has `wal_autocheckpoint=0`), one at a time, and it begins only when something was committed since the last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread

FRAMES_A_COMMIT = 8  # estimate of log pages: a commit touches about so many pages of indexes ...
FRAMES_A_WORK = 1  # ... and a body takes its part of a page
START_AT = 2000  # estimated frames (4 KB each) after which the thread copies
RESTART_AT = 4000  # frames in the log beyond which it is begun anew


class Checkpointer:
    """One for a writer; `committed` is called after every COMMIT, by whoever made it."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._db = connect()
        self._version = 0  # of the data when the last checkpoint had ended
        self._pokes: SimpleQueue[bool] = SimpleQueue()
        self._estimate = 0
        self._running = False
        self._restart = False
        self._unasked = False  # a checkpoint has begun that the writer does not know the end of
        self.frames = 0  # in the log, when last looked at
        self.failures = 0
        self._thread = Thread(target=self._run, name="isthmus-checkpoint", daemon=True)
        self._thread.start()

    def committed(self, works: int, may_wait: bool) -> None:
        """Count what was written; now and then start the thread, or (`may_wait`) finish what it began."""
        self._estimate += FRAMES_A_COMMIT + FRAMES_A_WORK * works
        if self._restart and may_wait:
            self._restart = False
            self._unasked = True
            self._checkpoint()
        elif self._estimate > START_AT and not self._running:
            self._estimate = 0
            self._running = self._unasked = True
            self._pokes.put(True)

    def may_have_ended(self) -> bool:
        """Whether a checkpoint may have ended since this was asked last."""
        unasked, self._unasked = self._unasked, self._running
        return unasked

    def close(self) -> None:
        """End the thread."""
        self._pokes.put(False)
        self._thread.join()
        self._db.close()

    def _run(self) -> None:
        while self._pokes.get():
            copied = self._checkpoint()
            self._restart = self.frames > RESTART_AT and copied
            self._running = False

    def _checkpoint(self) -> bool:
        db = self._db
        try:
            if self._data_version() == self._version:
                return False
            busy, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._version = self._data_version()
        except sqlite3.Error:  # the writer meets the same fault and says so
            self.failures += 1
            return False
        self.frames = frames
        return not busy and copied > 0

    def _data_version(self) -> int:
        """Another one after every COMMIT of others (https://www.sqlite.org/pragma.html#pragma_data_version)."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return version
