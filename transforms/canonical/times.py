"""HL7 TS/DTM text (HL7 v2.5.1 chapter 2A.89, 2A.22) as times and dates of the canonical model.

Guarantee: an aware datetime, or a date exactly as precise as it was sent. Refused by giving None: a text that
is no date of the calendar (`00000000`, `Aug 15, 1942`, nine digits); a wrong value is worse than none.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

_TIME = re.compile(
    r"(\d{4})-?(?:(\d\d)-?(?:(\d\d)(?:[T ]?(\d\d):?(?:(\d\d):?(?:(\d\d)(?:[.,]?(\d{1,6})\d*)?)?)?)?)?)?"
    r"\s*(?:(Z)|([-+])(\d\d):?(\d\d))?",
    re.ASCII,
)


@lru_cache(4096)
def instant(text: str, zone: tzinfo) -> datetime | None:
    """An aware time; what was not sent of the time of day is zero. A value without an offset is in `zone`."""
    match = _TIME.fullmatch(text)
    if match is None or match[3] is None:
        return None
    year, month, day, hour, minute, second, fraction, zulu, sign, hours, minutes = match.groups()
    offset: tzinfo = UTC if zulu else zone
    try:
        if sign:
            shift = timedelta(hours=int(hours), minutes=int(minutes))
            offset = timezone(-shift if sign == "-" else shift)
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),  # a leap second
            int((fraction or "0").ljust(6, "0")),
            offset,
        )
    except ValueError:
        return None


@lru_cache(4096)
def partial(text: str) -> str | None:
    """`YYYY`, `YYYY-MM` or `YYYY-MM-DD`, as precise as `text`; a time of day is dropped."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day = match[1], match[2], match[3]
    try:
        date(int(year), int(month or 1), int(day or 1))
    except ValueError:
        return None
    return "-".join(part for part in (year, month, day) if part)
