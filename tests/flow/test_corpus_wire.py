"""Messages that others wrote, over MLLP into the shipped channels: each is answered, kept as it came, and no crash."""

from __future__ import annotations

import os
import socket
from collections import Counter

from engine_process import ROOT, Closed, EngineProcess, fields, free_ports, until

from engine.hl7.batch import split
from tests.corpus import HL7V2, needs_corpus

FILES = sorted(HL7V2.rglob("*.hl7"))
pytestmark = needs_corpus


def answers(engine: EngineProcess, raw: bytes) -> list[bytes]:
    """Everything that comes back for one frame, until the engine closes."""
    found = []
    with engine.connect("siu" if b"|SIU^" in raw[:200] else "adt") as client:
        client.write(b"\x0b" + raw + b"\x1c\r")
        client.socket.shutdown(socket.SHUT_WR)
        try:
            while True:
                found.append(client.answer())
        except Closed:
            return found


def test_every_file_is_answered_and_stored(tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("ODOO_")]:
        monkeypatch.delenv(name)
    adt, siu = free_ports(2)
    ports = {"ADT_PORT": str(adt), "SIU_PORT": str(siu), "FHIR_PORT": "0"}
    engine = EngineProcess(tmp_path, ROOT / "config" / "channels.yaml", environ=ports).start(2)
    codes: Counter[str] = Counter()
    try:
        for file in FILES:
            found = answers(engine, file.read_bytes())
            assert found, f"{file.name} got no answer"
            for answer in found:
                verdicts = [line[1] for line in fields(answer.replace(answer[3:4], b"|"), b"MSA")]
                assert verdicts, f"{file.name}: {answer!r}"
                codes.update(verdicts)
                assert answer.count(b"\rERR") == sum(code not in ("AA", "CA") for code in verdicts), file.name
        until(lambda: not engine.rows("SELECT 1 FROM message WHERE state = 'RECEIVED'"))
        seen = []
        query = "SELECT state, error_code, count(*) FROM {} GROUP BY state, error_code ORDER BY 3 DESC"

        def at_rest():
            seen.append(engine.rows(query.format("delivery")))
            return len(seen) > 20 and seen[-1] == seen[-20]

        until(at_rest, every=0.1)
        stored = {row.raw for row in engine.stored()}
        for file in FILES:
            raw = file.read_bytes()
            assert raw in stored or {*split(raw).messages} <= stored, file.name
        told = {"messages": engine.rows(query.format("message")), "deliveries": seen[-1]}
        waiting = [count for state, _, count in told["deliveries"] if state == "QUEUED"]
        assert engine.terminate() == 0
        assert engine.faults == []
        with capsys.disabled():
            print(f"\n{len(FILES)} files; answers {dict(codes)}")
            for what, rows in told.items():
                print(
                    f"  {what}: " + ", ".join(f"{n} {state} {code or ''}".strip() for state, code, n in rows)
                )
        assert told["deliveries"][0][0] == "SENT" and sum(waiting) < 20
    finally:
        engine.kill()
