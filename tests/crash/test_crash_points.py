"""The engine, killed by SIGKILL at every named point and in every state of the crash table (docs/guarantees.md)."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from contextlib import suppress

import pytest
from endurance import SANDBOX, Odoo, Run
from engine_process import EMPTY, ROOT, Closed, EngineProcess, Process, adt, free_ports, until, verdict

from engine.model import Operation
from engine.security.keyring import open_keyring
from engine.store import messages
from engine.store.store import open_store

POINTS = [f"c{n}.{when}_commit" for n in (1, 2, 3) for when in ("before", "after")]
OPEN = int(os.environ.get("ISTHMUS_OPEN", "5000"))


@pytest.fixture(autouse=True)
def sandbox_only(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ODOO_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def odoo(tmp_path_factory):
    """An Odoo stand-in as a process; gives the environment that names it."""
    folder, port = tmp_path_factory.mktemp("odoo"), free_ports()[0]
    process = Process(["sandbox", "--listen", f"127.0.0.1:{port}", "--data", str(folder)], folder / "log")
    process.spawn()
    until(lambda: "sandbox on http" in process.text)
    yield {**SANDBOX, "ODOO_URL": f"http://127.0.0.1:{port}"}
    process.kill()


def clinic(folder, odoo):
    """An engine with the shipped configuration."""
    adt_port, siu_port = free_ports(2)
    ports = {"ADT_PORT": str(adt_port), "SIU_PORT": str(siu_port), "FHIR_PORT": "0"}
    return EngineProcess(folder, ROOT / "config" / "channels.yaml", environ={**odoo, **ports})


def empty(folder):
    return EngineProcess(folder, EMPTY.format(port=free_ports()[0], listener="", options=""))


def partners(odoo, ref):
    found = Odoo(odoo).read("res.partner", [("ref", "=like", f"{ref}%")], ["ref", "name"])
    return sorted((one["ref"], one["name"]) for one in found)


@pytest.mark.parametrize(("nth", "point"), list(enumerate(POINTS, 1)))
def test_killed_at_a_named_point_under_load(tmp_path, nth, point):
    run = Run(tmp_path, 100, 25, seed=nth, kills=0, restarts=0, crash_at=f"{point}:{nth}")
    assert run.run()["problems"] == []
    assert run.lost_answers or point.startswith("c3")


def test_before_c1_nothing_is_stored_and_nothing_was_answered(tmp_path):
    engine = empty(tmp_path).start(ISTHMUS_CRASH_AT="c1.before_commit")
    with pytest.raises(Closed):
        engine.send(adt("1"))
    assert engine.wait() == -signal.SIGKILL
    engine.start()
    assert engine.stored() == []
    assert verdict(engine.send(adt("1")))[0] == "AA"
    engine.kill()
    assert [row.raw for row in engine.stored()] == [adt("1")]


def test_after_c1_the_message_is_routed_and_the_sender_gets_its_answer_when_it_asks_again(tmp_path):
    engine = empty(tmp_path).start(ISTHMUS_CRASH_AT="c1.after_commit")
    with pytest.raises(Closed):
        engine.send(adt("1"))
    assert engine.wait() == -signal.SIGKILL
    engine.start()
    until(lambda: not engine.open())
    assert verdict(engine.send(adt("1")))[:2] == ("AA", "1")
    engine.kill()
    assert [(row.state, row.raw) for row in engine.stored()] == [("TRANSFORMED", adt("1"))]


def test_killed_in_the_steps_the_message_is_routed_again_and_in_the_end_parked(tmp_path, odoo):
    """The first death may have another cause; a message that was seen at work at two more is parked."""
    engine = clinic(tmp_path, odoo).start(2, ISTHMUS_CRASH_AT="c2.before_commit")
    try:
        assert verdict(engine.send(adt("1", "POI1"), "adt"))[0] == "AA"
        assert engine.wait() == -signal.SIGKILL
        for _ in range(2):
            engine.spawn(ISTHMUS_CRASH_AT="c2.before_commit")
            assert engine.wait() == -signal.SIGKILL
            assert [row.state for row in engine.stored()] == ["RECEIVED"]
        engine.start(2)
        assert verdict(engine.send(adt("2", "POI2"), "adt"))[0] == "AA"
        until(lambda: not engine.open())
        assert [(row.state, row.code) for row in engine.stored()] == [
            ("ERROR", "poison"),
            ("TRANSFORMED", None),
        ]
        assert partners(odoo, "POI") == [("POI2", "Jane Doe")]
    finally:
        engine.kill()


@pytest.mark.parametrize("deaths", [1, 2])
def test_killed_in_the_steps_and_alive_again_the_message_is_delivered(tmp_path, odoo, deaths):
    engine = clinic(tmp_path, odoo).start(2, ISTHMUS_CRASH_AT="c2.before_commit")
    mrn = f"ALIVE{deaths}"
    try:
        assert verdict(engine.send(adt("1", mrn), "adt"))[0] == "AA"
        assert engine.wait() == -signal.SIGKILL
        for _ in range(deaths - 1):
            engine.spawn(ISTHMUS_CRASH_AT="c2.after_commit")
            assert engine.wait() == -signal.SIGKILL
        engine.start(2)
        until(lambda: not engine.open())
        assert [row.state for row in engine.stored()] == ["TRANSFORMED"]
        assert partners(odoo, mrn) == [(mrn, "Jane Doe")]
    finally:
        engine.kill()


def test_after_odoo_and_before_c3_it_is_sent_again_and_is_the_same_record(tmp_path, odoo):
    engine = clinic(tmp_path, odoo).start(2, ISTHMUS_CRASH_AT="c3.before_commit")
    try:
        assert verdict(engine.send(adt("1", "TWICE"), "adt"))[0] == "AA"
        assert engine.wait() == -signal.SIGKILL
        assert partners(odoo, "TWICE") == [("TWICE", "Jane Doe")], "Odoo has it"
        assert engine.rows("SELECT state, attempts FROM delivery") == [("QUEUED", 0)], (
            "the store does not know"
        )
        engine.start(2)
        until(lambda: not engine.open())
        assert engine.rows("SELECT state, attempts FROM delivery") == [("SENT", 1)]
        assert partners(odoo, "TWICE") == [("TWICE", "Jane Doe")]
        assert engine.faults == []
    finally:
        engine.kill()


def test_an_engine_that_woke_late_writes_nothing(tmp_path):
    """It was frozen, and another one took the store over: it may neither store nor acknowledge."""
    engine = empty(tmp_path).start()
    try:
        assert verdict(engine.send(adt("1")))[0] == "AA"
        until(lambda: not engine.open())
        os.kill(engine.child.pid, signal.SIGSTOP)
        db = sqlite3.connect(engine.data / "isthmus.db")
        db.execute("INSERT INTO node (pid, started_at, seen_at) VALUES (1, 1, 1)")
        db.commit()
        db.close()
        os.kill(engine.child.pid, signal.SIGCONT)
        with suppress(Closed, OSError):  # it may have noticed before, and be gone
            assert verdict(engine.send(adt("2"))) == ("AR", "2", "", "207", "store.fenced")
        assert engine.wait() != 0, "it ends by itself"
        assert "store.fenced" in engine.text and engine.faults == []
        assert [row.raw for row in engine.stored()] == [adt("1")]
    finally:
        engine.kill()


def test_a_second_engine_on_the_same_folder_is_refused(tmp_path):
    engine = empty(tmp_path).start()
    try:
        other = EngineProcess(tmp_path, tmp_path / "channels.yaml")
        other.log = tmp_path / "other.log"
        other.spawn()
        assert other.wait() == 2
        assert "another engine works in this folder" in other.text and "[store.locked]" in other.text
        assert str(engine.child.pid) in other.text and "Traceback" not in other.text
        assert verdict(engine.send(adt("1")))[0] == "AA", "the first one did not notice"
    finally:
        engine.kill()


def test_a_port_that_is_taken_is_told_and_other_channels_run(tmp_path):
    taken, free = free_ports(2)
    first = EngineProcess(tmp_path / "a", EMPTY.format(port=taken, listener="", options="")).start()
    text = (
        EMPTY.format(port=free, listener="", options="")
        + f"  late: {{listener: {{mllp: {{port: {taken}}}}}}}\n"
    )
    second = EngineProcess(tmp_path / "b", text).start()
    try:
        assert f"port {taken} on 127.0.0.1 cannot be opened" in second.text
        assert verdict(second.send(adt("1"), "in"))[0] == "AA"
        assert second.faults == []
        assert second.terminate() == 0
    finally:
        first.kill()
        second.kill()


def test_sigterm_under_load_stops_in_order(tmp_path, odoo):
    engine = clinic(tmp_path, odoo).start(2)
    accepted, over = [], threading.Event()

    def pump(worker):
        number = 0
        while not over.is_set():
            try:
                with engine.connect("adt") as client:
                    while True:
                        number += 1
                        control_id = f"{worker}-{number}"
                        if verdict(client.send(adt(control_id, f"TERM{worker}")))[0] == "AA":
                            accepted.append(control_id)
            except (Closed, OSError):
                return

    workers = [threading.Thread(target=pump, args=(n,)) for n in range(4)]
    try:
        for worker in workers:
            worker.start()
        until(lambda: len(accepted) > 200)
        begun = time.monotonic()
        assert engine.terminate() == 0
        assert time.monotonic() - begun < 15
        for worker in workers:
            worker.join()
        assert set(accepted) <= {row.control_id for row in engine.stored()}
        assert "event='engine.stopped'" in engine.text.splitlines()[-1]
        assert engine.faults == []
        engine.start(2)
        until(lambda: not engine.open())
        assert partners(odoo, "TERM") == [(f"TERM{n}", "Jane Doe") for n in range(4)]
    finally:
        over.set()
        engine.kill()


def test_a_start_waits_for_no_destination_and_for_no_backlog(tmp_path, capsys):
    """Many open deliveries to an Odoo that swallows every call: the port is open at once."""
    import socket

    hole = socket.create_server(("127.0.0.1", 0), backlog=64)
    nowhere = {**SANDBOX, "ODOO_URL": f"http://127.0.0.1:{hole.getsockname()[1]}"}
    engine = clinic(tmp_path, nowhere)
    fill(engine.data, OPEN)
    try:
        begun = time.monotonic()
        engine.start(2)
        ready = time.monotonic() - begun
        with capsys.disabled():
            print(f" [{OPEN} open deliveries: ready after {ready:.2f} s]", end="")
        assert verdict(engine.send(adt("new"), "adt"))[0] == "AA"
        assert engine.open() >= OPEN
        assert engine.terminate() == 0
        assert engine.faults == []
    finally:
        engine.kill()
        hole.close()


def fill(data, count):
    """A store with this many deliveries that wait, of 1,000 patients."""
    import msgspec

    keys = open_keyring(data)
    store = open_store(data, keys)
    operation = Operation("upsert", "res.partner", "patient/1", {"name": "A"})
    payload = msgspec.json.encode([operation])

    def some(tx, first):
        for n in range(first, min(first + 5000, count)):
            new = messages.NewMessage("adt", adt(f"F{n}"), n + 1, f"F{n}", "ADT^A04", "EHR|RGH", ack=b"MSH")
            new.ordering_key = keys.blind(f"key:{n % 1000}")
            stored = messages.receive(tx, new)
            to = [messages.NewDelivery("odoo", payload)]
            messages.route(tx, messages.Routed(stored.id, "TRANSFORMED", n + 1, to))

    for first in range(0, count, 5000):
        store.writer.call(lambda tx, first=first: some(tx, first))
    store.close()
