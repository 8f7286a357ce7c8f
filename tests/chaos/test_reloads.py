"""Twenty reloads of a real engine while messages come, every other one bad: by SIGHUP and by the command line."""

from __future__ import annotations

from reloads import run


def test_reloads_under_load(tmp_path):
    found = run(tmp_path, seconds=6, reloads=20, connections=4, patients=12)
    assert found["lost_answers"] == 0 and found["bad"] == 10
    assert found["messages"] > 200 and found["versions_with_messages"] > 5
