"""The `sample` filter: a part of the messages.

Guarantees: a message that is run again gets the same answer; with `by`, all messages with the same value of it get
the same answer, so a sample has whole patients. Refuses: both `every` and `share`, or neither.
"""

from __future__ import annotations

import hashlib

from pydantic import Field, model_validator

from engine.model import Filter, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.expressions import compile_expression
from engine.spec.meaning import Expression
from engine.spec.values import as_text

WHOLE = 1 << 32


@component("filter", "sample", example="sample: {share: 0.1, by: \"msg['PID-3.1']\"}")
class Sample(Settings):
    """Lets a share of the messages pass, or one in so many: for tests of a new destination.

    `share` goes by a stable hash of `by`, or of the control id; `every` by the number of the message in the store.
    """

    share: float | None = Field(default=None, gt=0, lt=1, description="Part that passes.", examples=[0.1])
    every: int | None = Field(default=None, ge=2, description="One in so many passes.", examples=[10])
    by: Expression = Field(
        default="", description="With `share`: expression whose value decides.", examples=["msg['PID-3.1']"]
    )

    @model_validator(mode="after")
    def _one_way(self) -> Sample:
        if (self.share is None) == (self.every is None):
            raise ValueError("give either `share` or `every`")
        if self.by and self.share is None:
            raise ValueError("`by` goes with `share`")
        return self

    def build(self, context: BuildContext) -> Filter:
        """Compile the expression."""
        every = self.every
        if every is not None:
            return lambda scope: None if scope.message.id % every == 0 else f"not one in {every}"
        below = int((self.share or 0) * WHOLE)
        by = compile_expression(self.by, context, "by") if self.by else None
        reason = f"not in the sample of {self.share:g}"

        def check(scope: Scope) -> str | None:
            text = as_text(by(scope)) if by is not None else scope.message.control_id
            digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=4).digest()
            return None if int.from_bytes(digest, "big") < below else reason

        return check
