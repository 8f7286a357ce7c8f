"""The `set` transformer: gives variables and fields of the message a value.

Guarantees: variables are set first, then fields, each in the order written, and each sees the ones before; an
absent value leaves a field alone (`absent: empty` empties it), a cleared one clears it.
Refuses: a variable whose name Isthmus uses itself (`ConfigError`).
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from engine.model import CLEAR, Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.expressions import RESERVED, compile_expression
from engine.spec.meaning import Expression, HL7Path, Value, Variable
from engine.spec.template import compile_value
from engine.spec.values import as_text, finish, is_absent, is_clear

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@component(
    "transformer",
    "set",
    example="set: {vars: {mrn: \"{{ msg['PID-3.1'] }}\"}, fields: {PID-5.1: \"{{ msg['PID-5.1'] | name_case }}\"}}",
)
class Set(Settings):
    """Sets variables for later steps, and fields of the message.

    A value is written as in a template: text with `{{ }}` in it, a number, a list. A value that is exactly one
    `{{ expression }}` keeps its type. `null` clears.
    """

    vars: dict[Variable, Value] = Field(
        default={},
        description="Variable to value; later steps use it by its name.",
        examples=[{"mrn": "{{ msg['PID-3.1'] }}"}],
    )
    fields: dict[HL7Path, Value] = Field(
        default={},
        description="Path to value.",
        examples=[{"PID-8": "{{ msg['PID-8'] | upper }}"}],
    )
    when: Expression = Field(default="", description="Expression: do it only when this is true.")
    absent: Literal["leave", "empty"] = Field(
        default="leave",
        description="What an absent value does to a field: `leave` it alone, or `empty` it, as a copy would.",
    )

    @field_validator("vars")
    @classmethod
    def _free_names(cls, found: dict[str, Any]) -> dict[str, Any]:
        for name in found:
            if not _NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(f"{name!r} cannot be the name of a variable")
        return found

    @model_validator(mode="after")
    def _says_something(self) -> Set:
        if not self.vars and not self.fields:
            raise ValueError("give `vars` or `fields`")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """Compile every value."""
        variables = [(name, compile_value(v, context, f"vars.{name}")) for name, v in self.vars.items()]
        fields = [(path, compile_value(v, context, f"fields.{path}")) for path, v in self.fields.items()]
        when = compile_expression(self.when, context, "when") if self.when else None
        convert = finish if context.format is not None and context.format.typed else as_text
        empty = self.absent == "empty"

        def assign(scope: Scope) -> None:
            if when is not None and not when(scope):
                return
            for name, value in variables:
                scope.vars[name] = value(scope)
            for path, value in fields:
                found = value(scope)
                if is_clear(found):
                    scope.msg[path] = CLEAR
                elif not is_absent(found):
                    scope.msg[path] = convert(found)
                elif empty:
                    scope.msg[path] = ""
                else:
                    continue
                scope.events = None

        return assign
