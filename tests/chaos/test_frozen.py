"""An engine that stops for a while (SIGSTOP: a paused virtual machine, a swapping host) and goes on.

While it holds the lock nobody takes its place. If somebody does all the same, it writes and acknowledges nothing
more when it wakes up, and ends.
"""

from __future__ import annotations

import signal
import sqlite3
import time

from chaos import Load, configured, drained, freeze, seconds, verify
from engine_process import Closed, EngineProcess, adt, free_ports, until, verdict

from engine.store.sqlite import DATABASE


def twin(engine: EngineProcess, odoo_port: int) -> EngineProcess:
    """A second engine on the same data, with a port of its own."""
    other = EngineProcess(engine.data.parent / "twin", configured(free_ports()[0], odoo_port))
    other.arguments[other.arguments.index("--data") + 1] = str(engine.data)
    other.data = engine.data
    return other


def stop_between_transactions(engine: EngineProcess) -> None:
    """SIGSTOP where it holds no lock of the database: one that does lets nobody else write, nor take over."""

    def stopped() -> bool:
        engine.child.send_signal(signal.SIGSTOP)
        db = sqlite3.connect(engine.data / DATABASE, timeout=0.2, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
        except sqlite3.OperationalError:
            engine.child.send_signal(signal.SIGCONT)
            return False
        finally:
            db.close()
        return True

    until(stopped)


def test_frozen_under_load(clinic):
    engine, odoo = clinic
    load = Load(engine.ports["in"], pace=0.005).start()
    time.sleep(0.5)
    other = twin(engine, odoo.port)
    engine.child.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    other.spawn()
    assert other.wait() == 2
    assert "store.locked" in other.text and "another engine works in this folder" in other.text
    time.sleep(max(0.0, seconds(2.0) - (time.monotonic() - began)))
    sent = load.count
    engine.child.send_signal(signal.SIGCONT)
    until(lambda: load.count > sent + 20)
    load.stop()
    verify(engine, odoo, load)
    assert set(load.answers) == {"AA"}
    assert engine.rows("SELECT count(*) FROM node") == [(1,)]


def test_frozen_again_and_again(clinic):
    engine, odoo = clinic
    odoo.be(mix={"drop": 0.1, "503": 0.1}, delay=0.05)
    load = Load(engine.ports["in"], pace=0.005).start()
    for _ in range(3):
        time.sleep(0.15)
        freeze(engine, 0.3)
    load.stop()
    odoo.be()
    verify(engine, odoo, load)


STEP = """
import pathlib, time

def slow(msg):
    pathlib.Path(__file__).with_name("at_work").touch()
    time.sleep(0.7)
"""
SLOW = """
channels:
  in:
    listener: {mllp: {port: 0}}
    transformers:
      - python: {function: "steps:slow"}
"""


def test_frozen_within_a_step(tmp_path):
    """The time that a step may take does not pass while the process stands still."""
    (tmp_path / "steps.py").write_text(STEP)
    engine = EngineProcess(tmp_path, SLOW)
    try:
        engine.start().send(adt("S1"))
        until((tmp_path / "at_work").exists)
        freeze(engine, 2.5)
        drained(engine)
        assert [(one.state, one.code) for one in engine.stored()] == [("TRANSFORMED", None)]
    finally:
        engine.kill()


def test_woken_after_another_took_over(clinic):
    """The lock file is taken away by hand: what Isthmus never does and an administrator might."""
    engine, odoo = clinic
    odoo.be(fault="silent")
    load = Load(engine.ports["in"], patients=5, pace=0.01).run(0.5)
    stop_between_transactions(engine)
    (engine.data / "isthmus.lock").unlink()
    odoo.be()
    other = twin(engine, odoo.port).start()
    try:
        newer = Load(other.ports["in"], patients=5, prefix="n", pace=0.01).run(0.3)
        drained(other)
        engine.child.send_signal(signal.SIGCONT)
        answers = set()
        for n in range(50):  # until it is gone
            try:
                with engine.connect() as client:
                    answers.add(verdict(client.send(adt(f"late{n}"))))
            except (Closed, OSError):
                break
            time.sleep(0.02)
        assert {(one[0], one[3], one[4]) for one in answers} <= {("AR", "207", "store.fenced")}
        assert engine.wait(20) == 2
        assert "store.fenced" in engine.text
        verify(other, odoo, load, newer)
    finally:
        other.kill()
