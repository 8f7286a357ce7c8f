"""A replay of hundreds, asked for on the command line, while the engine is killed: each message exactly once."""

from __future__ import annotations

import os
import random
import time

from engine_process import ROOT, EngineProcess, Process, adt, free_ports, until, verdict

from engine.store import jobs

COUNT = 400


def test_a_replay_goes_on_where_it_was(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("ODOO_")]:
        monkeypatch.delenv(name)
    rng = random.Random(1)
    adt_port, siu_port = free_ports(2)
    ports = {"ADT_PORT": str(adt_port), "SIU_PORT": str(siu_port), "FHIR_PORT": "0"}
    engine = EngineProcess(tmp_path, ROOT / "config" / "channels.yaml", environ=ports).start(2)
    command = ["messages", "replay", "--channel", "adt", "--data", str(engine.data), "--force", "--no-wait"]
    try:
        with engine.connect("adt") as client:
            for n in range(COUNT):
                assert verdict(client.send(adt(f"R{n}", f"P{n % 40}")))[0] == "AA"
        until(lambda: not engine.open())
        replay = Process([*command, "--rate", "400/s"], tmp_path / "replay.log")
        replay.spawn()
        assert replay.wait() == 0, replay.text
        for _ in range(3):
            time.sleep(rng.random() / 3)
            engine.kill()
            engine.start(2)

        def over():
            with engine.reading() as tx:
                (job,) = jobs.newest(tx)
            return job if job.over and not engine.open() else None

        job = until(over)
        assert (job.state, job.total, job.done, job.changed, job.failed) == ("done", COUNT, COUNT, COUNT, 0)
        children = engine.rows(
            "SELECT m.id, count(c.id) FROM message m LEFT JOIN message c ON c.parent_id = m.id"
            " WHERE m.parent_id IS NULL GROUP BY m.id"
        )
        assert children == [(n + 1, 1) for n in range(COUNT)]
        assert engine.rows("SELECT state, count(*) FROM delivery GROUP BY state") == [("SENT", 2 * COUNT)]
        assert engine.faults == []
    finally:
        engine.kill()
