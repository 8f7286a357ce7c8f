"""Limits and trouble: too many, too large, no room, the wrong protocol; told truthfully, and all well afterwards."""

from __future__ import annotations

import resource
import sqlite3
import ssl
import time

import pytest
from certificates import self_signed
from engine_process import EMPTY, Client, Closed, EngineProcess, adt, free_ports, until, verdict

VT, END = b"\x0b", b"\x1c\r"
MB = 1024 * 1024


def framed(raw: bytes) -> bytes:
    return VT + raw + END


@pytest.fixture
def engine(tmp_path):
    running = EngineProcess(tmp_path, EMPTY.format(port=0, listener="", options="")).start()
    yield running
    running.kill()
    assert running.faults == []


@pytest.mark.skipif(
    not resource.getrlimit(resource.RLIMIT_CORE)[1], reason="no process may leave a core here"
)
def test_a_crash_leaves_no_memory_on_the_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    running = EngineProcess(tmp_path, EMPTY.format(port=0, listener="", options=""))
    try:
        running.start()
        assert resource.prlimit(running.child.pid, resource.RLIMIT_CORE)[0] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        running.kill()


def proven_alive(client: Client, control_id: str) -> bytes:
    """A good message on this connection is accepted; gives its bytes."""
    raw = adt(control_id, "4711")
    assert verdict(client.send(raw)) == ("AA", control_id, "", "", "")
    return raw


def test_500_idle_connections_cost_little_and_block_nobody(engine):
    before = engine.memory()
    with engine.connect() as first:  # the limit is 500
        idle = [engine.connect() for _ in range(499)]
        try:
            proven_alive(first, "among-500")
            with pytest.raises(Closed):
                engine.send(adt("too-many"))
            assert "mllp.refused" in engine.text and "max_connections" in engine.text
            assert engine.memory() - before < 50 * MB
        finally:
            for client in idle:
                client.close()

    def accepted():
        try:
            return engine.send(adt("room-again"))
        except Closed:
            return None

    assert verdict(until(accepted))[0] == "AA"


def test_a_message_above_the_limit_is_refused_and_its_beginning_kept(engine):
    raw = adt("BIG", more="OBX|1|TX|||" + "x" * (20 * MB) + "\r")
    with engine.connect() as client:
        assert verdict(client.send(raw)) == ("AR", "BIG", "", "104", "mllp.too_large")
        after = proven_alive(client, "after-big")
    big, last = engine.stored()
    assert (big.state, big.code, big.raw) == ("ERROR", "mllp.too_large", raw[: 64 * 1024])
    assert last.raw == after


def test_20_megabytes_are_stored_and_the_memory_comes_back(tmp_path):
    text = EMPTY.format(port=0, listener=f", max_size: {32 * MB}", options="")
    engine = EngineProcess(tmp_path, text).start()
    raw = [adt(f"BIG{n}", more=f"OBX|1|TX|||{n}" + "x" * (20 * MB) + "\r") for n in range(3)]
    try:
        engine.send(adt("warm"))
        before = engine.memory()
        for one in raw:
            assert verdict(engine.send(one))[0] == "AA"
        until(lambda: not engine.open())
        until(lambda: engine.memory() - before < 24 * MB or None)
        assert [row.raw for row in engine.stored()[1:]] == raw
    finally:
        engine.kill()


def test_a_full_disk_is_told_and_nothing_is_accepted_until_it_is_not_full(tmp_path):
    """The store can write no more (a real limit of the process): AR 207 for everybody, then as before."""
    engine = EngineProcess(tmp_path, EMPTY.format(port=0, listener="", options="")).start()
    try:
        before = [adt(f"F{n}", str(n)) for n in range(20)]
        with engine.connect() as client:
            for raw in before:
                assert verdict(client.send(raw))[0] == "AA"
            pid = engine.child.pid
            limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            full = (engine.data / "isthmus.db-wal").stat().st_size
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (full, limits[1]))
            refused = [verdict(client.send(adt(f"G{n}", str(n)))) for n in range(5)]
            assert refused == [("AR", f"G{n}", "", "207", refused[0][4]) for n in range(5)]
            assert refused[0][4] in ("store.full", "store.io")
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)

            def accepted():
                return verdict(client.send(adt("G0", "0")))[0] == "AA"

            until(accepted, every=0.2)
            proven_alive(client, "after-full")
        until(lambda: not engine.open())
        assert [row.raw for row in engine.stored()] == [*before, adt("G0", "0"), adt("after-full", "4711")]
        assert engine.terminate() == 0
        assert engine.faults == []
    finally:
        engine.kill()


def test_another_writer_delays_the_answer_but_loses_nothing(engine):
    """Somebody holds the database: no answer until the message is durable."""
    with engine.connect(timeout=10) as client:
        other = sqlite3.connect(engine.data / "isthmus.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        client.write(framed(adt("Q1")))
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.answer()
        other.execute("ROLLBACK")
        other.close()
        client.socket.settimeout(10)
        assert verdict(client.answer())[:2] == ("AA", "Q1")
    assert [row.raw for row in engine.stored()] == [adt("Q1")]


def test_reused_control_ids_can_be_rejected(tmp_path):
    text = EMPTY.format(port=0, listener="", options="duplicates: {other_bytes: reject}")
    engine = EngineProcess(tmp_path, text).start()
    try:
        raw, other = adt("D1"), adt("D1", name="Roe^Rick")
        first = engine.send(raw)
        refusal = engine.send(other)
        assert verdict(refusal) == ("AR", "D1", "MSH^1^10^1", "205", "duplicate.other_bytes")
        engine.kill()
        engine.start()
        assert engine.send(raw) == first, "after a restart too"
        assert engine.send(other) == refusal
        whole = adt("W1")
        with engine.connect() as client:
            client.write(VT + whole[:80])
        until(lambda: len(engine.stored()) == 3)
        assert verdict(engine.send(whole))[0] == "AA", "half a message does not use its control id up"
        until(lambda: not engine.open())
        assert [(row.state, row.raw) for row in engine.stored()] == [
            ("TRANSFORMED", raw),
            ("ERROR", other),
            ("ERROR", whole[:80]),
            ("TRANSFORMED", whole),
        ]
    finally:
        engine.kill()


def test_a_filtered_message_is_accepted(tmp_path):
    text = """
channels:
  in:
    listener: {mllp: {port: 0}}
    filters:
      - message_type: {allow: [ADT^A01]}
"""
    engine = EngineProcess(tmp_path, text).start()
    try:
        assert verdict(engine.send(adt("F1")))[:2] == ("AA", "F1")
        until(lambda: not engine.open())
        assert [(row.state, row.ack) for row in engine.stored()] == [("FILTERED", "AA")]
    finally:
        engine.kill()


def test_clear_text_on_a_tls_port_is_refused_and_tls_goes_on(tmp_path):
    self_signed(tmp_path)
    port = free_ports()[0]
    settings = ", interface: 127.0.0.1, tls: {certificate: cert.pem, key: key.pem}"
    engine = EngineProcess(tmp_path, EMPTY.format(port=port, listener=settings, options="")).start()
    try:
        with pytest.raises(Closed):
            engine.send(adt("plain"))
        until(lambda: "mllp.tls_failed" in engine.text)
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with engine.connect() as client:
            client.socket = trust.wrap_socket(client.socket, server_hostname="localhost")
            assert verdict(client.send(adt("secret")))[:2] == ("AA", "secret")
        assert [row.raw for row in engine.stored()] == [adt("secret")]
        assert engine.terminate() == 0
    finally:
        engine.kill()


def test_a_client_that_never_reads_its_answers_cannot_stop_the_stop(tmp_path):
    engine = EngineProcess(tmp_path, EMPTY.format(port=0, listener="", options="")).start()
    try:
        client = Client(engine.ports["in"], timeout=0.5, window=4096)
        with pytest.raises(TimeoutError):  # nothing more is read from who does not read
            for n in range(0, 1_000_000, 500):
                client.write(b"".join(framed(b"%d is not HL7" % m) for m in range(n, n + 500)))
        assert verdict(engine.send(adt("other")))[0] == "AA", "others are served"
        started = time.monotonic()
        assert engine.terminate() == 0
        assert time.monotonic() - started < 12
        client.close()
    finally:
        engine.kill()
