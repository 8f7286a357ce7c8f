"""Odoo in trouble: nothing is lost, nothing is done twice, nothing overtakes, and it goes on by itself.

One engine and one Odoo for all of them, so that each trouble also meets what the one before left behind.
"""

from __future__ import annotations

import pytest
from chaos import Load, Odoo, configured, seconds, verify
from engine_process import EngineProcess, free_ports

TROUBLES = {  # each list one after the other, without a pause to recover
    "down": [{"down": True}],
    "flapping": [{"flap": 0.5}],
    "slow": [{"fault": "none", "delay": 2.0}],
    "silent": [{"fault": "silent"}],
    "HTML": [{"fault": "500"}, {"fault": "404"}, {"fault": "429"}, {"fault": "503"}, {"fault": "page"}],
    "cut": [{"fault": "half"}, {"fault": "lost"}, {"fault": "drop"}],
    "nonsense": [{"fault": "garbage"}, {"fault": "empty"}, {"fault": "null"}, {"fault": "late503"}],
    "everything": [{"mix": {"drop": 0.2, "503": 0.2, "half": 0.1}, "delay": 0.1}],
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clinic")
    port, odoo_port = free_ports(2)
    odoo = Odoo(folder / "odoo", odoo_port).start()
    engine = EngineProcess(folder, configured(port, odoo_port, timeout=2.2, longest=0.25))
    try:
        yield engine.start(), odoo, []
    finally:
        engine.kill()
        odoo.kill()


@pytest.mark.parametrize("name", TROUBLES)
def test_trouble(shared, name):
    engine, odoo, loads = shared
    load = Load(engine.ports["in"], patients=8, pace=0.02, prefix=f"{len(loads) + 1}-", seed=len(loads))
    loads.append(load)
    for trouble in TROUBLES[name]:
        odoo.be(**trouble)
        load.run(seconds(1.2 if "flap" in trouble else 0.3))
    odoo.be()
    verify(engine, odoo, *loads)
    assert set(load.answers) == {"AA"} and not load.lost  # the trouble of Odoo is none of the sender
