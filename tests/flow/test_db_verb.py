"""`isthmus db` beside a running engine and without one."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from engine_process import EngineProcess, adt, free_ports, until

from engine.cli import cli
from engine.store import maintenance, messages

CONFIG = """
channels:
  in:
    listener: {{mllp: {{port: {port}}}}}
    retention: {{content: 0s}}
    duplicates: {{window: 0}}
"""


def verb(data, *arguments, code=0):
    """Run a verb of `db`; gives what it said."""
    result = CliRunner().invoke(cli, ["db", *arguments, "--data", str(data)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        assert code == 2, result.exception
        return getattr(result.exception, "code", "")
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    port = free_ports()[0]
    process = EngineProcess(tmp_path_factory.mktemp("db"), CONFIG.format(port=port)).start()
    with process.connect() as client:
        for n in range(50):
            client.send(adt(f"C{n}"))
    until(lambda: process.open() == 0)
    yield process
    if process.child is not None:
        assert process.terminate() == 0
    assert not process.faults


def test_beside_a_running_engine(engine, tmp_path):
    data, config = engine.data, str(engine.data.parent / "channels.yaml")
    assert "in order" in verb(data, "check")
    copy = tmp_path / "copy.db"
    said = verb(data, "backup", str(copy), "--with-key")
    assert "keep them apart" in said
    assert verb(data, "backup", str(copy), code=2) == "store.exists"
    assert str(data / "isthmus.key") in verb(data, "backup", str(tmp_path / "second.db"))
    assert verb(data, "vacuum", code=2) == verb(data, "migrate", code=2) == "store.locked"

    assert json.loads(verb(data, "prune", "--dry-run", "--json", "-c", config)) == {"in.content": 50}
    assert engine.rows("SELECT count(*) FROM body") == [(50,)], "it only counted"
    assert "The engine prunes" in verb(data, "prune", "-c", config)
    until(lambda: engine.rows("SELECT count(*) FROM body") == [(0,)])
    engine.send(adt("D1"))
    until(lambda: "in.content 50" in CliRunner().invoke(cli, ["status", "--data", str(data)]).output)
    assert "store: " in CliRunner().invoke(cli, ["status", "--data", str(data)]).output

    assert "There is no old key" in verb(data, "rotate-key", "--drop-old")
    assert "Key 2 is the key now" in verb(data, "rotate-key")
    engine.send(adt("D2"))
    with engine.reading() as tx:
        until(lambda: maintenance.reencrypting(tx) is None)
        assert maintenance.keys_in_use(tx) == {2}
    assert "Dropped: 1" in verb(data, "rotate-key", "--drop-old")
    engine.send(adt("D3"))
    assert "in order" in verb(data, "check")
    engine.kill()

    # The disk died: what was backed up comes back, and the engine goes on with it.
    shutil.rmtree(data)
    data.mkdir(mode=0o700)
    shutil.copyfile(copy, data / "isthmus.db")
    shutil.copyfile(tmp_path / "copy.db.key", data / "isthmus.key")
    (data / "isthmus.key").chmod(0o600)
    assert "in order" in verb(data, "check")
    engine.start()
    with engine.reading() as tx:
        assert messages.raw(tx, 7) == adt("C6")
    assert b"MSA|AA|E1" in engine.send(adt("E1"))


def test_without_an_engine(tmp_path):
    port = free_ports()[0]
    process = EngineProcess(tmp_path, CONFIG.format(port=port)).start()
    with process.connect() as client:
        for n in range(300):
            client.send(adt(f"C{n}"))
    assert process.terminate() == 0
    data, config = process.data, str(tmp_path / "channels.yaml")
    assert "Key 2 is the key now" in verb(data, "rotate-key")
    with process.reading() as tx:
        assert maintenance.keys_in_use(tx) == {2}
    assert "Dropped: 1" in verb(data, "rotate-key", "--drop-old")
    assert "in.content: 300" in verb(data, "prune", "-c", config)
    assert "Nothing is due" in verb(data, "prune", "-c", config)
    for act in ("replay", "resend"):
        refused = CliRunner().invoke(cli, ["messages", act, "7", "8", "--data", str(data)])
        assert refused.exit_code == 1
        assert (
            f"The content of 7, 8 is not kept any more (`storage` or `retention` of the channel): nothing to {act}."
            in refused.output
        )
    before, after = (int(part.split()[0]) for part in verb(data, "vacuum").split(","))
    assert after < before
    assert "Schema" in verb(data, "migrate")
    assert process.rows("SELECT detail FROM event WHERE kind = 'retention'") == [("in.content=300",)]
    (damaged,) = process.rows("SELECT id FROM message ORDER BY id LIMIT 1")[0]
    process.start()
    process.send(adt("N1"))
    assert process.terminate() == 0
    assert damaged == 1


def test_where_there_is_no_store(tmp_path):
    for arguments in (
        ["check"],
        ["backup", str(tmp_path / "x.db")],
        ["vacuum"],
        ["migrate"],
        ["rotate-key"],
        ["prune"],
    ):
        assert verb(tmp_path / "none", *arguments, code=2) == "store.missing"
    assert list(tmp_path.iterdir()) == []
