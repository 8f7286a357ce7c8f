"""The message store of one data folder: how to open it, and what belongs together.

`open_store` for the engine takes the lock of the folder, migrates, starts a new epoch and gives a grouped
writer; for a client (CLI, console) it gives a synchronous writer for commands and operator acts; a reader
cannot write at all. Every one of them checks that the key file belongs to the database.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from twisted.internet.defer import Deferred, succeed

from engine.clock import Micros
from engine.clock import now as wall_clock
from engine.errors import StoreError
from engine.store.backup import vacuum
from engine.store.bodies import Codec, Keys
from engine.store.checkpoint import Checkpointer
from engine.store.levels import load_levels
from engine.store.sqlite import DATABASE, FolderLock, classify, connect, migrate, require_current
from engine.store.tx import Tx
from engine.store.writer import Writer

Mode = Literal["engine", "client", "reader"]
OPENING = 5.0  # seconds that opening, and a reader, wait for another process


class Store:
    """An open store: `writer` (None for a reader) and `reader`, a Tx to read with on the caller's thread."""

    def __init__(self, path: Path, open_tx: Callable[[bool], Tx]) -> None:
        self.path = path
        self._open_tx = open_tx
        self.reader = open_tx(False)
        self._writer: Writer | None = None
        self._writing: Tx | None = None
        self._lock: FolderLock | None = None
        self._checkpointer: Checkpointer | None = None

    @property
    def writer(self) -> Writer:
        """The writer; a store that was opened for reading has none."""
        if self._writer is None:
            raise StoreError("this store was opened for reading", code="store.readonly")
        return self._writer

    @property
    def epoch(self) -> int | None:
        """The number of this start of the engine."""
        return self.writer.epoch

    def owned(self) -> bool:
        """Whether no newer engine has taken the database over. True when that cannot be read: the next commit tells."""
        try:
            return bool(self.reader.rows("SELECT max(epoch) FROM node")[0][0] == self.epoch)
        except sqlite3.Error:
            return True

    def open_reader(self) -> Tx:
        """One more reading connection, for another thread; close its `db` afterwards."""
        return self._open_tx(False)

    def use_dictionaries(self) -> None:
        """Compress with the newest dictionaries; call when the writer is idle or within a work."""
        if self._writing is not None:
            self._writing.codec.use_dictionaries()

    def vacuum(self) -> tuple[int, int]:
        """Give the room of deleted rows back to the disk: bytes before and after. For a store without a reactor."""
        assert self._writing is not None, "a reader cannot do this"
        return vacuum(self._writing.db, self.path)

    def close(self) -> Deferred[None]:
        """Answer what was submitted, then close everything and let another engine in."""
        waiting: Deferred[None] = self._writer.close() if self._writer else succeed(None)
        return waiting.addCallback(lambda _: self._close())

    def _close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None
        self.reader.db.close()
        if self._writing is not None:
            self._writing.db.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def open_store(
    data_dir: Path,
    keys: Keys,
    *,
    mode: Mode = "engine",
    reactor: Any = None,
    encrypt: bool = True,
    compress: bool = True,
    now: Callable[[], Micros] = wall_clock,
    inline: int = 0,
) -> Store:
    """Open the store of a data folder. Raises StoreError (codes: engine.store.sqlite, and `store.key`).

    Without a reactor the writer is synchronous.
    """
    path = data_dir / DATABASE
    engine = mode == "engine"
    lock = FolderLock(data_dir) if engine else None

    def open_tx(write: bool) -> Tx:
        db = connect(path, write=write, wait=OPENING)
        codec = Codec(keys, db, encrypt=encrypt, compress=compress)
        return Tx(db, codec, now)

    opened: list[sqlite3.Connection] = []
    try:
        if not engine:
            connect(path, write=False).close()  # never make a database as a client
        if mode == "reader":
            store = Store(path, open_tx)
            opened.append(store.reader.db)
            require_current(store.reader.db)
            check_keys(store.reader.db, keys)
            return store
        writing = open_tx(True)
        opened.append(writing.db)
        db = writing.db
        if engine:
            migrate(db)
            path.chmod(0o600)
        else:
            require_current(db)
        check_keys(db, keys)
        if engine:
            write_fingerprints(db, keys)
        writing.codec.use_dictionaries()
        load_levels(writing)
        epoch = new_epoch(db, now()) if engine else None
        if reactor is not None:
            db.execute(
                "PRAGMA busy_timeout=0"
            )  # the writer waits by itself, and lets the reactor work meanwhile
        store = Store(path, open_tx)
        opened.append(store.reader.db)
    except BaseException as error:
        for db in opened:
            db.close()
        if lock is not None:
            lock.release()
        raise classify(error) or error from None
    store._lock = lock
    store._writing = writing
    if engine:
        store._checkpointer = Checkpointer(lambda: connect(path, write=True, wait=0.0))
    store._writer = Writer(
        writing, reactor=reactor, epoch=epoch, checkpointer=store._checkpointer,
        witness=lock.witness if lock is not None else None, inline=inline,
    )  # fmt: skip
    return store


def new_epoch(db: sqlite3.Connection, at: Micros) -> int:
    """Own the database from now on: every engine with an older epoch can write no more."""
    values = (os.getpid(), at, at)
    epoch = db.execute("INSERT INTO node (pid, started_at, seen_at) VALUES (?, ?, ?)", values).lastrowid
    assert epoch is not None
    return epoch


def check_keys(db: sqlite3.Connection, keys: Keys) -> None:
    """Refuse a key file that does not belong to the database, or lacks one of its keys."""
    rows = db.execute("SELECT name, value FROM setting WHERE name LIKE 'key:%'").fetchall()
    known = {int(name.partition(":")[2]): value for name, value in rows}
    held = keys.fingerprints()
    wrong = [key_id for key_id, value in known.items() if held.get(key_id) != value]
    if wrong:
        raise StoreError(
            "the key file does not belong to this database",
            code="store.key",
            where=f"key {wrong[0]}",
            todo="put back the key file that was made with it, or name that one in ISTHMUS_KEY_FILE",
        )


def write_fingerprints(db: sqlite3.Connection, keys: Keys) -> None:
    """Remember which keys this database is written with."""
    db.executemany(
        "INSERT OR IGNORE INTO setting (name, value) VALUES (?, ?)",
        [(f"key:{key_id}", value) for key_id, value in keys.fingerprints().items()],
    )
