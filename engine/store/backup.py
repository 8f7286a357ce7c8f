"""A copy of a store while its engine works, and the file made small again while none does.

Guarantees: a backup is the store as it was at one moment, whatever is written meanwhile, and nobody waits for it;
the file has its final name only when it is whole, checked and on the disk; it is for its owner only.
Refuses: to write over a file, to begin without the room that it needs.

A backup that is stepped over a database that others write to begins anew at every write. Here the source stays
in one read transaction, so that every step sees the same moment; the write-ahead log grows until it is done.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from engine.errors import StoreError
from engine.store.sqlite import classify, connect, version_of

PAGES = 512  # copied in one step: 2 MB
PAUSE = 0.002  # seconds between two steps: the disk is not ours alone
Progress = Callable[[int, int], None]
"""`progress(pages copied, pages in all)`."""


def backup(database: Path, target: Path, progress: Progress = lambda done, total: None) -> int:
    """Copy a store to `target`. Gives its bytes. StoreError."""
    if target.exists():
        raise StoreError(
            "there is such a file already", code="store.exists", where=str(target), todo="name another one"
        )
    need_room(target.parent, database.stat().st_size)
    partly = target.with_name(target.name + ".partial")
    partly.unlink(missing_ok=True)
    os.close(os.open(partly, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    source = connect(database, write=False, wait=5.0)
    copy = sqlite3.connect(partly, isolation_level=None)
    try:
        version_of(source)
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        copy.execute("PRAGMA synchronous=OFF")

        def step(_status: int, left: int, total: int) -> None:
            progress(total - left, total)
            time.sleep(PAUSE)

        source.backup(copy, pages=PAGES, progress=step)
        source.execute("COMMIT")
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        wrong = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
        if wrong != "ok":
            raise StoreError(
                "the copy is damaged", code="store.corrupt", where=str(target), todo="run `db check`"
            )
        copy.close()
        _sync(partly)
        partly.rename(target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise classify(error) or StoreError("the backup failed", code="store.io", where=str(target)) from None
    finally:
        copy.close()
        source.close()
        partly.unlink(missing_ok=True)
    return target.stat().st_size


def vacuum(db: sqlite3.Connection, database: Path) -> tuple[int, int]:
    """Write the database anew without its free pages; nobody else may use it. Gives bytes before and after."""
    before = database.stat().st_size
    need_room(database.parent, 2 * before)
    try:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise classify(error) or error from None
    return before, database.stat().st_size


def schema_of(database: Path) -> int:
    """The schema version of a database as it is; StoreError."""
    db = connect(database, write=False)
    try:
        return version_of(db)
    finally:
        db.close()


def need_room(folder: Path, size: int) -> None:
    """StoreError `store.full` unless there is room for `size` bytes."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise StoreError(
            f"{error.strerror}", code="store.io", where=str(folder), todo="name another folder"
        ) from None
    if free < size:
        raise StoreError(
            f"{size >> 20} MiB are needed and {free >> 20} MiB are free",
            code="store.full",
            where=str(folder),
            todo="free some space, or name another disk",
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
