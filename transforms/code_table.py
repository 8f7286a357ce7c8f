"""The `code_table` transformer: a code of the message in the words of a code table.

Guarantees: an absent or cleared field stays so; the message is only changed when the code changes.
Refuses: a table that is not declared (`ConfigError`); an unknown code when the policy is `error` (`StepError`
that names table and path, not the code).
"""

from __future__ import annotations

from pydantic import Field

from engine.errors import ConfigError, StepError
from engine.model import ABSENT, Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.meaning import HL7Path, TableName
from engine.spec.tables import Otherwise, Table


@component("transformer", "code_table", example="code_table: {path: PID-8, table: sex}")
class CodeTable(Settings):
    """Replaces a code by its value in a code table.

    The table is declared under `tables:`; what becomes of a code that is not in it says the table, or
    `otherwise` here.
    """

    path: HL7Path = Field(min_length=1, description="Where the code is.", examples=["PID-8", "PV1-3.1"])
    table: TableName = Field(min_length=1, description="Name of the code table.", examples=["sex"])
    column: str = Field(
        default="", description="Column of the table that gives the value.", examples=["odoo"]
    )
    otherwise: Otherwise | None = Field(
        default=None,
        description="What an unknown code becomes: `keep` itself, `absent` (emptied), or an `error`.",
    )

    def build(self, context: BuildContext) -> Transformer:
        """Find the table."""
        table: Table | None = context.tables.get(self.table)
        if table is None:
            raise ConfigError(
                f"there is no code table {self.table!r}",
                code="table.unknown",
                todo=did_you_mean(self.table, context.tables) or "declare it under tables:",
            )
        table.needs(self.column)
        path, otherwise, column = self.path, self.otherwise, self.column

        def translate(scope: Scope) -> None:
            code = scope.msg[path]
            if not code:
                return
            try:
                value = table.get(code, otherwise, column)
            except StepError as error:
                raise StepError(f"{path}: {error.what}", code=error.code, todo=error.todo) from None
            if value != code:
                scope.msg[path] = "" if value is ABSENT else value
                scope.events = None

        return translate
