"""Keeps the write-ahead log small without making a commit wait for it.

SQLite's own checkpoint runs inside a COMMIT and shows as a p99 spike. Here a thread with a connection of its
own copies the log into the database (PASSIVE: it blocks nobody). While commits keep coming it never catches
up with the end of the log, and only a log that was copied to its end is begun anew; so once it is close and
the log is long, the rest is copied right after a COMMIT, in the commit thread, where it is only a few pages.
A reader that stays in a transaction keeps the log from being begun anew: it grows, and nothing else happens.

A log that was copied to its end is overwritten by the next transaction. Until then it is the only place where its
messages are safe, should the disk have lost the copy and called it durable: so the writer asks, after BEGIN and before
it writes, whether a checkpoint `may_have_ended`, and if so the file system whether it still keeps anything.
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
        self._connect = connect
        self._pokes: SimpleQueue[bool] = SimpleQueue()
        self._estimate = 0
        self._running = False
        self._restart = False
        self._unasked = False  # a checkpoint has begun that the writer does not know the end of
        self.frames = 0  # in the log, when last looked at
        self.failures = 0
        self._thread = Thread(target=self._run, name="isthmus-checkpoint", daemon=True)
        self._thread.start()

    def committed(self, db: sqlite3.Connection, works: int, may_wait: bool) -> None:
        """Count what was written; now and then start the thread, or (`may_wait`) finish what it began."""
        self._estimate += FRAMES_A_COMMIT + FRAMES_A_WORK * works
        if self._restart and may_wait:
            self._restart = False
            self._unasked = True
            self._checkpoint(db)
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

    def _run(self) -> None:
        db = self._connect()
        try:
            while self._pokes.get():
                copied = self._checkpoint(db)
                self._restart = self.frames > RESTART_AT and copied
                self._running = False
        finally:
            db.close()

    def _checkpoint(self, db: sqlite3.Connection) -> bool:
        try:
            busy, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:  # the writer meets the same fault and says so
            self.failures += 1
            return False
        self.frames = frames
        return not busy and copied > 0
