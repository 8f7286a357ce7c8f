"""The `date` transformer: dates and times in the form that a destination wants.

Guarantees and refusals are those of the filters `hl7_date`, `odoo_date` and `odoo_datetime` (`engine.spec.dates`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.hl7.dates import Precision
from engine.model import Transformer
from engine.spec.component import BuildContext, Settings, component
from engine.spec.dates import DateFilters, OnError
from engine.spec.fields import Paths, changing, paths_field


@component("transformer", "date", example="date: {paths: [PID-7], to: hl7, precision: day}")
class Date(Settings):
    """Rewrites dates and times: HL7, ISO 8601 and what senders really write, into one form.

    A time without an offset is local time of the channel's `timezone`.
    """

    paths: Paths = paths_field("PID-7", "PV1-44")
    to: Literal["hl7", "date", "datetime"] = Field(
        default="hl7",
        description="`hl7`: as HL7 writes it; `date`: `1980-02-29`; `datetime`: `2024-01-31 07:30:00` in UTC.",
    )
    precision: Precision = Field(default="second", description="With `to: hl7`: how much of it is written.")
    on_error: OnError = Field(default="error", description="What becomes of a value that is no date.")

    def build(self, context: BuildContext) -> Transformer:
        """Choose the filter."""
        dates = DateFilters(str(context.options.get("timezone") or "UTC"))
        change = {
            "hl7": lambda value: dates.hl7_date(value, self.precision, self.on_error),
            "date": lambda value: dates.odoo_date(value, self.on_error),
            "datetime": lambda value: dates.odoo_datetime(value, self.on_error),
        }[self.to]
        return changing(self.paths, change, context)
