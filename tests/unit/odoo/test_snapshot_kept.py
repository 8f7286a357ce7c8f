"""What the engine finds at its start is kept in the data folder, and `lint` uses it for that database alone."""

from __future__ import annotations

import pytest

from destinations.odoo import contradictions
from engine.cli.lint import linted, snapshots
from engine.odoo import snapshot
from engine.odoo.snapshot import Snapshot
from engine.spec.channel import load
from engine.spec.component import BuildContext
from engine.spec.template import compile_template, template_of

FIELDS = {"name": {"type": "char"}, "ref": {"type": "char"}}
CONFIG = """
connections: {{clinic: {{odoo: {{url: "{url}", database: db, api_key: "${{KEY:-k}}"}}}}}}
channels:
  a:
    listener: {{mllp: {{port: 2575}}}}
    destinations:
      o:
        odoo:
          connection: clinic
          operations: [{{upsert: res.partner, key: a, values: {{name: x, reff: y}}}}]
"""


def found(version="19.0", of="https://x db", **models):
    return Snapshot(version, models or {"res.partner": FIELDS}, names=["res.partner"], taken="t", of=of)


def test_models_of_several_destinations_stay_together(tmp_path):
    path = snapshot.kept_in(tmp_path, "clinic")
    snapshot.keep(found(), path)
    snapshot.keep(found(**{"sale.order": {}}), path)
    assert set(snapshot.read(path).models) == {"res.partner", "sale.order"}
    snapshot.keep(found("20.0", **{"sale.order": {}}), path)  # another Odoo: nothing of before counts
    assert set(snapshot.read(path).models) == {"sale.order"}
    path.write_bytes(b"{")
    snapshot.keep(found(), path)
    assert snapshot.read(path).version == "19.0" and [one.name for one in path.parent.iterdir()] == [
        path.name
    ]


@pytest.mark.parametrize(("url", "told"), [("https://x", ["odoo.no_field"]), ("https://y", [])])
def test_lint_uses_it_for_its_database(tmp_path, url, told):
    file = tmp_path / "channels.yaml"
    file.write_text(CONFIG.format(url=url), "utf-8")
    snapshot.keep(found(), snapshot.kept_in(tmp_path / "data", "clinic"))
    assert [
        one.code for one in linted(load(file, {}), tmp_path / "data") if one.code.startswith("odoo")
    ] == told
    assert snapshots(load(file, {})) == {}  # `run` starts whatever Odoo had last time
    snapshot.write(found(of=""), snapshot.file_of("clinic", tmp_path))  # the one beside the file wins
    assert "clinic" in snapshots(load(file, {}), tmp_path / "nowhere")


def test_what_a_template_writes_and_odoo_has_not():
    operations = [{"upsert": "res.partner", "key": "a", "values": {"name": "x", "reff": "y", "ref": "z"}},
                  {"upsert": "res.unknown", "key": "a", "values": {"a": "x"}}]  # fmt: skip
    specs = template_of(compile_template(operations, BuildContext())).specs
    (told,) = contradictions(found(), specs)
    assert told.startswith("Odoo 19.0 has no field 'reff' on res.partner, which the template writes")


@pytest.mark.parametrize("value", ["man", "Male", "{{ msg['PID-8'] }}", None])
def test_constants_that_a_selection_has_not(value):
    fields = {"sex": {"type": "selection", "selection": [["m", "Male"], ["f", "Female"]]}}
    operations = [{"upsert": "x.patient", "key": "a", "values": {"sex": value}}]
    specs = template_of(compile_template(operations, BuildContext())).specs
    told = [one.partition(",")[0] for one in contradictions(found(**{"x.patient": fields}), specs)]
    assert told == (["Odoo 19.0 has no 'man' in the selection x.patient.sex"] if value == "man" else [])
