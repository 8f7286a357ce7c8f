"""Steps that run away are stopped, told as what they are, and everybody else goes on."""

from __future__ import annotations

import pytest
from engine_process import EngineProcess, adt, until, verdict

STEPS = """
import os, signal

def loop(msg):
    while msg["PID-3.1"] == "LOOP":
        try:
            while True:
                pass
        except Exception:
            pass

def eat(msg):
    kept = []
    while msg["PID-3.1"] == "EAT":
        kept.append(bytearray(16 << 20))

def die(msg):
    if msg["PID-3.1"] == "DIE":
        os.kill(os.getpid(), signal.SIGKILL)
"""
CONFIG = """
channels:
  in:
    listener: {mllp: {port: 0}}
    transformers:
      - python: {function: "steps:loop"}
      - python: {function: "steps:eat"}
      - python: {function: "steps:die"}
      - jinja:
          text: "{% for a in range(99999) %}{% for b in range(99999) %}{{ a * b }}{% endfor %}{% endfor %}"
          var: x
"""


@pytest.fixture
def engine(tmp_path):
    (tmp_path / "steps.py").write_text(STEPS)
    config = CONFIG if "jinja_on" in str(tmp_path) else CONFIG.rsplit("      - jinja", 1)[0]
    process = EngineProcess(tmp_path, config)
    process.start()
    yield process
    process.kill()


def fate(engine, control_id: str):
    """State and error code of a message, once it is routed."""
    return until(
        lambda: [
            (one.state, one.code)
            for one in engine.stored()
            if one.control_id == control_id and one.state != "RECEIVED"
        ]
    )[0]


def test_a_loop_and_a_glutton_are_stopped_and_others_go_on(engine):
    assert verdict(engine.send(adt("1", "LOOP")))[0] == "AA"
    assert verdict(engine.send(adt("2", "EAT")))[0] == "AA"
    assert verdict(engine.send(adt("3", "1001")))[0] == "AA"
    assert fate(engine, "1") == ("ERROR", "step.timeout")
    assert fate(engine, "2")[0] == "ERROR"
    assert fate(engine, "3") == ("TRANSFORMED", None)
    assert engine.memory() < 400 << 20
    engine.check()


def test_a_template_cannot_loop_for_ever(tmp_path):
    folder = tmp_path / "jinja_on"
    folder.mkdir()
    (folder / "steps.py").write_text(STEPS)
    engine = EngineProcess(folder, CONFIG)
    engine.start()
    try:
        engine.send(adt("1", "1001"))
        assert fate(engine, "1") == ("ERROR", "expression.steps")
    finally:
        engine.kill()


def test_a_message_that_kills_the_engine_is_parked_as_poison(engine):
    with engine.connect() as client:
        client.write(
            b"\x0b"
            + adt("1", "1001")
            + b"\x1c\r\x0b"
            + adt("2", "DIE")
            + b"\x1c\r\x0b"
            + adt("3", "1002")
            + b"\x1c\r"
        )
        assert engine.wait() == -9
    deaths = 1
    while deaths < 5:
        engine.spawn()
        if (
            until(
                lambda: engine.child.poll() is not None or (engine.open() == 0 and len(engine.stored()) >= 2)
            )
            is True
        ):
            if engine.child.poll() is None:
                break
            deaths += 1
    assert deaths == 3  # the first time nobody knew, then twice with this message at work
    fates = {one.control_id: (one.state, one.code) for one in engine.stored()}
    assert fates["1"] == ("TRANSFORMED", None)
    assert fates["2"] == ("ERROR", "poison")
    assert fates.get("3", ("TRANSFORMED", None)) == (
        "TRANSFORMED",
        None,
    )  # when it was acknowledged, it went through
