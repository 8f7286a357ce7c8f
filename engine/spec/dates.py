"""The date filters: HL7 timestamps and ISO 8601 into what Odoo and HL7 want (reading: `engine.hl7.dates`).

Guarantees: what Odoo gets is naive UTC text (Odoo 16-19: `YYYY-MM-DD HH:MM:SS`); a value with an offset keeps
its instant, one without is local time of the channel's `timezone`; ABSENT and CLEAR pass through.
Refuses: what is no date, and a date of which the needed part was not sent (`StepError` `date.unreadable`, or
ABSENT with `on_error="absent"`). The error says why, never the value.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Literal

from engine.errors import StepError
from engine.hl7 import dates as hl7
from engine.model import ABSENT, CLEAR
from engine.spec.values import as_text, is_absent, is_clear, odoo_text

OnError = Literal["error", "absent"]
_DAY_AND_FINER = frozenset({"day", "hour", "minute", "second", "fraction"})


class DateFilters:
    """The date filters of one channel, which knows its time zone (IANA name)."""

    def __init__(self, zone: str) -> None:
        self.zone = zone

    def odoo_datetime(self, value: Any = ABSENT, on_error: OnError = "error", timezone: str = "") -> str:
        """An Odoo datetime, UTC: `"20240131083000+0100" | odoo_datetime` gives `2024-01-31 07:30:00`.

        A date alone is midnight in the channel's time zone; `timezone` names another one.
        """
        read = _read(value, on_error)
        if isinstance(read, str):
            return read
        at = hl7.to_utc(read, timezone or self.zone)
        return odoo_text(at) if at is not None else _unreadable(on_error, "it is out of range")

    def odoo_date(self, value: Any = ABSENT, on_error: OnError = "error") -> str:
        """An Odoo date, as it was written and never moved: `"19800229" | odoo_date` gives `1980-02-29`.

        A date without its day (`1980`, `198002`) is not a date that Odoo can keep: it is unreadable.
        """
        read = _read(value, on_error)
        return read if isinstance(read, str) else read.at.date().isoformat()

    def hl7_date(
        self, value: Any = ABSENT, precision: hl7.Precision = "second", on_error: OnError = "error"
    ) -> str:
        """An HL7 timestamp, as it was written: `"2024-01-31" | hl7_date("day")` gives `20240131`."""
        read = _read(value, on_error)
        return read if isinstance(read, str) else hl7.to_hl7(read.at, precision)


def _read(value: Any, on_error: OnError) -> hl7.Stamp | str:
    """The moment, or the empty value that passes through."""
    if is_clear(value):
        return CLEAR
    if is_absent(value):
        return ABSENT
    if isinstance(value, datetime):
        return hl7.Stamp(value, "second", value.tzinfo is not None)
    text = value.isoformat() if isinstance(value, date) else as_text(value).strip()
    found = hl7.parse(text)
    if found is None:
        return _unreadable(on_error, hl7.why_not(text))
    if found.precision not in _DAY_AND_FINER:
        return _unreadable(on_error, "its day was not sent")
    return found


def _unreadable(on_error: OnError, why: str) -> str:
    if on_error == "absent":
        return ABSENT
    raise StepError(
        f"a value is not a date: {why}",
        code="date.unreadable",
        todo='use on_error="absent" to leave such values out',
    )


def make(zone: str) -> dict[str, Callable[..., Any]]:
    """The date filters for a time zone (`Europe/Berlin`); ConfigError when there is none of that name."""
    hl7.to_utc("20000101", zone)
    chosen = DateFilters(zone)
    return {
        "odoo_datetime": chosen.odoo_datetime,
        "odoo_date": chosen.odoo_date,
        "hl7_date": chosen.hl7_date,
    }
