"""The date filters: HL7 timestamps and ISO 8601 into what Odoo and HL7 want.

Guarantees: what Odoo gets is naive UTC text (Odoo 16-19: `YYYY-MM-DD HH:MM:SS`); a value with an offset keeps
its instant, one without is local time of the channel's `timezone`; ABSENT and CLEAR pass through.
Refuses: what is no date (`StepError` `date.unreadable`, or ABSENT with `on_error="absent"`); a time of day is
never invented: a date alone is midnight only where a filter's documentation says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, Literal
from zoneinfo import ZoneInfo

from engine.errors import ConfigError, StepError
from engine.model import ABSENT
from engine.spec.values import as_text, is_absent, is_clear, normal, odoo_text

OnError = Literal["error", "absent"]
# HL7 v2.5.1 chapter 2.A.22 (DTM): YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ]
_HL7 = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d+)?)?)?)?)?)?([+-]\d{4})?", re.ASCII
)
_ISO = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(\.\d+)?)?)?)?\s*(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def parse(value: Any, zone: tzinfo) -> tuple[datetime, int]:
    """The instant of an HL7 or ISO text, and how many of its six parts were given (1 year .. 6 second).

    Raises ValueError when it is no date.
    """
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=zone)), 6
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=zone), 3
    text = as_text(value).strip()
    found = _HL7.fullmatch(text) or _ISO.fullmatch(text)
    if found is None:
        raise ValueError("not a date")
    *parts, fraction, offset = found.groups()
    given = [int(part) for part in parts if part is not None]
    year, month, day, hour, minute, second = given + [0, 1, 1, 0, 0, 0][len(given) :]
    extra = 1 if second == 60 else 0  # a leap second
    micros = int(float(fraction) * 1e6) if fraction else 0
    at = datetime(year, month, day, hour, minute, second - extra, micros, tzinfo=_offset(offset) or zone)
    return at + timedelta(seconds=extra), len(given)


def _offset(text: str | None) -> tzinfo | None:
    if not text:
        return None
    if text == "Z":
        return UTC
    number = text.replace(":", "")
    minutes = int(number[1:3]) * 60 + int(number[3:5])
    return timezone(timedelta(minutes=-minutes if number[0] == "-" else minutes))


class DateFilters:
    """The date filters of one channel, which knows its time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone

    def odoo_datetime(self, value: Any = ABSENT, on_error: OnError = "error", timezone: str = "") -> str:
        """An Odoo datetime, UTC: `"20240131083000+0100" | odoo_datetime` gives `2024-01-31 07:30:00`.

        A date alone is midnight in the channel's time zone.
        """
        read = self._read(value, on_error, timezone)
        return read if isinstance(read, str) else odoo_text(read[0])

    def odoo_date(self, value: Any = ABSENT, on_error: OnError = "error") -> str:
        """An Odoo date, as it was written and never moved: `"19800229" | odoo_date` gives `1980-02-29`.

        A date without its day (`1980`, `198002`) is not a date that Odoo can keep: it is unreadable.
        """
        read = self._read(value, on_error, "", least=3)
        return read if isinstance(read, str) else read[0].date().isoformat()

    def hl7_date(self, value: Any = ABSENT, format: str = "%Y%m%d%H%M%S", on_error: OnError = "error") -> str:
        """An HL7 timestamp, as it was written: `"2024-01-31" | hl7_date("%Y%m%d")` gives `20240131`."""
        read = self._read(value, on_error, "")
        return read if isinstance(read, str) else read[0].strftime(format)

    def _read(
        self, value: Any, on_error: OnError, timezone: str, least: int = 1
    ) -> tuple[datetime, int] | str:
        if is_clear(value) or is_absent(value):
            return str(normal(value)) if not isinstance(value, str) else value
        try:
            read = parse(value, ZoneInfo(timezone) if timezone else self.zone)
            if read[1] >= least:
                return read
        except (ValueError, OverflowError, LookupError):
            pass
        if on_error == "absent":
            return ABSENT
        raise StepError(
            "a value is not a date",
            code="date.unreadable",
            todo='use on_error="absent" to leave such values out',
        )


def make(name: str) -> dict[str, Callable[..., Any]]:
    """The date filters for the time zone `name` (`Europe/Berlin`)."""
    try:
        zone = ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ConfigError(
            f"there is no time zone {name!r}", code="timezone.unknown", todo="use a name like Europe/Berlin"
        ) from None
    chosen = DateFilters(zone)
    return {
        "odoo_datetime": chosen.odoo_datetime,
        "odoo_date": chosen.odoo_date,
        "hl7_date": chosen.hl7_date,
    }
