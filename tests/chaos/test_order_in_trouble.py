"""A small run of order.py; the large one is `python tests/chaos/order.py`."""

from __future__ import annotations

from chaos import SECONDS
from order import run


def test_order_whatever_happens(tmp_path):
    messages = int(max(200, SECONDS * 300))
    told = run(tmp_path, messages=messages, patients=20, seed=2, every=0.7)
    assert told["messages"] == told["effects"] >= messages
    assert sum(told["happened"].values()) >= 2
