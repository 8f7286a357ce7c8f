"""`messages export`: messages out of the store, for a test bench, another system or a table.

Guarantees: those of engine.store.exporting; files are readable by their owner alone; who exported which message is
kept as an event.
Refuses: to write over a file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from engine.cli import access
from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.store.exporting import COLUMNS, PORTION, Form, joined, keep, line, parts
from engine.store.store import open_store


def write(data: Path, ids: list[int], kind: Form, output: Path) -> int:
    """Write these messages, in this order. Gives how many were written."""
    access.present(data)
    store = open_store(data, open_keyring(data), mode="client")
    written = 0
    try:
        if output.is_dir():
            for message_id in ids:
                for part in parts(store.reader, [message_id], kind):
                    with _file(output / f"{message_id}.{kind}") as file:
                        file.write(line(COLUMNS) + part if kind == "csv" else part)
                    written += 1
        elif ids:
            with _file(output) as file:
                for piece in joined(parts(store.reader, ids, kind), kind):
                    file.write(piece)
                    written += 1
                written -= 2  # what stands before and behind them
        for start in range(0, len(ids), PORTION):
            some = ids[start : start + PORTION]
            store.writer.call(partial(keep, ids=some, actor=access.actor(), form=kind))
    finally:
        store.close()
    return written


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner alone, or standard output."""
    if str(path) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise StoreError(
            f"{path} exists already", code="export.exists", todo="name a new file, or a folder"
        ) from None
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}", code="export.file") from None
    with os.fdopen(handle, "wb") as file:
        yield file
