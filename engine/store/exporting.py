"""Messages as they are written out of the store: byte for byte, as JSON with everything, or as a line of a table.

Guarantees: one message in memory at a time; a table that a spreadsheet opens holds no formula of a sender; HL7 is byte
for byte what was received (one after the other, a message that lacks its last CR gets one, so that the next begins
a line). Refuses nothing: a message that is gone, or whose content is not kept (`hl7`), is left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from engine.clock import iso
from engine.hl7.charset import decode
from engine.store import search
from engine.store.messages import raw
from engine.store.tx import Tx

Form = Literal["hl7", "json", "csv"]
PORTION = 500  # messages whose rows are read at once
COLUMNS = (
    "id", "received", "channel", "type", "control_id", "sender", "state", "error_code", "parent_id", "deliveries",
    "columns",
)  # fmt: skip
FORMULA = re.compile(r"""(^|[;,|\t\r\n])(["'\s]*[=+\-@\uff1d\uff0b\uff0d\uff20])|^(?=[\t\r\n])""")
"""Where a spreadsheet may see a formula: at the beginning, and behind what it may take for the end of a cell."""
HEAD: dict[Form, bytes] = {"hl7": b"", "json": b"[", "csv": b""}
FOOT: dict[Form, bytes] = {"hl7": b"", "json": b"]\n", "csv": b""}


class Piece(msgspec.Struct, tag_field="kind", tag="message"):
    """A message of an export, as a line of JSON: what stands in the file for it."""

    id: int
    content: bytes


class End(msgspec.Struct, tag_field="kind", tag="end"):
    """The last line of an export: without it some of it is missing. `chosen` messages fit."""

    chosen: int


def body(data: bytes | None) -> str:
    """Stored bytes as text, in the character set that they were sent in."""
    return "" if data is None else decode(data).text


def parts(
    tx: Tx, ids: Sequence[int], form: Form, text: Callable[[bytes | None], str] | None = None
) -> Iterator[tuple[int, bytes]]:
    """Id and what is written for each of these messages, in their order. `text`: bodies as somebody may see them."""
    if form == "csv":
        for start in range(0, len(ids), PORTION):
            some = ids[start : start + PORTION]
            for row in sorted(search.find(tx, ids=some, limit=PORTION), key=lambda row: row.id):
                yield row.id, _row(row)
        return
    for message_id in ids:
        if form == "hl7":
            part = raw(tx, message_id)
            if part is not None and text is not None:
                part = text(part).replace("\n", "\r").encode()
        else:
            shown = search.show(tx, message_id)
            part = as_text(shown, text or body).encode() if shown else None
        if part is not None:
            yield message_id, part


def joined(pieces: Iterable[bytes], form: Form) -> Iterator[bytes]:
    """The same as one file: a piece for each message, and one before and behind them."""
    yield line(COLUMNS) if form == "csv" else HEAD[form]
    between = b""
    for part in pieces:
        yield between + part + (b"\r" if form == "hl7" and not part.endswith(b"\r") else b"")
        between = b",\n" if form == "json" else b""
    yield FOOT[form]


def _row(row: search.Row) -> bytes:
    return line(
        (
            row.id, iso(row.received_at), row.channel, row.type, row.control_id, row.sender, row.state,
            row.error_code or "", row.parent_id or "",
            " ".join(f"{name}={state}" for name, state in row.deliveries.items()),
            " ".join(f"{name}={value}" for name, value in row.columns.items()),
        )
    )  # fmt: skip


def line(values: Iterable[Any]) -> bytes:
    """One line of CSV (RFC 4180); a spreadsheet must not take what a sender wrote for a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(FORMULA.sub(r"\1'\2", str(value)) for value in values)
    return text.getvalue().encode()


def as_text(shown: dict[str, Any], text: Callable[[bytes | None], str] = body) -> str:
    """Everything about one message (engine.store.search.show) as JSON; bodies as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return text(value) if isinstance(value, bytes) else value

    return msgspec.json.encode(plain(shown)).decode()


def keep(tx: Tx, ids: Sequence[int], actor: str, form: str) -> None:
    """Keep who exported these."""
    for message_id in ids:
        tx.event("export", message_id=message_id, actor=actor, detail=form)
