"""The `map` transformer: values from one place to another, through code tables on the way.

Guarantees: all sources are read before anything is set, so values can change places; an absent source leaves its
target alone, a cleared one clears it. Refuses: a table that is not declared (`ConfigError`); a code that is in no
table, as the table says (`StepError`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.errors import ConfigError, StepError
from engine.model import CLEAR, Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.expressions import RESERVED
from engine.spec.fields import check_paths
from engine.spec.meaning import HL7Path, TableName, Variable
from engine.spec.tables import Otherwise, Table, load_tables
from engine.spec.values import is_absent, is_clear


class Source(BaseModel):
    """Where a value comes from: a path, or a fixed value, with a table on the way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: HL7Path = Field(default="", alias="from", description="Path of the value.", examples=["PID-8"])
    value: str | int | float | bool | None = Field(
        default=None, description="A fixed value, instead of `from`."
    )
    table: TableName | dict[str, Any] = Field(
        default="", description="Name of a code table, or one written here.", examples=["sex", {"M": "male"}]
    )
    column: str = Field(
        default="", description="Column of the table that gives the value.", examples=["odoo"]
    )
    otherwise: Otherwise | None = Field(default=None, description="What an unknown code becomes.")
    default: str | int | float | bool | None = Field(
        default=None, description="Value when the source is absent.", examples=["U"]
    )

    @model_validator(mode="after")
    def _one_source(self) -> Source:
        if bool(self.path) == (self.value is not None):
            raise ValueError("give either `from` or `value`")
        return self


@component(
    "transformer",
    "map",
    example="map: {fields: {PID-10: {from: PID-8, table: {F: 2, M: 1}, otherwise: keep}}}",
)
class Map(Settings):
    """Copies values from path to path, each through a table if it names one; target: source.

    A source is a path, or a mapping with `from` or `value`, `table`, `otherwise` and `default`.
    """

    fields: dict[HL7Path, HL7Path | Source] = Field(
        default={}, description="Path to source.", examples=[{"PID-2": "PID-3.1", "PID-8": {"from": "PID-8"}}]
    )
    vars: dict[Variable, HL7Path | Source] = Field(
        default={},
        description="Variable to source.",
        examples=[{"ward": {"from": "PV1-3.1", "table": "ward"}}],
    )

    @field_validator("vars")
    @classmethod
    def _free_names(cls, found: dict[str, Any]) -> dict[str, Any]:
        for name in found:
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in RESERVED:
                raise ValueError(f"{name!r} cannot be the name of a variable")
        return found

    @model_validator(mode="after")
    def _says_something(self) -> Map:
        if not self.fields and not self.vars:
            raise ValueError("give `fields` or `vars`")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """Find the tables and check the paths."""
        fields = [(path, self._reader(source, context)) for path, source in self.fields.items()]
        variables = [(name, self._reader(source, context)) for name, source in self.vars.items()]
        check_paths(self.fields, context)
        typed = context.format is not None and context.format.typed

        def copy(scope: Scope) -> None:
            msg = scope.msg
            found = [(path, read(msg)) for path, read in fields]
            scope.vars |= {name: read(msg) for name, read in variables}
            for path, value in found:
                if is_absent(value):
                    continue
                msg[path] = CLEAR if is_clear(value) else value if typed else str(value)
                scope.events = None

        return copy

    def _reader(self, given: str | Source, context: BuildContext) -> Callable[[Any], Any]:
        source = Source.model_validate({"from": given}) if isinstance(given, str) else given
        path, value, default = source.path, source.value, source.default
        otherwise, column = source.otherwise, source.column
        table = self._table(source, context)
        if table is not None:
            table.needs(column)
        check_paths(filter(None, [path]), context)

        def read(msg: Any) -> Any:
            found = value if value is not None else msg[path]
            if is_absent(found) and default is not None:
                return default
            if table is None:
                return found
            try:
                return table.get(found, otherwise, column)
            except StepError as error:
                raise StepError(f"{path}: {error.what}", code=error.code, todo=error.todo) from None

        return read

    def _table(self, source: Source, context: BuildContext) -> Table | None:
        if isinstance(source.table, dict):
            return load_tables({"of this step": {"values": source.table}})["of this step"]
        if not source.table:
            return None
        found: Table | None = context.tables.get(source.table)
        if found is None:
            raise ConfigError(
                f"there is no code table {source.table!r}",
                code="table.unknown",
                todo=did_you_mean(source.table, context.tables) or "declare it under tables:",
            )
        return found
