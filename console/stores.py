"""The console's way to the message store: readers in a pool, one writer for what people do.

Guarantees: a reader is used by one thread at a time; a write is one transaction, waits for the engine's and is
durable when it returns; nothing is opened before it is needed, so the console can start before the engine; after a
rotation by the engine it is opened again, so that nothing is sealed with a key that may be dropped.
Refuses (StoreError): a folder without a store, an older or newer schema.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from engine.security.keyring import key_path, open_keyring
from engine.store.store import Store, open_store
from engine.store.tx import Tx

T = TypeVar("T")
POOL = 8  # readers that are kept open


class Stores:
    """The store of one data folder, for many threads."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._store: Store | None = None
        self._free: list[Tx] = []
        self._made: tuple[int, int] | None = None  # the key file that it was opened with: time and number

    def _open(self) -> Store:
        with self._lock:
            made = _written(key_path(self.data_dir))
            if self._store is None or made not in (None, self._made):
                store = open_store(self.data_dir, open_keyring(self.data_dir), mode="client")
                self._forget()  # whoever is at work with the old one ends with it
                self._store, self._made = store, made
            return self._store

    @contextmanager
    def reading(self) -> Iterator[Tx]:
        """A reader, within one snapshot of the database."""
        store = self._open()
        with self._lock:
            tx = self._free.pop() if self._free else None
        tx = tx or store.open_reader()
        try:
            with tx.snapshot():
                yield tx
        except BaseException:
            tx.db.close()
            raise
        with self._lock:
            if store is self._store and len(self._free) < POOL:
                self._free.append(tx)
                return
        tx.db.close()

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction; what it raises undoes it."""
        store = self._open()
        with self._writing:
            return store.writer.call(work)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._forget()
            if self._store is not None:
                self._store.close()
                self._store = None

    def _forget(self) -> None:
        """The readers that nobody uses."""
        for tx in self._free:
            tx.db.close()
        self._free.clear()


def _written(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
