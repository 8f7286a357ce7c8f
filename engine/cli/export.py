"""`messages export`: messages out of the store, for a test bench, another system or a table.

Guarantees: HL7 is byte for byte what was received (in one file a message that lacks its last CR gets one, so that
the next begins a line); files are readable by their owner alone; who exported which message is kept as an event.
Refuses: to write over a file.
"""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from engine.cli import access
from engine.cli.showing import body
from engine.clock import iso
from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.store import search
from engine.store.messages import raw
from engine.store.store import open_store
from engine.store.tx import Tx

PORTION = 500  # messages in memory at once
COLUMNS = (
    "id", "received", "channel", "type", "control_id", "sender", "state", "error_code", "parent_id", "deliveries",
)  # fmt: skip


def write(data: Path, ids: list[int], kind: str, output: Path) -> int:
    """Write these messages, in this order. Gives how many were written."""
    access.present(data)
    store = open_store(data, open_keyring(data), mode="client")
    written = 0
    try:
        if output.is_dir():
            for message_id in ids:
                for part in _parts(store.reader, [message_id], kind):
                    with _file(output / f"{message_id}.{kind}") as file:
                        file.write(part)
                    written += 1
        elif ids:
            with _file(output) as file:
                written = _together(store.reader, ids, kind, file)
        for start in range(0, len(ids), PORTION):
            store.writer.call(partial(_audit, ids=ids[start : start + PORTION], kind=kind))
    finally:
        store.close()
    return written


def _audit(tx: Tx, ids: list[int], kind: str) -> None:
    for message_id in ids:
        tx.event("export", message_id=message_id, actor=access.actor(), detail=kind)


def _together(tx: Tx, ids: list[int], kind: str, file: BinaryIO) -> int:
    written = 0
    for part in _parts(tx, ids, kind, alone=False):
        if kind == "json":
            file.write(b",\n" if written else b"[")
        file.write(part)
        if kind == "hl7" and not part.endswith(b"\r"):
            file.write(b"\r")
        written += kind != "csv" or part != _line(COLUMNS)
    if kind == "json":
        file.write(b"]\n" if written else b"[]\n")
    return written


def _parts(tx: Tx, ids: list[int], kind: str, *, alone: bool = True) -> Iterator[bytes]:
    """What is written for each message that there is (and whose content is kept, for hl7)."""
    if kind == "csv":
        head = _line(COLUMNS)
        if not alone:
            yield head
        for start in range(0, len(ids), PORTION):
            some = ids[start : start + PORTION]
            for row in sorted(search.find(tx, ids=some, limit=PORTION), key=lambda row: row.id):
                yield (head if alone else b"") + _row(row)
        return
    for message_id in ids:
        if kind == "hl7":
            part = raw(tx, message_id)
        else:
            shown = search.show(tx, message_id)
            part = as_text(shown).encode() if shown else None
        if part is not None:
            yield part


def _row(row: search.Row) -> bytes:
    return _line(
        (
            row.id, iso(row.received_at), row.channel, row.type, row.control_id, row.sender, row.state,
            row.error_code or "", row.parent_id or "",
            " ".join(f"{name}={state}" for name, state in row.deliveries.items()),
        )
    )  # fmt: skip


def _line(values: Iterable[Any]) -> bytes:
    """One line of CSV (RFC 4180); a spreadsheet must not take what a sender wrote for a formula."""
    text = io.StringIO()
    safe = [f"'{value}" if str(value)[:1] in ("=", "+", "-", "@", "\t") else value for value in values]
    csv.writer(text, lineterminator="\r\n").writerow(safe)
    return text.getvalue().encode()


def as_text(shown: dict[str, Any]) -> str:
    """Everything about one message (engine.store.search.show) as JSON; bodies as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return body(value) if isinstance(value, bytes) else value

    return msgspec.json.encode(plain(shown)).decode()


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
