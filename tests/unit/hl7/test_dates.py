"""Dates and times as HL7 has them, and as senders write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.hl7 import dates
from engine.hl7.dates import Stamp


@pytest.mark.parametrize(
    ("text", "iso", "precision", "had_offset"),
    [
        ("2026", "2026-01-01T00:00:00", "year", False),
        ("202603", "2026-03-01T00:00:00", "month", False),
        ("20260329", "2026-03-29T00:00:00", "day", False),
        ("2026032902", "2026-03-29T02:00:00", "hour", False),
        ("202603290230", "2026-03-29T02:30:00", "minute", False),
        ("20260329023015", "2026-03-29T02:30:15", "second", False),
        ("20260329023015.1", "2026-03-29T02:30:15.100000", "fraction", False),
        ("20260329023015.123456789", "2026-03-29T02:30:15.123456", "fraction", False),
        ("20260329023015123", "2026-03-29T02:30:15.123000", "fraction", False),
        ("202603290230+0215", "2026-03-29T02:30:00+02:15", "minute", True),
        ("20260329023015.1234-0500", "2026-03-29T02:30:15.123400-05:00", "fraction", True),
        ("20260329023015Z", "2026-03-29T02:30:15+00:00", "second", True),
        ("20260329+0100", "2026-03-29T00:00:00+01:00", "day", True),
        ("2026032902 3015", "2026-03-29T02:30:15", "second", False),
        (" 20260329 ", "2026-03-29T00:00:00", "day", False),
        ("20260329 023015", "2026-03-29T02:30:15", "second", False),
        ("Aug 15, 1942", "1942-08-15T00:00:00", "day", False),
        ("August 15, 1942", "1942-08-15T00:00:00", "day", False),
        ("15 Aug 1942", "1942-08-15T00:00:00", "day", False),
        ("15-AUG-1942", "1942-08-15T00:00:00", "day", False),
        ("2026-03-29", "2026-03-29T00:00:00", "day", False),
        ("2026-03-29T02:30:15.5Z", "2026-03-29T02:30:15.500000+00:00", "fraction", True),
        ("2026-03-29 02:30", "2026-03-29T02:30:00", "minute", False),
        ("2026/3/9", "2026-03-09T00:00:00", "day", False),
        ("1640", "1640-01-01T00:00:00", "year", False),
        ("20260329240000", "2026-03-30T00:00:00", "second", False),
        ("20161231235960", "2017-01-01T00:00:00", "second", False),
        ("20240229", "2024-02-29T00:00:00", "day", False),
    ],
)
def test_reading(text: str, iso: str, precision: str, had_offset: bool) -> None:
    found = dates.parse(text)
    assert found is not None
    assert (found.at.isoformat(), found.precision, found.had_offset) == (iso, precision, had_offset)
    assert dates.why_not(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ('""', "empty"),
        ("0000", "all zeros"),
        ("00000000", "all zeros"),
        ("196203520", "9 digits"),
        ("20260229", "no such day"),
        ("20261301", "no such day"),
        ("20260329256199", "no such day"),
        ("202603290230.5", "no seconds"),
        ("20260329+9900", "offset"),
        ("99990101+0000x", "not a date"),
        ("01850101", "year"),
        ("tomorrow", "not a date"),
        ("Foo 15, 1942", "not a date"),
        ("Feb 30, 1942", "no such day"),
        ("99991231240000", "no such day"),
        ("²⁰²⁶", "not a date"),
    ],
)
def test_refusing(text: str, why: str) -> None:
    assert dates.parse(text) is None
    assert why in dates.why_not(text)
    assert not text or text == '""' or text not in dates.why_not(text)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("20260115120000", "2026-01-15T11:00:00+00:00"),
        ("20260715120000", "2026-07-15T10:00:00+00:00"),
        ("20260715120000+0000", "2026-07-15T12:00:00+00:00"),
        ("20260715120000-0500", "2026-07-15T17:00:00+00:00"),
        ("20260329013000", "2026-03-29T00:30:00+00:00"),
        ("20260329023000", "2026-03-29T01:30:00+00:00"),  # skipped by the clock: 03:30 summer time
        ("20260329033000", "2026-03-29T01:30:00+00:00"),
        ("20261025023000", "2026-10-25T00:30:00+00:00"),  # shown twice: the first, summer time
        ("20261025033000", "2026-10-25T02:30:00+00:00"),
    ],
)
def test_to_utc_across_the_changes_of_the_clock(text: str, utc: str) -> None:
    at = dates.to_utc(text, "Europe/Berlin")
    assert at is not None and at.isoformat() == utc


def test_to_utc_of_what_is_no_date_and_of_what_is_no_zone() -> None:
    assert dates.to_utc("soon", "Europe/Berlin") is None
    assert dates.to_utc("10000101", "Asia/Tokyo") is not None
    stamp = Stamp(datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5))), "hour", True)
    assert dates.to_utc(stamp, "UTC") is None
    for zone in ("Europe/Nowhere", "../etc/passwd", ""):
        with pytest.raises(ConfigError) as caught:
            dates.to_utc("2026", zone)
        assert caught.value.code == "hl7.zone"


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_writing_and_reading_back(at: datetime) -> None:
    found = dates.parse(dates.to_hl7(at))
    assert found == (at.replace(microsecond=0), "second", True)
    day = dates.parse(dates.to_hl7(at, "day"))
    assert day is not None and (day.at.date(), day.had_offset) == (at.date(), False)
    naive = dates.parse(dates.to_hl7(at.replace(tzinfo=None), "fraction"))
    assert naive is not None and naive.precision == "fraction" and not naive.had_offset


@given(st.text(st.sampled_from("0123456789.+-:/ TZAug,é"), max_size=24) | st.text(max_size=12))
def test_any_text_is_a_date_or_has_a_reason(text: str) -> None:
    assert (dates.parse(text) is None) == bool(dates.why_not(text))
    dates.to_utc(text, "America/New_York")
