r"""HL7 dates and times (DT, TM, DTM, TS; HL7 v2.5.1 chapter 2.A.21-22, 2.A.77) and what senders really write.

Guarantees: a text gives a `Stamp` that says how precise it was and whether it had an offset, or None;
`why_not` says what was wrong without repeating the value. Nothing is invented: missing parts are the earliest
of their range and `precision` tells. Refuses: days that do not exist, years before 1000, times alone.

| text                        | read as                                                         |
|-----------------------------|-----------------------------------------------------------------|
| `2026`, `202603`, `20260329`| year, month, day                                                |
| `20260329023015.1234+0100`  | second or fraction (kept to microseconds), with offset          |
| 17 digits                   | the last three are milliseconds                                 |
| `2026-03-29 02:30`, `T`     | ISO 8601, blanks and separators                                 |
| `Aug 15, 1942`, `15 Aug 1942` | day with an English month                                     |
| 9, 11, 13 digits            | None: one digit is missing, and nobody can know which           |
| `0000`, `00000000`          | None: HL7 writes an unknown date as nothing                     |
| `1640`                      | a year, as HL7 says; the field's owner judges whether that can be |
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.errors import ConfigError

Precision = Literal["year", "month", "day", "hour", "minute", "second", "fraction"]
_DIGITS: dict[int, Precision] = {
    4: "year",
    6: "month",
    8: "day",
    10: "hour",
    12: "minute",
    14: "second",
    17: "fraction",
}
_HL7 = re.compile(r"(\d{4,17})(?:\.(\d{1,9}))?([+-]\d{4}|[+-]\d{2}:\d{2}|Z)?", re.ASCII)
_ISO = re.compile(
    r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?"
    r"(Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_MONTHS = {m: n for n, m in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # noqa: SIM905
_WORDS = re.compile(
    r"(?:([A-Za-z]{3,9})\.? (\d{1,2})|(\d{1,2})[ -]([A-Za-z]{3,9})\.?),?[ -](\d{4})", re.ASCII
)


class Stamp(NamedTuple):
    """A moment as it was written. `at` is aware when `had_offset`, else naive: local to whoever wrote it."""

    at: datetime
    precision: Precision
    had_offset: bool


def parse(text: str) -> Stamp | None:
    """What an HL7 date or time means, or None; see `why_not`."""
    found = _read(text)
    return found if isinstance(found, Stamp) else None


def why_not(text: str) -> str:
    """Why `parse` gives None, without the value itself; empty when it does not."""
    found = _read(text)
    return found if isinstance(found, str) else ""


def _read(text: str) -> Stamp | str:
    text = " ".join(text.split())
    if not text or text == '""':
        return "it is empty"
    match = _HL7.fullmatch(text.replace(" ", "")) if "-" not in text[:8] else None
    if match:
        return _digits(*match.groups(default=""))
    if match := _ISO.fullmatch(text):
        year, month, day, hour, minute, second, fraction, offset = match.groups(default="")
        precision: Precision = "day"
        if hour:
            precision = "fraction" if fraction else "second" if second else "minute"
        numbers = [int(n or 0) for n in (year, month, day, hour, minute, second)]
        return _stamp(numbers, fraction, offset, precision)
    if match := _WORDS.fullmatch(text):
        month_number = _MONTHS.get((match[1] or match[4])[:3].lower())
        if month_number:
            return _stamp([int(match[5]), month_number, int(match[2] or match[3]), 0, 0, 0], "", "", "day")
    return "it is not a date that HL7 knows (YYYYMMDD[HHMM[SS]])"


def _digits(digits: str, fraction: str, offset: str) -> Stamp | str:
    precision = _DIGITS.get(len(digits))
    if precision is None:
        return f"it has {len(digits)} digits; HL7 dates have 4, 6, 8, 10, 12 or 14"
    if not digits.strip("0"):
        return "it is all zeros"
    if precision == "fraction":
        fraction = fraction or digits[14:]
    elif fraction:
        if precision != "second":
            return "it has a fraction but no seconds"
        precision = "fraction"
    parts = [digits[0:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12], digits[12:14]]
    numbers = [int(part) if part else low for part, low in zip(parts, (0, 1, 1, 0, 0, 0), strict=True)]
    return _stamp(numbers, fraction, offset, precision)


def _stamp(numbers: list[int], fraction: str, offset: str, precision: Precision) -> Stamp | str:
    year, month, day, hour, minute, second = numbers
    if year < 1000:
        return "the year is not possible"
    zone: tzinfo | None = None
    if offset == "Z":
        zone = UTC
    elif offset:
        hours, minutes = int(offset[1:3]), int(offset[-2:])
        if hours > 14 or minutes > 59:
            return "the offset is not possible"
        sign = -1 if offset[0] == "-" else 1
        zone = timezone(sign * timedelta(hours=hours, minutes=minutes))
    extra = timedelta()
    if (hour, minute, second) == (24, 0, 0):  # midnight at the end of the day
        hour, extra = 0, timedelta(days=1)
    elif second == 60:  # a leap second, which Python has not
        second, extra = 59, timedelta(seconds=1)
    try:
        at = datetime(year, month, day, hour, minute, second, int(fraction[:6].ljust(6, "0")), zone) + extra
    except (ValueError, OverflowError):
        return "there is no such day or time"
    return Stamp(at, precision, zone is not None)


def to_utc(text: str | Stamp, zone: str) -> datetime | None:
    """The moment in UTC (aware); a text without offset is local to `zone` (IANA name).

    A local time that the clock skipped in spring (gap) is read with the offset before the change, so 02:30
    becomes 03:30 summer time; one that it showed twice in autumn (fold) is the first, summer time: the
    choices of RFC 5545 and of PEP 495 with fold=0. None when the text is no date. Raises ConfigError for a
    zone that does not exist.
    """
    stamp = parse(text) if isinstance(text, str) else text
    if stamp is None:
        return None
    try:
        at = stamp.at if stamp.had_offset else stamp.at.replace(tzinfo=ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(
            f"unknown time zone {zone!r}", code="hl7.zone", todo="use an IANA name such as Europe/Berlin"
        ) from None
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return None  # the last or first hours of the calendar


def to_hl7(at: datetime, precision: Precision = "second") -> str:
    """`at` as an HL7 DTM, with its offset when it is aware and has a time of day."""
    digits = {"year": 4, "month": 6, "day": 8, "hour": 10, "minute": 12}.get(precision, 14)
    text = f"{at.year:04d}{at:%m%d%H%M%S}"[:digits]
    if precision == "fraction":
        text += f".{at.microsecond:06d}"[:5]
    return text + (f"{at:%z}"[:5] if at.tzinfo and digits > 8 else "")
