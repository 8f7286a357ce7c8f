"""The wall clock is set back an hour, while everything is under way, and between two starts.

Order comes from message ids, waits from the monotonic clock: nobody waits an hour, nothing changes its place.
"""

from __future__ import annotations

import time

import pytest
from chaos import HERE, Load, Odoo, configured, verify
from engine_process import EngineProcess, adt, fields, free_ports

HOUR = 3600


class Shifted(EngineProcess):
    """An engine whose wall clock the test sets."""

    script = HERE / "clock_engine.py"

    def __init__(self, folder, config):
        folder.mkdir(parents=True, exist_ok=True)
        self.clock = folder / "clock"
        self.step(0)
        super().__init__(folder, config, environ={"CHAOS_CLOCK": str(self.clock)})

    def step(self, seconds: float) -> None:
        """The wall clock is off by so much, from now on."""
        temporary = self.clock.with_suffix(".new")
        temporary.write_text(str(seconds))
        temporary.replace(self.clock)


@pytest.fixture
def shifted(tmp_path):
    port, odoo_port = free_ports(2)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    engine = Shifted(tmp_path, configured(port, odoo_port))
    try:
        yield engine.start(), odoo
    finally:
        engine.kill()
        odoo.kill()


def ack_id(answer: bytes) -> str:
    return fields(answer, b"MSH")[0][9]


def test_clock_steps_back_under_way(shifted):
    """One patient alone, its delivery asleep until its next attempt: nobody else's success wakes it."""
    engine, odoo = shifted
    odoo.be(fault="503")
    load = Load(engine.ports["in"], patients=1, connections=1, pace=0.02).run(0.5)
    before = engine.send(adt("first", "other"))
    engine.step(-HOUR)
    time.sleep(0.1)
    after = engine.send(adt("second", "other"))
    assert ack_id(before) != ack_id(after)
    assert engine.send(adt("first", "other")) == before  # still the same message, and the same answer
    odoo.be()
    began = time.monotonic()
    load.run(0.4)
    extra = Load(engine.ports["in"], patients=0)
    extra.acked, extra.raw = (
        {"other": ["first", "second"]},
        {name: adt(name, "other") for name in ("first", "second")},
    )
    verify(engine, odoo, load, extra, patience=20)
    assert time.monotonic() - began < 20
    (newest, stamp), (_, earlier) = engine.rows(
        "SELECT id, received_at FROM message ORDER BY id DESC LIMIT 2"
    )
    assert engine.rows("SELECT max(id) FROM message")[0][0] == newest
    assert abs(stamp - earlier) < HOUR * 1e6  # both were stamped after the step: ids order, stamps do not


def test_clock_steps_back_between_two_starts(shifted):
    """A retry time that the store keeps lies an hour ahead after the restart."""
    engine, odoo = shifted
    odoo.be(fault="503")
    load = Load(engine.ports["in"], patients=1, connections=1, pace=0.02).run(0.5)
    ids = {ack_id(engine.send(adt(f"n{n}", "other"))) for n in range(20)}
    engine.kill()
    engine.step(-HOUR)
    engine.start()
    ids |= {ack_id(engine.send(adt(f"m{n}", "other"))) for n in range(20)}
    assert len(ids) == 40
    odoo.be()
    load.run(0.3)
    extra = Load(engine.ports["in"], patients=0)
    names = [f"{kind}{n}" for kind in "nm" for n in range(20)]
    extra.acked, extra.raw = {"other": names}, {name: adt(name, "other") for name in names}
    verify(engine, odoo, load, extra, patience=20)


def test_clock_steps_forward(shifted):
    """A day ahead, and back again."""
    engine, odoo = shifted
    odoo.be(mix={"503": 0.3, "drop": 0.2})
    load = Load(engine.ports["in"], patients=6, pace=0.01).start()
    for offset in (0, 24 * HOUR, 0):
        engine.step(offset)
        time.sleep(0.25)
    load.stop()
    odoo.be()
    verify(engine, odoo, load, patience=20)
