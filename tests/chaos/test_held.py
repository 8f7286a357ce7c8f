"""Odoo refuses us, not the data: the destination is held, says so loudly, and goes on when it is mended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
from chaos import CHANNEL, CONNECTION, OPERATIONS, Load, Odoo, configured, drained, verify
from engine_process import ROOT, EngineProcess, adt, free_ports, until, verdict

from tests.crash.endurance import Odoo as RealOdoo

FIELD = """
          - upsert: res.partner
            key: "field/{{ msg['MSH-10'] }}"
            values: {name: "{{ msg['MSH-10'] }}", no_such_field: "1"}
"""
MODEL = FIELD.replace("res.partner", "no.such.model")


def isthmus(engine: EngineProcess, *verb: str) -> tuple[int, str]:
    """A verb of the command line on this engine's data."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_engine.py"), *verb, "--data", str(engine.data)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("mended", ["by itself", "by resume"])
def test_wrong_api_key(tmp_path, mended):
    port, odoo_port = free_ports(2)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    longest = 0.4 if mended == "by itself" else 300  # resume does not wait for the next probe
    engine = EngineProcess(tmp_path, configured(port, odoo_port, longest=longest))
    try:
        engine.start()
        load = Load(port, patients=6, pace=0.02).run(0.3)
        drained(engine)
        odoo.be(key="another")
        load.run(0.4)
        until(lambda: "destination.held" in engine.text)
        (line,) = [line for line in engine.text.splitlines() if "destination.held" in line]
        assert "level='error'" in line and "odoo.login" in line
        code, told = until(lambda: (found := isthmus(engine, "status"))[0] and found)
        assert code == 1 and "held" in told and "API key" in " ".join(told.split()), told
        assert engine.rows("SELECT count(*) FROM delivery WHERE state = 'ERROR'") == [(0,)]
        odoo.be()
        if mended == "by resume":
            time.sleep(0.5)
            assert engine.open()
            assert isthmus(engine, "channel", "resume", "in") == (0, "in: started\n")
        verify(engine, odoo, load, patience=10)
        assert set(load.answers) == {"AA"}
    finally:
        engine.kill()
        odoo.kill()


def test_unknown_model_and_field(tmp_path):
    """Two templates are wrong; the third channel, on the same connection, does not notice."""
    good, model, field, odoo_port = free_ports(4)
    odoo = Odoo(tmp_path / "odoo", odoo_port).start()
    engine = EngineProcess(
        tmp_path,
        f"connections:{CONNECTION.format(name='clinic', port=odoo_port, key='sandbox', timeout=2)}channels:"
        + "".join(
            CHANNEL.format(name=name, port=port, connection="clinic", operations=operations, longest=0.4)
            for name, port, operations in (
                ("good", good, OPERATIONS),
                ("model", model, MODEL),
                ("field", field, FIELD),
            )
        ),
    )
    try:
        engine.start(channels=3)
        for n in range(5):
            for channel in ("model", "field"):
                assert verdict(engine.send(adt(f"{channel}{n}", str(n)), channel))[0] == "AA"
        load = Load(good, patients=6, pace=0.01).run(0.5)
        until(lambda: not engine.rows("SELECT 1 FROM delivery WHERE channel = 'good' AND state <> 'SENT'"))
        assert odoo.effects() == {patient: ids for patient, ids in load.acked.items() if ids}
        assert engine.rows("SELECT channel, state, count(*) FROM delivery WHERE channel <> 'good' GROUP BY 1, 2") == [
            ("field", "QUEUED", 5), ("model", "QUEUED", 5)
        ]  # fmt: skip

        def held(channel):
            told = json.loads(isthmus(engine, "status", "--json")[1])["engine"]["status"]["channels"]
            (found,) = told[channel]["destinations"]
            return found if found["state"] == "held" else None

        assert "odoo.unknown_model" in until(lambda: held("model"))["why"]
        assert "has no field 'no_such_field' on res.partner" in until(lambda: held("field"))["why"]
        assert "odoo.unknown_model" in engine.text and not engine.faults
        kept = json.loads((engine.data / "odoo" / "clinic.json").read_text("utf-8"))
        assert kept["taken"] and kept["of"].endswith(" clinic") and "name" in kept["models"]["res.partner"]
        assert "odoo.mapping" in engine.text and "no_such_field" in engine.text
    finally:
        engine.kill()
        odoo.kill()


@pytest.mark.skipif("ODOO_URL" not in os.environ, reason="needs a real Odoo")
def test_a_field_that_a_real_odoo_lacks_until_somebody_adds_it(tmp_path):
    odoo = RealOdoo(dict(os.environ))
    field = f"x_held_{os.getpid()}"
    (model,) = odoo.call("ir.model", "search", [["model", "=", "res.partner"]])
    (port,) = free_ports(1)
    names = ("URL", "DB", "API_KEY", "LOGIN")
    url, database, key, login = (os.environ[f"ODOO_{name}"] for name in names)
    operations = FIELD.replace("no_such_field", field).replace("field/", f"{field}/")
    channel = CHANNEL.format(name="in", port=port, connection="clinic", operations=operations, longest=1)
    clinic = f'{{url: "{url}", database: {database}, api_key: "{key}", login: {login}}}'
    engine = EngineProcess(tmp_path, f"connections: {{clinic: {{odoo: {clinic}}}}}\nchannels:\n{channel}")
    made = []
    try:
        engine.start()
        for n in range(3):
            assert verdict(engine.send(adt(f"{field}{n}", str(n))))[0] == "AA"
        until(lambda: "destination.held" in engine.text and field in engine.text)
        assert engine.rows("SELECT DISTINCT state FROM delivery") == [("QUEUED",)]
        values = {"name": field, "model_id": model, "ttype": "char", "field_description": field}
        made.append(odoo.call("ir.model.fields", "create", values))
        until(lambda: engine.rows("SELECT DISTINCT state FROM delivery") == [("SENT",)])
        assert len(odoo.call("res.partner", "search", [[field, "=", "1"]])) == 3
    finally:
        engine.kill()
        for one in made:
            odoo.call("ir.model.fields", "unlink", [one])
