"""The database file: held by another process, damaged, copied while it is written."""

from __future__ import annotations

import hashlib
import random
import shutil
import sqlite3
import time

import pytest
from chaos import SECONDS, Load, configured, drained, seconds, stored, verify
from engine_process import EngineProcess, adt, free_ports, until

from engine.store.sqlite import DATABASE


def hold(engine: EngineProcess) -> sqlite3.Connection:
    """Another process is in a writing transaction."""
    db = sqlite3.connect(engine.data / DATABASE, isolation_level=None, timeout=20)
    db.execute("BEGIN IMMEDIATE")
    return db


def test_locked_by_another_process(clinic):
    engine, odoo = clinic
    load = Load(engine.ports["in"], pace=0.002).start()
    time.sleep(0.4)
    other = hold(engine)
    time.sleep(0.3)
    sent = load.count
    time.sleep(seconds(2.0))
    assert load.count == sent  # nobody was told anything
    other.execute("ROLLBACK")
    other.close()
    until(lambda: load.count > sent + 20)
    load.stop()
    verify(engine, odoo, load)
    assert set(load.answers) == {"AA"} and not load.lost
    assert max(load.waits) >= seconds(2.0)


def test_locked_at_start(clinic):
    engine, odoo = clinic
    load = Load(engine.ports["in"]).run(0.3)
    engine.kill()
    other = hold(engine)
    engine.spawn()
    time.sleep(2.0)
    engine.check()
    other.execute("ROLLBACK")
    other.close()
    until(lambda: engine.text.count("channel.started") == 2)
    verify(engine, odoo, load.run(0.2))


def damage(name: str, whole: bytes) -> bytes:
    noise = random.Random(1).randbytes
    return {
        "header": noise(4096) + whole[4096:],
        "first page": whole[:100] + noise(3996) + whole[4096:],
        "not a database": b"Dear Sir or Madam,\n" * 999,
        "cut": whole[: len(whole) // 2 // 4096 * 4096 + 100],
        "everything but the first page": whole[:4096] + noise(len(whole) - 4096),
    }[name]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A data folder with some messages, nobody at work."""
    engine = EngineProcess(tmp_path_factory.mktemp("whole"), configured(*free_ports(2)))
    try:
        engine.start()
        for n in range(30):
            engine.send(adt(f"D{n}", str(n)))
        assert engine.terminate() == 0
    finally:
        engine.kill()
    return engine


@pytest.mark.parametrize(
    "what", ["header", "first page", "not a database", "cut", "everything but the first page"]
)
def test_damaged(stopped, tmp_path, what):
    """One clear line, exit 2, and the file is as it was: what can be saved of it can still be saved."""
    engine = EngineProcess(tmp_path, (stopped.data.parent / "channels.yaml").read_text())
    shutil.copytree(stopped.data, engine.data)
    file = engine.data / DATABASE
    broken = damage(what, file.read_bytes())
    file.write_bytes(broken)
    engine.spawn()
    assert engine.wait() == 2, engine.text
    assert "Traceback" not in engine.text
    assert "[store.corrupt]" in engine.text or "[store.foreign]" in engine.text
    assert "damaged" in engine.text
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(broken).digest()


@pytest.mark.parametrize("how", ["vacuum", "backup"])
def test_copied_under_load(clinic, tmp_path, how):
    engine, odoo = clinic
    odoo.be(fault="503")  # what is open is copied, too
    load = Load(engine.ports["in"], pace=0.001).start()
    time.sleep(0.4)
    copy = EngineProcess(tmp_path / "copy", configured(free_ports()[0], odoo.port))
    copy.data.mkdir()
    for _ in range(2 if SECONDS else 1):
        (copy.data / DATABASE).unlink(missing_ok=True)
        known = {patient: list(ids) for patient, ids in load.acked.items()}
        source = sqlite3.connect(engine.data / DATABASE, timeout=10)
        if how == "vacuum":
            source.execute("VACUUM INTO ?", (str(copy.data / DATABASE),))
        else:
            target = sqlite3.connect(copy.data / DATABASE)
            source.backup(target)
            target.close()
        source.close()
        check = sqlite3.connect(copy.data / DATABASE)
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        check.close()
    load.stop()
    odoo.be()
    verify(engine, odoo, load)
    engine.terminate()
    shutil.copy2(engine.data / "isthmus.key", copy.data)
    before = Load(0, patients=0)
    before.acked, before.raw = known, load.raw
    assert sum(map(len, known.values())) > 50
    stored(copy, before)
    try:
        copy.start()  # it is a whole engine's, with its open deliveries; they make nothing twice
        drained(copy)
        stored(copy, before)
        copy.terminate()
    finally:
        copy.kill()
    made = odoo.rows("SELECT name FROM res_partner WHERE ref = 'message' ORDER BY name")
    assert [name for (name,) in made] == sorted(name for ids in load.acked.values() for name in ids)
