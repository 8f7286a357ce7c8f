"""The `phone` transformer: telephone numbers in one form.

Guarantees: see the filter `phone` (`engine.spec.filters`); a value without a digit is removed.
"""

from __future__ import annotations

from pydantic import Field

from engine.model import Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.fields import Paths, changing, paths_field
from engine.spec.filters import phone


@component("transformer", "phone", example='phone: {paths: [PID-13.1], country: "49"}')
class Phone(Settings):
    """Tidies telephone numbers, with `country` into international form: `0555 1234` becomes `+49 5551234`."""

    paths: Paths = paths_field("PID-13.1", "PID-14.1")
    country: str = Field(
        default="", pattern=r"^[1-9]?\d{0,3}$", description="Country calling code of numbers that have none.",
        examples=["49"],
    )  # fmt: skip

    def build(self, context: BuildContext) -> Transformer:
        """Choose the filter."""
        return changing(self.paths, lambda value: phone(value, self.country), context)
