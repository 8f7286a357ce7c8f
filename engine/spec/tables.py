"""Code tables: the codes of one system in the words of another (`M` is `male`).

Guarantees: every lookup gives a text, ABSENT or CLEAR; an absent or cleared code passes through; a table is
read and checked once, when the configuration is loaded, and knows the line of each code.
Refuses: a code that stands twice, a file that cannot be read, a policy or a column that is not known, each told
at its line of the channel file, CSV or YAML file; an unknown code under `otherwise: error` (`StepError` that
names the table and not the code).

    tables:
      sex: {values: {M: male, F: female, U: unknown}, otherwise: absent}
      ward: {file: tables/wards.csv, ignore_case: true, default: "Other"}
      unit: {values: {ICU: {name: Intensive care, odoo: "7"}}, column: name}

A CSV file has a header line: the code, then one or more columns of values (`code,name,odoo`), separated by
commas, semicolons or tabs. A YAML file is a mapping of code to value, or of code to a mapping of columns. Where
nothing else is said, the first column of values counts; an empty cell is absent.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from engine.errors import ConfigError, StepError
from engine.model import ABSENT
from engine.spec.checking import validated
from engine.spec.document import Document, Mark, Problem, Sources, Where, did_you_mean, read
from engine.spec.values import as_text, is_absent, is_clear

Otherwise = Literal["keep", "absent", "error"]


class TableSettings(BaseModel):
    """One code table in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    values: dict[str, Any] = Field(
        default={},
        description="Code to value, or to a mapping of columns.",
        examples=[{"M": "male"}, {"M": {"fhir": "male", "odoo": "m"}}],
    )
    file: Path | None = Field(
        default=None,
        description="A CSV file (header line; code, values) or a YAML mapping, relative to the channel file.",
        examples=["tables/sex.yaml", "tables/wards.csv"],
    )
    column: str = Field(
        default="",
        description="The column that gives the value where nobody names one; by default the first.",
        examples=["odoo"],
    )
    otherwise: Otherwise = Field(
        default="error",
        description="What an unknown code gives: itself, nothing, or an error.",
        json_schema_extra={
            "meanings": {
                "keep": "The code itself.",
                "absent": "Nothing: the field is left alone.",
                "error": "The message goes to ERROR.",
            }
        },
    )
    default: str | None = Field(
        default=None, description="What an unknown code gives, instead of `otherwise`."
    )
    ignore_case: bool = Field(default=False, description="Whether `m` is `M`.")

    @model_validator(mode="after")
    def _has_codes(self) -> TableSettings:
        if not self.values and self.file is None:
            raise ValueError("give values or a file")
        return self


class Table:
    """A code table that is ready to be asked."""

    __slots__ = ("_codes", "columns", "default", "ignore_case", "marks", "name", "otherwise", "rows")

    def __init__(self, name: str, settings: TableSettings, columns: list[str]) -> None:
        self.name = name
        self.otherwise = settings.otherwise
        self.default = settings.default
        self.ignore_case = settings.ignore_case
        self.columns = columns
        """The names of the columns of values; the first is the one that counts where nobody names one."""
        self.rows: dict[str, dict[str, str]] = {}
        """Code, as it is written, to column to value."""
        self.marks: dict[str, Mark] = {}
        """Where each code is written."""
        self._codes: dict[str, dict[str, str]] = {}

    def add(self, code: str, row: dict[str, str], mark: Mark) -> None:
        """One more code; the first of a code counts."""
        if self._key(code) not in self._codes:
            self._codes[self._key(code)] = self.rows[code] = row
            self.marks[self._key(code)] = mark

    def _key(self, code: str) -> str:
        return code.upper() if self.ignore_case else code

    def __len__(self) -> int:
        return len(self._codes)

    def place(self, code: Any) -> Mark | None:
        """Where the row of `code` is written."""
        return self.marks.get(self._key(as_text(code)))

    def get(self, code: Any, otherwise: Otherwise | None = None, column: str = "") -> str:
        """The value of `code`; `otherwise` overrides the table's own policy for an unknown code."""
        if is_clear(code) or is_absent(code):
            return ABSENT if is_absent(code) else code
        text = as_text(code)
        row = self._codes.get(text.upper() if self.ignore_case else text)
        if row is not None:
            return row.get(column or self.columns[0]) or self._empty(column)
        if otherwise is None and self.default is not None:
            return self.default
        policy = otherwise or self.otherwise
        if policy == "keep":
            return text
        if policy == "absent":
            return ABSENT
        raise StepError(
            f"a code is not in table {self.name!r}",
            code="table.code",
            todo="add it to the table, or give the table an `otherwise` or a `default`",
        )

    def _empty(self, column: str) -> str:
        if column and column not in self.columns:
            raise StepError(
                f"the table {self.name!r} has no column {column!r}",
                code="table.column",
                todo=did_you_mean(column, self.columns),
            )
        return ABSENT

    def needs(self, column: str, where: str = "") -> None:
        """Raise ConfigError when the table has no such column."""
        if column and column not in self.columns:
            raise ConfigError(
                f"the table {self.name!r} has no column {column!r}",
                code="table.column",
                where=where,
                todo=did_you_mean(column, self.columns),
            )


Rows = list[tuple[str, dict[str, str], Mark]]
VALUE = "value"
"""How the only column of a YAML table is called."""


def read_table(name: str, data: Any, document: Document, where: Where) -> Table | None:
    """The table `name` as it is declared at `where`; what is wrong is reported into `document`."""
    settings = validated(TableSettings, data, where, (), document)
    if settings is None:
        return None
    before = len(document.problems)
    columns: list[str] = []
    rows = list(_yaml_rows(settings.values, document, (*where, "values"), columns))
    if settings.file is not None:
        rows += _file_rows(settings.file, document, (*where, "file"), columns)
    if settings.column and settings.column not in columns:
        hint = did_you_mean(settings.column, columns)
        what = f"the table has no column {settings.column!r}"
        document.report("table.column", (*where, "column"), what, hint)
    if any(problem.severity == "error" for problem in document.problems[before:]):
        return None
    columns.sort(key=lambda column: column != settings.column)
    table = Table(name, settings, columns or [VALUE])
    for row in rows:
        table.add(*row)
    return table


def _file_rows(file: Path, document: Document, where: Where, columns: list[str]) -> Rows:
    path = Path(document.mark(where).file).parent / file
    try:
        text = document.files.text(path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        hint = "The path is relative to the channel file."
        document.report("table.file", where, f"cannot read the table {file}: {why}", hint)
        return []
    if path.suffix.lower() not in {".yaml", ".yml"}:
        return list(_csv_rows(text, path, document, columns))
    sources = Sources(root=document.files.root)
    sources.files = document.files
    found = read(path, sources)
    rows: Rows = []
    if isinstance(found.data, dict):
        rows = list(_yaml_rows(found.data, found, (), columns))
    elif not found.problems:
        found.report("table.bad", (), "the file is not a mapping of code to value")
    document.problems += found.problems
    return rows


def _yaml_rows(
    data: Mapping[str, Any], document: Document, where: Where, columns: list[str]
) -> Iterator[Any]:
    """The rows of a mapping of code to value, or of code to column to value."""
    for code, value in data.items():
        place = (*where, code)
        wide = isinstance(value, dict)
        row: dict[str, str] = {}
        for column, item in (value if wide else {VALUE: value}).items():
            if item is None:
                continue
            if isinstance(item, (dict, list, bool)):
                what = f"the value of the code {code!r} must be a text"
                inner = (*place, column) if wide else place
                document.report("table.bad", inner, what, "Put quotes around true and false.")
                continue
            row[column] = str(item)
            if column not in columns:
                columns.append(column)
        yield code, row, document.mark(place, key=True)


def _csv_rows(text: str, path: Path, document: Document, columns: list[str]) -> Iterator[Any]:
    """The rows of a CSV text."""
    header = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count), strict=True)
    names: list[str] = []
    seen: dict[str, int] = {}
    try:
        start = 1
        for cells in lines:
            mark = Mark(str(path), start, 1)
            start = lines.line_num + 1
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue
            told = ""
            if not names:
                names = stripped[1:]
                if not names or not all(names) or len(set(names)) < len(names):
                    told = "the header must name a code column and columns of values, each by its own name"
                columns += [name for name in names if name not in columns]
            elif len(stripped) < 2 or len(stripped) > len(names) + 1:
                told = f"this row has {len(stripped)} columns, the header {len(names) + 1}"
            elif stripped[0] in seen:
                told = f"the code {stripped[0]!r} is there twice; first in line {seen[stripped[0]]}"
            else:
                seen[stripped[0]] = mark.line
                row = {name: cell for name, cell in zip(names, stripped[1:], strict=False) if cell}
                yield stripped[0], row, mark
            if told:
                document.problems.append(Problem("table.bad", mark, told))
    except csv.Error as error:
        at = Mark(str(path), lines.line_num, 1)
        document.problems.append(Problem("table.bad", at, f"this is not CSV: {error}"))


def load_tables(data: Mapping[str, Any], base: Path | None = None) -> dict[str, Table]:
    """The tables of plain data; files are relative to `base`. ConfigError with the first thing that is wrong."""
    document = Document((base or Path()) / "tables")
    tables = {name: read_table(name, body, document, (name,)) for name, body in data.items()}
    for problem in document.problems:
        raise ConfigError(problem.text, code=problem.code, where=str(problem.mark), todo=problem.hint)
    return {name: table for name, table in tables.items() if table is not None}
