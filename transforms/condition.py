"""The `condition` filter: an expression lets a message pass.

Guarantees: the same message gives the same answer on every run; a fault is a `StepError`, so a message is
never dropped because its condition could not be evaluated.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from engine.model import Filter, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.expressions import compile_expression
from engine.spec.meaning import Expression


@component("filter", "condition", example="condition: \"msg['PV1-2'] != 'P'\"")
class Condition(Settings):
    """Lets a message pass when an expression is true.

    Absent and cleared values are false. A message that does not pass becomes FILTERED, with `reason`.
    """

    scalar: ClassVar[str] = "expression"

    expression: Expression = Field(
        min_length=1,
        description="What must be true, in Jinja: `msg[...]`, `event`, `vars`, `message`, `table()`.",
        examples=["msg['PV1-2'] != 'P'", "event.patient.mrn is present"],
    )
    reason: str = Field(
        default="",
        description="Why the message goes no further, for people; by default the expression itself.",
        examples=["pre-admission"],
    )

    def build(self, context: BuildContext) -> Filter:
        """Compile the expression."""
        evaluate = compile_expression(self.expression, context)
        reason = self.reason or f"condition not met: {' '.join(self.expression.split())}"

        def check(scope: Scope) -> str | None:
            return None if evaluate(scope) else reason

        return check
