"""`messages export`: messages out of the store, for a test bench, another system or a table.

Guarantees: those of engine.store.exporting; files are readable by their owner alone; who exported which message is
kept as an event. What breaks off leaves no short file.
Refuses: to write over a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from engine.cli import access
from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.store.exporting import COLUMNS, PORTION, Form, joined, keep, line, parts
from engine.store.store import open_store


def from_store(data: Path, ids: list[int], kind: Form, output: Path) -> int:
    """Write these messages, in this order. Gives how many were written."""
    access.present(data)
    store = open_store(data, open_keyring(data), mode="client")
    try:
        written = write(parts(store.reader, ids, kind), kind, output) if ids else 0
        for start in range(0, len(ids), PORTION):
            some = ids[start : start + PORTION]
            store.writer.call(partial(keep, ids=some, actor=access.actor(), form=kind))
    finally:
        store.close()
    return written


def write(pieces: Iterable[tuple[int, bytes]], kind: Form, output: Path) -> int:
    """Write messages, each with its id: a file each into a folder, else one file. Gives how many there were."""
    written = 0
    if output.is_dir():
        for message_id, part in pieces:
            with _file(output / f"{message_id}.{kind}") as file:
                file.write(line(COLUMNS) + part if kind == "csv" else part)
            written += 1
        return written
    with _file(output) as file:
        for piece in joined((part for _, part in pieces), kind):
            file.write(piece)
            written += 1
    return written - 2  # what stands before and behind them


def refuse_existing(path: Path) -> None:
    """StoreError when a file would be written over."""
    if str(path) != "-" and path.exists() and not path.is_dir():
        raise StoreError(f"{path} exists already", code="export.exists", todo="name a new file, or a folder")


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner alone, which is gone unless it gets to its end; or standard output."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}", code="export.file") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
