"""Code tables: the codes of one system in the words of another (`M` is `male`).

Guarantees: every lookup gives a text, ABSENT or CLEAR; an absent or cleared code passes through; a table is
read and checked once, when the configuration is loaded.
Refuses: a code that stands twice, a file that cannot be read, a policy that is not known (`ConfigError`); an
unknown code under `otherwise: error` (`StepError` that names the table and not the code).

    tables:
      sex: {values: {M: male, F: female, U: unknown}, otherwise: absent}
      ward: {file: tables/wards.csv, ignore_case: true, default: "Other"}

A CSV file has a header line; its first two columns are code and value. A YAML file is a mapping.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.errors import ConfigError, StepError
from engine.model import ABSENT
from engine.spec.values import as_text, is_absent, is_clear

Otherwise = Literal["keep", "absent", "error"]


class TableSettings(BaseModel):
    """One code table in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    values: dict[str, str] = Field(default={}, description="Code to value.", examples=[{"M": "male"}])
    file: Path | None = Field(
        default=None,
        description="A CSV file (header line; code, value) or a YAML mapping, relative to the channel file.",
    )
    otherwise: Otherwise = Field(
        default="error", description="What an unknown code gives: itself, nothing, or an error."
    )
    default: str | None = Field(
        default=None, description="What an unknown code gives, instead of `otherwise`."
    )
    ignore_case: bool = Field(default=False, description="Whether `m` is `M`.")

    @model_validator(mode="before")
    @classmethod
    def _codes_are_text(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("values"), Mapping):
            return {**data, "values": texts(data["values"].items())}
        return data

    @model_validator(mode="after")
    def _has_codes(self) -> TableSettings:
        if not self.values and self.file is None:
            raise ValueError("give values or a file")
        return self


class Table:
    """A code table that is ready to be asked."""

    __slots__ = ("_codes", "default", "ignore_case", "name", "otherwise")

    def __init__(
        self,
        name: str,
        codes: Mapping[str, str],
        otherwise: Otherwise = "error",
        default: str | None = None,
        ignore_case: bool = False,
    ) -> None:
        self.name = name
        self.otherwise = otherwise
        self.default = default
        self.ignore_case = ignore_case
        self._codes = {code.upper(): value for code, value in codes.items()} if ignore_case else dict(codes)

    def __len__(self) -> int:
        return len(self._codes)

    def get(self, code: Any, otherwise: Otherwise | None = None) -> str:
        """The value of `code`; `otherwise` overrides the table's own policy for an unknown code."""
        if is_clear(code) or is_absent(code):
            return ABSENT if is_absent(code) else code
        text = as_text(code)
        found = self._codes.get(text.upper() if self.ignore_case else text)
        if found is not None:
            return found
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


def texts(pairs: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Codes and values as texts; numbers are taken, but not what YAML reads as a boolean (`NO`, `yes`)."""
    result: dict[str, str] = {}
    for code, value in pairs:
        for item in (code, value):
            if isinstance(item, bool) or not isinstance(item, (str, int, float)):
                raise ValueError(
                    "codes and values must be text: put quotes around 'yes', 'no', 'on' and 'off'"
                )
        if str(code) in result:
            raise ValueError(f"the code {str(code)!r} is there twice")
        result[str(code)] = str(value)
    return result


def read_file(path: Path) -> dict[str, str]:
    """The codes of a CSV or YAML file."""
    if path.suffix.lower() in {".yaml", ".yml"}:
        data = yaml.safe_load(path.read_text("utf-8"))
        if not isinstance(data, Mapping):
            raise ValueError("the file is not a mapping of code to value")
        return texts(data.items())
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = [row for row in csv.reader(lines) if any(row)]
    for number, row in enumerate(rows, 1):
        if len(row) < 2:
            raise ValueError(f"row {number} has no second column")
    return texts((row[0].strip(), row[1].strip()) for row in rows[1:])


def load_table(name: str, data: Any, base: Path, where: str = "") -> Table:
    """The table `name` from its YAML settings; files are relative to `base`."""
    place = where or f"tables.{name}"
    try:
        settings = TableSettings.model_validate(data)
        codes = dict(settings.values)
        if settings.file is not None:
            codes = read_file(base / settings.file) | codes
        return Table(name, codes, settings.otherwise, settings.default, settings.ignore_case)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{field + ': ' if field else ''}{first['msg']}", code="table.bad", where=place
        ) from None
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        raise ConfigError(f"cannot read the table: {error}", code="table.file", where=place) from None


def load_tables(data: Mapping[str, Any], base: Path, where: str = "") -> dict[str, Table]:
    """All tables of a `tables:` section."""
    return {name: load_table(name, item, base, f"{where}tables.{name}") for name, item in data.items()}
