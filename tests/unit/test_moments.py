"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from engine import clock


def micros(*parts: int, zone: timezone = UTC) -> int:
    """Of a date and time."""
    return int(datetime(*parts, tzinfo=zone).timestamp() * 1_000_000)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-22", micros(2026, 11, 22)),
        ("2026-11-22T03:00", micros(2026, 11, 22, 3)),
        ("2026-11-22T03:00+02:00", micros(2026, 11, 22, 1)),
        ("2026-11-22T03:00Z", micros(2026, 11, 22, 3)),
    ],
)
def test_a_date_is_in_utc_when_it_does_not_say(text: str, at: int) -> None:
    assert clock.moment(text) == at


def test_a_date_is_in_the_zone_that_is_given() -> None:
    zone = timezone(timedelta(hours=5))
    assert clock.moment("2026-11-22T03:00", zone) == micros(2026, 11, 21, 22)
    assert clock.moment("2026-11-22T03:00Z", zone) == micros(2026, 11, 22, 3)


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("90m", 5400), ("24h", 86_400), ("7d", 604_800)])
def test_so_long_ago(monkeypatch: pytest.MonkeyPatch, text: str, seconds: int) -> None:
    monkeypatch.setattr(clock, "now", lambda: 2_000_000_000_000_000)
    assert clock.moment(text) == 2_000_000_000_000_000 - seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "h", "yesterday", "-3h", "123456789d", "2026-13-01", "24 h", "²h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        clock.moment(text)
