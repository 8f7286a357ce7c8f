"""The `split` transformer: one message becomes several, each on its way through the channel from its beginning.

Guarantees: the parts are stored in the transaction that ends the message (C2), so each comes to be exactly once,
whatever crashes; they are in order among themselves, behind what was received before this transaction, and have,
unless they name a key of their own, its ordering keys; their `parent_id` is the message, which becomes FILTERED and
says into how many it was split. A message of one item goes on as it is.
Refuses: to stand in a destination (`StepError`), more than `max_parts`.
"""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from engine.errors import ConfigError, StepError
from engine.model import Divided, Scope, Transformer
from engine.spec.component import BuildContext, Settings, component

LONGEST_ID = 190  # characters of a control id before its number


@component("transformer", "split", example="split: {each: OBR}")
class Split(Settings):
    """Makes one message of each repeating group, item, row or entry.

    HL7: `each` is the segment that begins a group; every part has what stands before the first, and its group. JSON,
    XML: `each` names the items; every part is the whole document with one of them. FHIR: the resources at `each`,
    such as `Bundle.entry.resource`. Delimited text: `row`, or a column whose equal values stay together. Put it
    first: the parts run through the steps before it again. Control ids get a number: `C1-1`, `C1-2`.
    """

    on_response: ClassVar[bool] = False
    scalar = "each"

    each: str = Field(
        min_length=1, description="What every part has one of.", examples=["OBR", "/items", "row"]
    )
    max_parts: int = Field(default=10_000, ge=2, description="More parts are an error.")

    def build(self, context: BuildContext) -> Transformer:
        """Check the path."""
        each, limit = self.each, self.max_parts
        hl7 = context.format is None or context.format.name == "hl7v2"
        if hl7 and not re.fullmatch(r"[A-Z][A-Z0-9]{2}", each):
            raise ConfigError(
                f"{each!r} is no segment", code="split.segment",
                todo="name the segment that begins each group: OBR, FT1, AIS",
            )  # fmt: skip
        if not hl7:
            context.format.check(each)

        def split(scope: Scope) -> None:
            msg = scope.msg
            parts = msg.split(each)
            if not parts or (len(parts) == 1 and parts[0] == bytes(msg)):
                return
            if len(parts) > limit:
                raise StepError(
                    f"the message would be split into more than {limit}", code="split.many",
                    todo="raise `max_parts`, or let the sender send less at once",
                )  # fmt: skip
            control_id = scope.message.control_id[:LONGEST_ID]
            ids = [f"{control_id}-{number}" if control_id else "" for number in range(1, len(parts) + 1)]
            if hl7 and control_id:
                parts = [_named(context, part, one) for part, one in zip(parts, ids, strict=True)]
            raise Divided(list(zip(parts, ids, strict=True)))

        return split


def _named(context: BuildContext, part: bytes, control_id: str) -> bytes:
    """The part with its own MSH-10."""
    from engine.hl7.er7 import Message

    view = context.format.parse(part) if context.format is not None else Message(part)
    view["MSH-10"] = control_id
    return bytes(view)
