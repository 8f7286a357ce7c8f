"""SQLite itself: opening, settings, schema version, error classes, the lock of the data folder.

Guarantees: a database that this version understands (older ones are migrated by the engine, newer ones are
refused with a clear text), durable commits (WAL, synchronous=FULL), one engine per data folder.
Refuses: a second engine, a too-new database, a file that is not ours. Every error that leaves here is a
StoreError with one of the codes below.

store.busy · store.full · store.io · store.readonly · store.corrupt · store.too_new · store.too_old ·
store.foreign · store.locked · store.missing
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
from pathlib import Path

from engine.errors import StoreError
from engine.store.causes import fingerprint

APPLICATION_ID = 0x49534D31  # "ISM1"
DATABASE = "isthmus.db"
SQL = Path(__file__).parent / "sql"
_CLASSES = {
    5: ("store.busy", "another process is writing"),
    6: ("store.busy", "another connection is writing"),
    7: ("store.io", "the database is out of memory"),
    8: ("store.readonly", "the database cannot be written"),
    10: ("store.io", "the disk reports an error"),
    11: ("store.corrupt", "the database is damaged"),
    13: ("store.full", "the disk is full"),
    14: ("store.io", "the database file cannot be opened"),
    26: ("store.corrupt", "this file is not a database, or it is damaged"),
}
_TODO = {
    "store.busy": "try again",
    "store.full": "free some space; the engine goes on by itself",
    "store.io": "check the disk; the engine goes on by itself when it answers again",
    "store.readonly": "check owner and rights of the data folder, and how it is mounted",
    "store.corrupt": "run `db check`; restore from a backup if it reports damage",
}
WRITE_CACHE, READ_CACHE = 16_384, 8_192  # KiB of pages that a connection may keep; the system keeps the rest


def classify(error: BaseException) -> StoreError | None:
    """The StoreError of a fault of the store as a whole, or None when the statement itself was wrong."""
    if isinstance(error, StoreError):
        return error
    primary = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or primary is None:
        return None
    known = _CLASSES.get(primary & 0xFF)
    return StoreError(known[1], code=known[0], todo=_TODO[known[0]]) if known else None


def momentary(error: BaseException) -> bool:
    """Whether it is a fault of the store that may be over in a moment: what met it is done again."""
    fault = classify(error)
    return fault is not None and fault.code in ("store.busy", "store.io")


def connect(path: Path, *, write: bool, wait: float = 0.0) -> sqlite3.Connection:
    """Open an existing or (write) new file. `wait`: seconds to wait for another process's transaction."""
    if not write and not path.exists():
        raise StoreError(
            "there is no message store here",
            code="store.missing",
            where=str(path),
            todo="start the engine once",
        )
    try:
        db = sqlite3.connect(
            path, timeout=wait, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            if write:
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA wal_autocheckpoint=0")  # the engine's Checkpointer alone empties the log
            db.execute("PRAGMA synchronous=FULL")
            db.execute(f"PRAGMA cache_size=-{WRITE_CACHE if write else READ_CACHE}")
            db.execute("PRAGMA temp_store=MEMORY")
            db.create_function("cause", 2, fingerprint, deterministic=True)
            if not write:
                db.execute("PRAGMA query_only=ON")
        except sqlite3.Error:
            db.close()
            raise
    except sqlite3.Error as error:
        raise classify(error) or error from None
    return db


def migrations() -> list[tuple[int, str, Path]]:
    """(number, pre | post, file), in order."""
    found = []
    for file in sorted((SQL / "migrations").glob("*.sql")):
        match = re.fullmatch(r"(\d\d)_(pre|post)_\w+\.sql", file.name)
        if match is None:
            raise StoreError(f"a migration has a wrong name: {file.name}", code="store.migration")
        found.append((int(match[1]), match[2], file))
    return found


def version_of(db: sqlite3.Connection) -> int:
    """The schema version of an open database; 0 is an empty one. Refuses foreign and too-new files."""
    try:
        version: int = db.execute("PRAGMA user_version").fetchone()[0]
        owner = db.execute("PRAGMA application_id").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.Error as error:
        raise classify(error) or error from None
    if owner != APPLICATION_ID and (tables or version):
        raise StoreError(
            "this database was not made by Isthmus", code="store.foreign", todo="name another data folder"
        )
    newest = migrations()[-1][0]
    if version > newest:
        raise StoreError(
            f"the database has schema {version}, this version knows {newest}",
            code="store.too_new",
            todo="run the newer version that made it, or restore a backup",
        )
    return version


def migrate(db: sqlite3.Connection) -> int:
    """Bring an open database to the newest schema, each step in a transaction. Gives the old version."""
    before = version_of(db)
    newest = migrations()[-1][0]
    if before == 0:
        steps = [(newest, SQL / "schema.sql")]
    else:
        steps = [(number, file) for number, _, file in migrations() if number > before]
    for number, file in steps:
        apply(db, number, file)
    return before


def apply(db: sqlite3.Connection, number: int, file: Path) -> None:
    """Run one script and set the version, all or nothing."""
    try:
        db.executescript(
            f"BEGIN IMMEDIATE;\n{file.read_text()}\nPRAGMA application_id={APPLICATION_ID};\n"
            f"PRAGMA user_version={number};\nCOMMIT;"
        )
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        fault = classify(error)
        raise StoreError(
            f"{file.name} failed: {fault.what if fault else error}; the database is unchanged",
            code=fault.code if fault else "store.migration",
            todo=fault.todo if fault else "",
        ) from error


def require_current(db: sqlite3.Connection) -> None:
    """For readers and clients, which never migrate."""
    if version_of(db) != migrations()[-1][0]:
        raise StoreError(
            "the database has an older schema",
            code="store.too_old",
            todo="start the engine, or run `db migrate`",
        )


def load_queries(path: Path = SQL / "queries.sql") -> dict[str, str]:
    """The named statements of a file: each begins with a line `-- name: what it does`."""
    parts = re.split(r"^-- (\w+): .*$", path.read_text(), flags=re.MULTILINE)[1:]
    names, bodies = parts[::2], parts[1::2]
    queries = {name: body.strip().rstrip(";") for name, body in zip(names, bodies, strict=True)}
    if len(queries) != len(names):
        raise StoreError("a query name is used twice", code="store.query")
    return queries


class FolderLock:
    """The right to be the engine of a data folder, held until `release` or the end of the process."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(folder / "isthmus.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError.of(error, "the data folder") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(self._file, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise StoreError(
                f"another engine works in this folder (process {owner})",
                code="store.locked",
                where=str(folder),
                todo="stop it first, or name another data folder",
            ) from None
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, str(os.getpid()).encode(), 0)
        except OSError as error:
            os.close(self._file)
            raise StoreError.of(error, "the data folder") from None

    def witness(self) -> StoreError | None:
        """Whether the file system still keeps what it says it keeps: asked after every COMMIT, some microseconds.

        An ext4 that fails (its journal is aborted) may tell an fdatasync which is under way at that moment that all
        is well, although the data is lost (seen on Linux 6.18). A change of a file's time goes through the journal.
        The first one after the abort is lost as silently, but it makes the file system read-only, should nobody have
        done so yet; the second is refused.
        """
        try:
            os.utime(self._file)
            os.utime(self._file)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EROFS):
                return StoreError.of(error, "the data folder")
        return None

    def release(self) -> None:
        """Let another engine in."""
        os.close(self._file)
