"""The format `hl7v2`: HL7 v2 in ER7 (reading: `engine.hl7`). Guarantees and refuses what that does."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from engine.formats.base import Format
from engine.hl7.format import Hl7v2
from engine.spec.component import BuildContext, Settings, component

Version = Literal["2.1", "2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8", "2.8.1", "2.8.2"]


@component("format", "hl7v2", example="hl7v2: {version: 2.5.1}")
class Hl7v2Format(Settings):
    """HL7 v2 in ER7, the default. Paths are HL7's: `PID-5.1`, `PID-3[5=MR].1`."""

    version: Version | None = Field(
        default=None,
        description="The version that the sender speaks: `lint` holds paths against its tables; without it,"
        " a path is right when any version has it. Reading does not depend on it.",
        examples=["2.5.1"],
    )

    @field_validator("version", mode="before")
    @classmethod
    def _number_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, float) else value

    def build(self, context: BuildContext) -> Format:
        """Read with the channel's `charset`, else with MSH-18."""
        return Hl7v2(str(context.options.get("charset") or ""))
