"""Processes that every test here starts are ended with it."""

from __future__ import annotations

import pytest
from chaos import Odoo, configured
from engine_process import EngineProcess, free_ports


@pytest.fixture
def clinic(tmp_path):
    """An engine with one channel and its Odoo, both running."""
    port, odoo_port = free_ports(2)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    engine = EngineProcess(tmp_path, configured(port, odoo_port))
    try:
        yield engine.start(), odoo
    finally:
        engine.kill()
        odoo.kill()
