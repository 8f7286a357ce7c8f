"""The `lookup` transformer: a value from Odoo, a database, a web service or a code table.

Guarantees: the step reads what was fetched for its batch (`engine.spec.lookups`): one call of Odoo a batch; absent
or cleared values are never asked for; an outage makes the messages wait, in their order, and is never taken for
"not there"; values go as parameters, never as text of a query. Refuses, when it is loaded: settings of another kind
of connection, a connection or table that is not declared (`ConfigError`).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from engine.errors import ConfigError, StepError
from engine.model import ABSENT, CLEAR, Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.expressions import RESERVED
from engine.spec.fields import check_paths
from engine.spec.lookups import Key, Lookup
from engine.spec.meaning import ConnectionName, HL7Path, TableName, Value, Variable
from engine.spec.template import compile_value
from engine.spec.units import Age
from engine.spec.values import as_text, is_absent, is_present

OF = {"odoo": ("model", "domain", "fields", "order"), "sql": ("query",), "http": ("resource", "pointer")}
"""Settings by kind of connection."""


@component(
    "transformer", "lookup", example="lookup: {var: sex, table: sex, match: {code: \"{{ msg['PID-8'] }}\"}}"
)
class LookupStep(Settings):
    """Looks a value up, into a variable or a field of the message.

    `match` says what is looked up. Odoo: field to value, all must be equal (with `domain` in addition); SQL: the
    parameters of `query`; HTTP: the parameters of a GET that answers JSON; a code table: `code`. The variable holds
    the whole record, or with `value` one field of it. Messages wait while the other side cannot answer.
    """

    on_response: ClassVar[bool] = False
    var: Variable = Field(
        default="",
        pattern=r"^([A-Za-z][A-Za-z0-9_]*)?$",
        description="Variable to set.",
        examples=["partner"],
    )
    path: HL7Path = Field(
        default="", description="Field of the message to set; needs `value`.", examples=["PV1-3.9"]
    )
    connection: ConnectionName = Field(
        default="", description="Name of an `odoo`, `sql` or `http` connection.", examples=["clinic"]
    )
    table: TableName = Field(default="", description="Name of a code table, instead.", examples=["sex"])
    match: dict[str, Value] = Field(
        min_length=1,
        description="What is looked up: name to value.",
        examples=[{"ref": "{{ msg['PID-3.1'] }}"}],
    )
    value: str = Field(
        default="", description="The field, column or name in the answer that counts.", examples=["id"]
    )
    model: str = Field(default="", description="Odoo: the model.", examples=["res.partner"])
    domain: list[Any] = Field(
        default=[], description="Odoo: a domain that must fit too.", examples=[[["active", "=", True]]]
    )
    fields: list[str] = Field(default=[], description="Odoo: fields to read.", examples=[["name", "phone"]])
    order: str = Field(default="id", description="Odoo: which record counts when several fit.")
    query: str = Field(
        default="",
        description="SQL: one SELECT with `:name` for each of `match`; the first row counts.",
        examples=["SELECT name FROM ward WHERE code = :code"],
    )
    resource: str = Field(
        default="", description="HTTP: path below the connection's URL.", examples=["/wards"]
    )
    pointer: str = Field(default="", description="HTTP: JSON pointer to the record.", examples=["/items/0"])
    otherwise: Literal["absent", "error"] = Field(
        default="absent",
        description="What is done when there is nothing: absent, or the message becomes ERROR.",
    )
    default: str | int | float | bool | None = Field(
        default=None, description="Value when there is nothing, instead of `otherwise`."
    )
    ttl: Age = Field(default=300, description="How long what was found is kept; 0: for the batch only.")
    cache_size: int = Field(default=10_000, ge=1, description="Values that are kept, at most.")

    @field_validator("var")
    @classmethod
    def _free_name(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"{name!r} cannot be the name of a variable")
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> LookupStep:
        if bool(self.var) == bool(self.path):
            raise ValueError("give either `var` or `path`")
        if bool(self.connection) == bool(self.table):
            raise ValueError("give either `connection` or `table`")
        if self.path and self.connection and not self.value:
            raise ValueError("`path` needs `value`: which field of the record")
        if self.query and set(re.findall(r"(?<!:):([A-Za-z]\w*)", self.query)) != set(self.match):
            raise ValueError("the parameters of `query` must be those of `match`")
        if self.query and not re.match(r"\s*(SELECT|WITH)\b", self.query, re.IGNORECASE):
            raise ValueError("`query` must be a SELECT")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """Compile what is matched; find connection or table."""
        match = [compile_value(value, context, f"match.{name}") for name, value in self.match.items()]
        check_paths(filter(None, [self.path]), context)
        find = self._table(context) if self.table else self._fetched(context)
        typed = context.format is not None and context.format.typed
        var, path, default, strict = self.var, self.path, self.default, self.otherwise == "error"

        def look(scope: Scope) -> None:
            key = tuple(value(scope) for value in match)
            found = find(key) if all(is_present(part) for part in key) else ABSENT
            if is_absent(found) and default is not None:
                found = default
            elif is_absent(found) and strict:
                raise StepError(
                    "nothing was found", code="lookup.nothing", todo="give `default`, or `otherwise: absent`"
                )
            if var:
                scope.vars[var] = found
            elif not is_absent(found):
                scope.msg[path] = CLEAR if found is CLEAR else found if typed else as_text(found)
                scope.events = None

        return look

    def _table(self, context: BuildContext) -> Any:
        table = context.tables.get(self.table)
        if table is None:
            raise ConfigError(
                f"there is no code table {self.table!r}", code="table.unknown",
                todo=did_you_mean(self.table, context.tables) or "declare it under tables:",
            )  # fmt: skip
        if list(self.match) != ["code"]:
            raise ConfigError(
                "a table is asked for one `code`", code="lookup.match", todo="write match: {code: …}"
            )
        table.needs(self.value)
        return lambda key: table.get(key[0], "absent", self.value)

    def _fetched(self, context: BuildContext) -> Any:
        connection = context.connections.get(self.connection)
        kind = getattr(connection, "lookups", "")
        if not kind:
            raise ConfigError(
                f"there is no connection {self.connection!r} for lookups", code="lookup.connection",
                todo=did_you_mean(self.connection, context.connections) or "declare it under connections:",
            )  # fmt: skip
        given = [name for names in OF.values() for name in names if name in self.model_fields_set]
        wrong = [name for name in given if name not in OF[kind]]
        if wrong or OF[kind][0] not in self.model_fields_set:
            what = f"`{wrong[0]}` is not for" if wrong else f"`{OF[kind][0]}` is missing for"
            raise ConfigError(
                f"{what} a lookup over {kind}",
                code="lookup.settings",
                todo=f"its settings: {', '.join(OF[kind])}",
            )
        assert connection is not None
        fetch = connection.fetcher(self, context.reactor, context.data_dir)
        lookup = Lookup(
            f"{self.connection} {self.model or self.resource}".strip(),
            fetch,
            self.ttl,
            self.cache_size,
            self.value,
        )
        context.cache.setdefault("lookups", []).append(lookup)

        def find(key: Key) -> Any:
            found = lookup.ask(key)
            if found is None:
                return ABSENT
            if not self.value:
                return found
            chosen = found.get(self.value) if isinstance(found, dict) else None
            return ABSENT if chosen is None or (chosen is False and connection.lookups == "odoo") else chosen

        return find
