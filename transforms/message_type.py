"""The `message_type` filter: MSH-9 decides whether a message passes.

Guarantees: `deny` wins over `allow`; a message without a type never passes an `allow` list.
Refuses: patterns that can match nothing (`ConfigError` when the configuration is read).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from engine.model import Filter, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.meaning import MessageTypeName

_PATTERN = re.compile(r"([A-Z][A-Z0-9]{2})(?:\^(\*|[A-Z][A-Z0-9]{2}))?")
_NAME = re.compile(r"[A-Za-z_][\w.:/@|+-]{3,63}", re.ASCII)  # of other formats: Patient, order.created


@component("filter", "message_type", example="message_type: {allow: [ADT^A01, ADT^A08]}")
class MessageType(Settings):
    """Lets only the named message types pass. Types of other formats are written whole: `Patient`, `order.created`.

    `ADT^A01` is one trigger event, `ADT` and `ADT^*` are all of ADT. Message code and trigger are MSH-9.1 and
    MSH-9.2 (HL7 v2.5.1 chapter 2.15.9.9); the structure (MSH-9.3) does not count.
    """

    scalar: ClassVar[str] = "allow"

    allow: list[MessageTypeName] = Field(
        default=[],
        description="Types that pass; when empty, all but the denied.",
        examples=[["ADT^A01", "SIU^*"]],
    )
    deny: list[MessageTypeName] = Field(
        default=[], description="Types that do not pass, even when allowed.", examples=[["ADT^A60"]]
    )

    @field_validator("allow", "deny", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("allow", "deny")
    @classmethod
    def _patterns(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if not (_PATTERN.fullmatch(pattern) or _NAME.fullmatch(pattern)):
                raise ValueError(f"{pattern!r} is not a message type: write ADT^A01, ADT or ADT^*")
        return patterns

    @model_validator(mode="after")
    def _says_something(self) -> MessageType:
        if not self.allow and not self.deny:
            raise ValueError("give `allow` or `deny`, or remove the filter")
        return self

    def build(self, context: BuildContext) -> Filter:
        """Make sets of the patterns."""
        allow, deny = ({item.removesuffix("^*") for item in names} for names in (self.allow, self.deny))

        known = _PATTERN if context.format is None or context.format.name == "hl7v2" else _NAME
        hl7 = context.format is None or context.format.name == "hl7v2"

        def check(scope: Scope) -> str | None:
            found = scope.message.type
            if not found and hl7:
                found = "^".join(filter(None, (scope.msg["MSH-9.1"], scope.msg["MSH-9.2"])))
            code, _, rest = found.partition("^")
            names = {code, f"{code}^{rest.partition('^')[0]}"}
            if names & deny or (allow and not names & allow):
                return f"message type {found if known.fullmatch(found) else 'unknown'} is not let through"
            return None

        return check
