"""Trouble of one patient, one destination, one channel is theirs alone. The figures are bench/isolation.py's."""

from __future__ import annotations

from bench.isolation import run


def test_others_go_on(tmp_path):
    told = run(tmp_path, messages=200, pairs=1)
    assert told["ratio"] > 0.5, told
