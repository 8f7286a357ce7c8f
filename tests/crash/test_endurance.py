"""The endurance run, small: see endurance.py, which runs as a script with thousands of messages."""

import os

import pytest
from endurance import Run, Traffic


@pytest.fixture(autouse=True)
def sandbox_only(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ODOO_")]:
        monkeypatch.delenv(name)


def test_nothing_is_lost_and_nothing_is_there_twice(tmp_path):
    told = Run(tmp_path, messages=600, patients=60, seed=1, kills=3).run()
    assert told["problems"] == []
    assert told["acknowledged"] == told["sent"] == 600
    assert told["distinct"] < 600, "there were duplicates"


def test_the_judge_finds_what_is_missing_wrong_or_too_much(tmp_path, monkeypatch):
    """The same run with other expectations: every one of them must be found."""
    run = Run(tmp_path, messages=40, patients=10, seed=3, kills=0, restarts=0)
    judge = run._judge

    def judge_wrongly():
        traffic = run.traffic
        judge()
        assert run.problems == []
        traffic.partners["S9999"] = "nowhere"
        key = next(iter(traffic.events))
        traffic.events[key] = ("2001-01-01 00:00:00", True)
        traffic.events["appointment/none"] = ("2001-01-01 00:00:00", True)
        traffic.distinct["none"] = b"never sent"
        judge()

    monkeypatch.setattr(run, "_judge", judge_wrongly)
    problems = " ".join(run.run()["problems"])
    for part in ("the store does not hold", "deliveries:", "partners:", "events:", "2001-01-01", "is []"):
        assert part in problems


def test_the_traffic_is_a_function_of_its_seed():
    one, same, other = (Traffic(300, 30, seed, "S") for seed in (5, 5, 6))
    assert one.queues == same.queues and one.queues != other.queues
    assert len(one.distinct) < 300
