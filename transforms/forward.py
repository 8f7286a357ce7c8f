"""The response step `forward`: an answer, or what is made of it, becomes a message of another channel.

Guarantees: the message is stored in the transaction that ends the delivery, so it comes to be exactly once, whatever
crashes; its `parent_id` is the message whose answer it is. Refuses: a channel that is not there (`ConfigError`); a
message that the other channel's format cannot read (the delivery is an error of this step).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from pydantic import Field

from engine.errors import ConfigError, StepError
from engine.model import Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.expressions import compile_expression, compile_text
from engine.spec.meaning import Expression, Value
from engine.spec.template import compile_value


@component("response", "forward", example="forward: {channel: results, when: \"verdict == 'sent'\"}")
class Forward(Settings):
    """Gives the answer, or a message made of it, to another channel.

    Without `body` it is what a `jinja` or `python` step before rendered as text, else the answer, as steps before
    have changed it. Control id, type and identifiers are read as the other channel reads them.
    """

    channel: str = Field(min_length=1, description="Name of the other channel.", examples=["results"])
    body: Value = Field(
        default=None,
        description="The message: data, which becomes JSON, or a text; with Jinja in it. `original` is the message"
        " whose answer this is.",
        examples=[{"mrn": "{{ original['PID-3.1'] }}", "record": "{{ record }}"}],
    )
    when: Expression = Field(
        default="", description="Expression: only when this is true.", examples=["verdict == 'sent'"]
    )

    def build(self, context: BuildContext) -> Callable[[Scope], None]:
        """Compile the body; find the channel."""
        formats = context.options.get("formats")
        if formats is not None and self.channel not in formats:
            raise ConfigError(
                f"there is no channel {self.channel!r}", code="forward.channel",
                todo=did_you_mean(self.channel, formats) or "name one that is declared",
            )  # fmt: skip
        hl7 = (formats or {}).get(self.channel) == "hl7v2"
        when = compile_expression(self.when, context, "when") if self.when else None
        text = isinstance(self.body, str)
        compiled: Callable[..., Callable[[Scope], Any]] = compile_text if text else compile_value
        body = compiled(self.body, context, "body") if self.body is not None else None

        def render(scope: Scope) -> bytes:
            if body is None and scope.text is None:
                return bytes(scope.msg)
            made = body(scope) if body is not None else scope.text
            if not isinstance(made, str):
                return orjson.dumps(made)
            return (made.strip().replace("\n", "\r") + "\r" if hl7 and made.strip() else made).encode()

        def pass_on(scope: Scope) -> None:
            if scope.outcome is None or (when is not None and not when(scope)):
                return
            raw = render(scope)
            if not raw.strip():
                raise StepError("there is nothing to pass on", code="forward.empty", todo="say `when`")
            scope.outcome.forwards.append((self.channel, raw))

        return pass_on
