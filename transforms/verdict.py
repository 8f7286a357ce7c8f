"""The response step `verdict`: what an answer counts as.

Guarantees: it decides about the delivery alone, after its answer is stored; nothing is sent again because of it.
Several: the last one that applies decides. What people read of it is written in the configuration, never in an answer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from engine.model import Scope, Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.expressions import compile_expression
from engine.spec.meaning import Expression


@component(
    "response",
    "verdict",
    example="verdict: {state: sent, when: \"msg['MSA-1'] == 'AE' and 'known already' in msg['MSA-3']\"}",
)
class Verdict(Settings):
    """Says what an answer counts as: sent, or an error.

    An error is one for good, as if the destination had refused: `on_error` says what waits for it, and it is never
    tried again by itself.
    """

    state: Literal["sent", "error"] = Field(description="What the delivery becomes.", examples=["sent"])
    when: Expression = Field(
        default="", description="Expression: only when this is true.", examples=["msg['MSA-1'] == 'AE'"]
    )
    code: str = Field(
        default="response.refused",
        pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$",
        description="Code of the error: errors of one cause are counted by it.",
        examples=["lab.no_order"],
    )
    text: str = Field(
        default="",
        description="What people read of the error; a fixed text, so that nothing of a patient gets into it.",
        examples=["the lab does not know this order"],
    )

    @model_validator(mode="after")
    def _says_why(self) -> Verdict:
        given = {"code", "text"} & self.model_fields_set
        if self.state == "sent" and given:
            raise ValueError(f"`{min(given)}` is for errors")
        return self

    def build(self, context: BuildContext) -> Transformer:
        """Compile the expression."""
        when = compile_expression(self.when, context, "when") if self.when else None
        sent, label = self.state == "sent", context.label
        code, text = ("", "") if sent else (self.code, self.text or "the answer counts as an error")

        def judge(scope: Scope) -> None:
            outcome = scope.outcome
            if outcome is None or (when is not None and not when(scope)):
                return
            if sent and outcome.sent:
                return
            outcome.sent, outcome.code, outcome.text, outcome.place = sent, code, text, ""
            outcome.by = label
            scope.vars.update(verdict=self.state, error_code=code, error_text=text)

        return judge
