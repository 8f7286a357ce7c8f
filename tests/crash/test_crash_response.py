"""The engine, killed by SIGKILL between an answer and its response steps: sent once, passed on once."""

from __future__ import annotations

import signal

import pytest
from engine_process import EngineProcess, adt, free_ports, until, verdict

CONFIG = """
channels:
  orders:
    listener: {{mllp: {{port: {port}}}}}
    destinations:
      lab:
        mllp: {{host: 127.0.0.1, port: {lab}}}
        response:
          - verdict: {{state: error, code: lab.closed, when: "original['PID-3.1'] == 'CLOSED'"}}
          - forward: {{channel: notes, body: "{{{{ msg['MSA-1'] }}}} {{{{ original['PID-3.1'] }}}}"}}
  lab:
    listener: {{mllp: {{port: {lab}}}}}
  notes:
    format: {{delimited: {{header: false}}}}
    listener: {{http: {{port: {http}}}}}
"""


@pytest.mark.parametrize(
    ("point", "found"),
    [("c3.after_commit", "PENDING"), ("respond.before_commit", "PENDING"), ("respond.after_commit", None)],
)
@pytest.mark.parametrize(("patient", "state"), [("OPEN", "SENT"), ("CLOSED", "ERROR")])
def test_killed_around_the_second_c3(tmp_path, point, found, patient, state):
    port, lab, http = free_ports(3)
    engine = EngineProcess(tmp_path, CONFIG.format(port=port, lab=lab, http=http))
    try:
        engine.start(3, ISTHMUS_CRASH_AT=point)
        assert verdict(engine.send(adt("1", patient), "orders"))[0] == "AA"
        assert engine.wait() == -signal.SIGKILL
        assert engine.rows("SELECT state FROM delivery") == [(found or state,)]
        engine.start(3)
        until(lambda: not engine.open())
        ended = "SELECT state, attempts, error_code FROM delivery"
        assert engine.rows(ended) == [(state, 1, "lab.closed" if state == "ERROR" else None)]
        got = "SELECT channel, count(*) FROM message GROUP BY channel ORDER BY channel"
        assert engine.rows(got) == [("lab", 1), ("notes", 1), ("orders", 1)]
        twice = "SELECT value FROM counter WHERE channel = 'lab' AND name = 'duplicate'"
        assert engine.rows(twice) == [], "the lab was asked once"
        assert engine.faults == []
    finally:
        engine.kill()
    (note,) = [row.raw for row in engine.stored() if row.raw[:2] == b"AA"]
    assert note == f"AA {patient}".encode()
