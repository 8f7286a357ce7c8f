"""The `duplicate` filter: what came before on this channel goes no further.

Guarantees: the step itself is pure and only says by what the message is known; whether that came before is decided
by the transaction that ends the message (C2), so it is exact in the channel's order, over crashes and restarts. Only
a message that went on counts as having come; a replay is no duplicate of what it repeats. What is kept is a keyed
digest. Refuses: paths that the format does not have (`ConfigError`).
"""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import orjson
from pydantic import Field, field_validator, model_validator

from engine.model import CLEAR, Filter, Once, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.fields import change_all, check_paths
from engine.spec.meaning import HL7Path
from engine.spec.units import Age
from engine.spec.values import as_text, is_absent


@component("filter", "duplicate", example="duplicate: {by: [MSH-3, MSH-10], window: 7d}")
class Duplicate(Settings):
    """Stops a message that came before on this channel, within a window.

    `by` names what makes two messages the same; without it their whole content does, but for `ignore`. In a
    destination it stops what went to that destination before. Sent again under the same MSH-10 by the same sender
    with the same bytes is known without this filter: see `duplicates` of the channel.
    """

    on_response: ClassVar[bool] = False
    by: list[HL7Path] = Field(
        default=[],
        description="Paths whose values, all together, make two messages the same. By default the whole message.",
        examples=[["MSH-3", "MSH-10"], ["/order/id"]],
    )
    ignore: list[HL7Path] = Field(
        default=[],
        description="Without `by`: paths that may differ.",
        examples=[["MSH-7", "MSH-10"]],
    )
    window: Age = Field(
        default=86400,
        gt=0,
        description="How long after it was received a message is remembered.",
        examples=["7d"],
    )

    @field_validator("by", "ignore", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_way(self) -> Duplicate:
        if self.by and self.ignore:
            raise ValueError("`ignore` goes with the whole message, not with `by`")
        return self

    def build(self, context: BuildContext) -> Filter:
        """Check the paths."""
        check_paths([*self.by, *self.ignore], context)
        by, ignore, form = tuple(self.by), tuple(self.ignore), context.format
        window, label = self.window * 1_000_000, context.label or "duplicate"
        what = ", ".join(by) or "content"
        start = f"by {by!r} but {ignore!r}".encode()

        def paths(scope: Scope) -> bytes | None:
            found = [scope.msg[path] for path in by]
            if all(is_absent(value) for value in found):
                return None
            texts = ["-" if is_absent(v) else "0" if v is CLEAR else f"={_text(v)}" for v in found]
            return "".join(f"{len(text)} {text}" for text in texts).encode("utf-8", "surrogatepass")

        def content(scope: Scope) -> bytes:
            if not ignore:
                return bytes(scope.msg)
            view = form.parse(bytes(scope.msg))
            for path in ignore:
                change_all(view, path, lambda value: "")
            return bytes(view)

        def ask(scope: Scope) -> None:
            data = paths(scope) if by else content(scope)
            if data is not None:
                digest = hashlib.blake2b(start + b"\0" + data, digest_size=32).digest()
                scope.once = (*scope.once, Once(digest, window, label, what))

        return ask


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS).decode()
    return as_text(value)
