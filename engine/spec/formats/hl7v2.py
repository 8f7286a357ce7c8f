"""The format `hl7v2`: HL7 v2 in ER7 (reading: `engine.hl7`). Guarantees and refuses what that does."""

from __future__ import annotations

from engine.formats.base import Format
from engine.hl7.format import Hl7v2
from engine.spec.component import BuildContext, Settings, component


@component("format", "hl7v2", example="hl7v2: {}")
class Hl7v2Format(Settings):
    """HL7 v2 in ER7, the default. Paths are HL7's: `PID-5.1`, `PID-3[5=MR].1`."""

    def build(self, context: BuildContext) -> Format:
        """Read with the channel's `charset`, else with MSH-18."""
        return Hl7v2(str(context.options.get("charset") or ""))
