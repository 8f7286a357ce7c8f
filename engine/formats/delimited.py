"""Delimited text (CSV and its kin): one message a row, or a whole file, read by column name or number.

    mrn     3 (the third column)     mrn[2] (second row of a message of several)

Guarantees: a row that becomes a message of its own keeps the header line, so that it stands alone; a cell that is
empty is CLEAR (or ABSENT, as `empty` says), a column that is not there is ABSENT; columns and rows count from 1;
`bytes` is the text itself until something is set. Refuses (FormatError): text of another character set, text
without a header line where there should be one, a quote that is not closed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from engine.errors import IsthmusError, StepError
from engine.formats.base import Header, Identity, JsonAnswers, PathError, bad, cached, identify, reading
from engine.model import ABSENT, CLEAR

_PATH = re.compile(r"(.+?)(?:\[(\d{1,7})\])?", re.DOTALL)
_compiled: dict[str, tuple[str, int]] = {}
_BOM = "\ufeff"


def compile(path: str) -> tuple[str, int]:
    """Column and row (0: not said). Raises PathError."""
    return _compiled.get(path) or cached(_compiled, path, _parse)


def _parse(path: str) -> tuple[str, int]:
    found = _PATH.fullmatch(path)
    if found is None:
        raise PathError(path, 1, "the path is empty", "write the name or number of a column")
    if found[1] == "0" or (found[2] and int(found[2]) == 0):
        raise PathError(path, 1, "columns and rows count from 1", "write 1 for the first")
    return found[1], int(found[2] or 0)


class Rows:
    """One message of delimited text: its rows, and the names of their columns."""

    __slots__ = ("changed", "format", "names", "raw", "rows")

    def __init__(self, raw: bytes, form: Delimited) -> None:
        self.raw = raw
        self.format = form
        self.changed = False
        rows = form.read(raw)
        if form.header:
            if not rows:
                raise bad("there is no header line", "send the names of the columns in the first line")
            self.names = [cell.strip() for cell in rows.pop(0)]
        else:
            self.names = list(form.columns)
        self.rows = rows

    def _column(self, column: str) -> int:
        """Index of a column, or -1."""
        if column in self.names:
            return self.names.index(column)
        return int(column) - 1 if column.isascii() and column.isdigit() else -1

    def _cell(self, row: list[str], at: int) -> Any:
        if not 0 <= at < len(row):
            return ABSENT
        return row[at] or self.format.empty

    def __getitem__(self, path: str) -> Any:
        column, row = compile(str(path))
        place = max(row, 1) - 1
        return self._cell(self.rows[place], self._column(column)) if place < len(self.rows) else ABSENT

    def __contains__(self, path: str) -> bool:
        return self[path] is not ABSENT

    def all(self, path: str) -> list[Any]:
        """The column's values in all rows, or the one of the row that is named."""
        column, row = compile(str(path))
        at = self._column(column)
        found = [self._cell(cells, at) for cells in (self.rows[row - 1 : row] if row else self.rows)]
        return [item for item in found if item is not ABSENT]

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every cell that holds something: its path, and its text."""
        for number, row in enumerate(self.rows, 1):
            for at, cell in enumerate(row):
                name = self.names[at] if at < len(self.names) else str(at + 1)
                if cell:
                    yield f"{name}[{number}]" if len(self.rows) > 1 else name, cell

    def __setitem__(self, path: str, value: Any) -> None:
        column, row = compile(str(path))
        at, place = self._column(column), max(row, 1) - 1
        if at < 0 and self.format.header and place < len(self.rows):  # a new column
            at = len(self.names)
            self.names.append(column)
        if at < 0 or place >= len(self.rows):
            raise StepError("there is no such column or row", code="format.set", where=str(path))
        cells = self.rows[place]
        cells += [""] * (at + 1 - len(cells))
        cells[at] = str(value)
        self.changed = True

    def places(self, path: str) -> list[str]:
        """The column in each row that has it."""
        column, row = compile(str(path))
        at = self._column(column)
        rows = [row] if row else range(1, len(self.rows) + 1)
        return [f"{column}[{n}]" for n in rows if n <= len(self.rows) and 0 <= at < len(self.rows[n - 1])]

    def split(self, path: str) -> list[bytes]:
        """One message a row, or with the name of a column one for each of its values, in order of the first."""
        if path in ("", "row"):
            return [self.format.write(self, [row]) for row in self.rows] if len(self.rows) > 1 else []
        at = self._column(compile(path)[0])
        groups: dict[str, list[list[str]]] = {}
        for row in self.rows:
            groups.setdefault(row[at] if 0 <= at < len(row) else "", []).append(row)
        return [self.format.write(self, rows) for rows in groups.values()] if len(groups) > 1 else []

    def __bytes__(self) -> bytes:
        return self.format.write(self, self.rows) if self.changed else self.raw

    def __repr__(self) -> str:
        return f"<delimited message, {len(self.rows)} rows>"


class Delimited(JsonAnswers):
    """The format `delimited` of one channel."""

    name = "delimited"
    ordering_key = ""
    typed = False

    def __init__(
        self, delimiter: str = ",", quote: str = '"', header: bool = True, columns: tuple[str, ...] = (),
        charset: str = "utf-8", rows: str = "message", empty: str = "clear",
        control_id: str = "", kind: str = "", mrn: str = "", visit: str = "",
    ) -> None:  # fmt: skip
        self.delimiter, self.quote, self.header, self.columns = delimiter, quote, header, columns
        self.charset, self.singly = charset, rows == "message"
        self.empty = ABSENT if empty == "absent" else CLEAR
        self.control_id, self.kind, self.mrn, self.visit = control_id, kind, mrn, visit
        self._style: dict[str, Any] = {"delimiter": delimiter, "lineterminator": "\n"}
        if quote:
            self._style |= {"quotechar": quote, "quoting": csv.QUOTE_MINIMAL}
        else:
            self._style |= {"quoting": csv.QUOTE_NONE, "escapechar": "\\"}

    def read(self, raw: bytes) -> list[list[str]]:
        """The rows, blank lines left out."""
        try:
            text = raw.decode(self.charset).removeprefix(_BOM)
            strict = {**self._style, "strict": True}
            return [row for row in csv.reader(io.StringIO(text, newline=""), **strict) if any(row)]
        except UnicodeDecodeError:
            raise bad(f"the text is not {self.charset}", "set `charset` of the format") from None
        except csv.Error as error:
            raise bad(f"the text cannot be read: {error}", "check delimiter and quote") from None

    def write(self, view: Rows, rows: list[list[str]]) -> bytes:
        """Text of these rows, with the header line."""
        out = io.StringIO()
        writer = csv.writer(out, **self._style)
        writer.writerows([view.names, *rows] if self.header else rows)
        try:
            return out.getvalue().encode(self.charset)
        except UnicodeEncodeError:
            raise StepError(f"{self.charset} cannot write a character", code="format.charset") from None

    def parse(self, raw: bytes) -> Rows:
        """The view of a message."""
        return Rows(raw, self)

    def peek(self, raw: bytes) -> Header:
        """Control id by its column; the type is the one of the settings."""
        view = Rows(raw, self)
        return Header(view, reading(view, self.control_id), self.kind)

    def identify(self, raw: bytes, header: Header, path: str) -> Identity:
        """By the columns of the settings."""
        return identify(header.view, self.mrn, self.visit, path or self.mrn)

    def parts(self, raw: bytes) -> list[bytes]:
        """With `rows: message`, one message a row."""
        if not self.singly:
            return [raw]
        try:
            return Rows(raw, self).split("") or [raw]
        except IsthmusError:
            return [raw]  # stored as an error, whole

    def check(self, path: str) -> None:
        """Raises PathError."""
        compile(path)
