"""A desk with one channel and one destination on a leash."""

from __future__ import annotations

import pytest
from desk import Desk, config, scripted


@pytest.fixture
def make(tmp_path):
    """`make(config)` gives a desk and its destination."""
    with scripted() as destinations:
        desks = []

        def make(text=None, **options):
            desk = Desk(tmp_path, text or config(**options))
            desks.append(desk)
            return desk, destinations["out"]

        yield make
        for desk in desks:
            desk.stop()
