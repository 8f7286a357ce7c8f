"""Times in the console are the reader's: those that are shown, and those that are typed."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Sao_Paulo"])
def test_typed_times_are_those_of_the_reader(open_page, zone):
    page = open_page("/messages", timezone_id=zone)
    assert zone in page.locator("footer").inner_text()
    here = datetime.now(ZoneInfo(zone)).replace(tzinfo=None)
    rows = page.locator("input[name=id]")
    for hours, found in ((-1, True), (1, False)):
        page.get_by_label("Since").fill((here + timedelta(hours=hours)).isoformat(timespec="minutes"))
        page.get_by_role("button", name="Search").click()
        page.wait_for_load_state()
        assert (rows.count() > 0) is found
    shown = open_page("/messages", timezone_id=zone).locator("tbody time").first
    assert shown.get_attribute("title"), "shown in the zone, too"
