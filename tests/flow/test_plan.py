"""`plan` says what would happen to records, and changes nothing: neither in the sandbox nor in a real Odoo.

The real one is that of ODOO_URL, ODOO_DB, ODOO_LOGIN and ODOO_API_KEY, when they are set.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from time import monotonic

import pytest
from twisted.internet.defer import Deferred

from engine.odoo.client import OdooClient
from engine.odoo.connection import SANDBOX_FILE
from tests.component.shipped import CHANNELS, ROOT
from tests.unit.odoo.conftest import Blocking

SAMPLES = sorted((CHANNELS.parent / "samples").glob("*.hl7"))
MODELS = ("res.partner", "calendar.event", "ir.model.data")
REAL = os.environ.get("ODOO_URL", "")
DATABASE = os.environ.get("ODOO_DB", "")


def isthmus(*args, **environ):
    """Run the command line in a process of its own, without an Odoo unless it is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ODOO_")}
    done = subprocess.run(
        [sys.executable, ROOT / "run_engine.py", *map(str, args)],
        capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=clean | environ,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


def everything(data):
    """All that the sandbox holds: every record with its write date."""
    with closing(sqlite3.connect(data / SANDBOX_FILE)) as db:
        return list(db.iterdump())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A data folder with a sandbox that has got some of the samples."""
    data = tmp_path_factory.mktemp("plan") / "data"
    config = data.parent / "channels.yaml"
    config.write_text(CHANNELS.read_text().replace("file: tables/", f"file: {CHANNELS.parent}/tables/"))
    samples = data.parent / "samples"
    samples.mkdir()
    for sample in SAMPLES[:3]:
        (samples / sample.name).write_bytes(sample.read_bytes())
    done = isthmus("demo", "--once", "-c", config, "-d", data, ADT_PORT="0", SIU_PORT="0", FHIR_PORT="0")
    assert done.returncode == 0, done.stdout + done.stderr
    return data


def test_the_sandbox_is_as_before(filled):
    before = everything(filled)
    done = isthmus("plan", "adt", *SAMPLES, "-d", filled)
    assert done.returncode == 0, done.stderr
    assert everything(filled) == before
    text = done.stdout
    assert "= res.partner,7  patient/RGH/100234  untouched" in text or "  untouched" in text
    assert "~ res.partner" in text and "stop: 2026-03-02 16:10:00 → 2026-03-05" in text
    assert "+ res.partner  patient/RGH/100599  created" in text
    assert "patient/RGH/100599 → " in text and "  merged" in text, (
        "of a record that the plan itself would make"
    )
    assert text.rstrip().endswith("Nothing was done.")


def test_an_empty_sandbox_is_not_made(tmp_path):
    done = isthmus("plan", "adt", SAMPLES[0], "-d", tmp_path / "nothing", "--json")
    (effect,) = json.loads(done.stdout)
    assert {change["field"]: change["new"] for change in effect["changes"]}["ref"] == "100234"
    assert all(change["old"] is None for change in effect["changes"])
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(not REAL, reason="ODOO_URL names no Odoo")
def test_a_real_odoo_is_as_before(tmp_path):
    client = OdooClient(
        Blocking(REAL), DATABASE, os.environ["ODOO_API_KEY"], login=os.environ.get("ODOO_LOGIN", ""),
        protocol="auto", context={}, connections=1, seconds=monotonic,
    )  # fmt: skip

    def standing():
        found = {}
        for model in MODELS:
            rows = now(client.search_read(model, [], ["id", "write_date"]))
            found[model] = {row["id"]: row["write_date"] for row in rows}
        return found

    before = standing()
    done = isthmus(
        "plan", "adt", *SAMPLES, "-d", tmp_path, ODOO_URL=REAL, ODOO_DB=DATABASE,
        ODOO_API_KEY=os.environ["ODOO_API_KEY"], ODOO_LOGIN=os.environ.get("ODOO_LOGIN", ""),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "res.partner" in done.stdout and "Nothing was done." in done.stdout
    assert standing() == before


def now(work):
    """The result of a coroutine that needs no reactor."""
    result = []
    Deferred.fromCoroutine(work).addBoth(result.append)
    if hasattr(result[0], "raiseException"):
        result[0].raiseException()
    return result[0]
