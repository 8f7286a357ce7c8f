"""An edited copy of a message: made once, with lineage, under its new patient's key; its text never lies in clear."""

from __future__ import annotations

import subprocess
import sys

import pytest
from engine_process import ROOT, EngineProcess, adt, until

from engine.states import Result
from engine.store import commands, search, servers
from engine.store.messages import EDITED, raw
from tests.small import small

CONFIG = small("{name: \"{{ msg['PID-5.1'] }}\"}")


def edit(desk, message_id, content, settle=True):
    numbers = []

    def ask(tx):
        sealed = commands.seal(tx, str(message_id), content)
        return commands.add(tx, "anna", "edit", {"id": message_id, "note": "typed wrong", "sealed": sealed})

    desk.engine.writer.run(ask).addCallback(numbers.append)
    desk.settle()
    if settle:
        desk.advance(0.25)
    return numbers[0]


def outcome(desk, number):
    return commands.get(desk.engine.store.reader, number)


def test_an_edited_copy_takes_the_place_of_what_failed(make):
    desk, out = make()
    out.auto = lambda delivery: Result.PERMANENT
    desk.send(("a1", "A"))
    desk.advance(1)
    old = desk.id_of("a1")
    content = raw(desk.engine.store.reader, old)
    out.auto = lambda delivery: Result.SENT
    number = edit(desk, old, content.replace(b"|A^^^", b"|B^^^"))
    done = outcome(desk, number)
    assert (done.state, done.result["parent"]) == ("done", old)
    assert desk.states() == {"a1": "DISCARDED", "a1*": "SENT"}
    tx = desk.engine.store.reader
    new = search.show(tx, done.result["id"])
    assert (new["parent_id"], new["flags"] & EDITED, new["raw"]) == (
        old,
        EDITED,
        content.replace(b"|A^^^", b"|B^^^"),
    )
    assert raw(tx, old) == content, "what was received stays"
    assert [row.id for row in search.find(tx, mrn="B")] == [new["id"]]
    (event,) = [one for one in new["events"] if one["kind"] == "edit"]
    assert (event["actor"], event["detail"]) == ("anna", f"of {old} typed wrong")
    assert desk.open() == {"adt": 0}


def test_its_text_is_sealed_on_the_way_and_forgotten_at_the_end(make):
    desk, _ = make()
    desk.send(("a1", "A"))
    old = desk.id_of("a1")
    number = edit(desk, old, raw(desk.engine.store.reader, old) + b"NTE|1||SECRETWORD\r", settle=False)
    ((before,),) = desk.rows("SELECT args FROM command WHERE id = ?", number)
    assert "sealed" in before and "SECRETWORD" not in before
    desk.advance(0.25)
    ((after,),) = desk.rows("SELECT args FROM command WHERE id = ?", number)
    assert "sealed" not in after and outcome(desk, number).state == "done"


@pytest.mark.parametrize("when", ["before it is taken", "after it was made"])
def test_a_killed_engine_makes_it_once(make, when):
    desk, out = make()
    desk.send(("a1", "A"))
    old = desk.id_of("a1")
    content = raw(desk.engine.store.reader, old) + b"NTE|1||more\r"
    number = edit(desk, old, content, settle=when == "after it was made")
    desk.crash()
    desk.advance(0.25)
    assert outcome(desk, number).state == "done"
    assert desk.rows("SELECT count(*) FROM message WHERE parent_id = ?", old) == [(1,)]
    assert out.effects == ["a1", "a1"]


@pytest.mark.parametrize(
    ("message_id", "content", "told"),
    [(99, b"MSH|", "no running channel"), (None, b"", "MSH"), (None, b"no message", "MSH")],
)
def test_what_cannot_be_edited_is_told(make, message_id, content, told):
    desk, _ = make()
    desk.send(("a1", "A"))
    number = edit(desk, message_id or desk.id_of("a1"), content)
    done = outcome(desk, number)
    assert done.state == "failed" and told in done.result["error"]
    assert desk.rows("SELECT count(*) FROM message") == [(1,)]


def test_a_sealed_text_opens_for_its_message_alone(make):
    desk, _ = make()
    tx = desk.engine.store.reader
    sealed = commands.seal(tx, "1", b"text")
    assert commands.unseal(tx, "1", sealed) == b"text"
    with pytest.raises(Exception, match="cannot be decrypted"):
        commands.unseal(tx, "2", sealed)


def test_on_the_command_line(tmp_path):
    engine = EngineProcess(tmp_path, CONFIG).start()

    def cli(*words, content=b"", status=0):
        place = ["--config", str(tmp_path / "channels.yaml")] if "edit" in words else []
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_engine.py"), *words, *place, "--data", str(engine.data)],
            input=content, capture_output=True, timeout=60, cwd=ROOT, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, done.stderr

    try:
        until(lambda: engine.rows("SELECT 1 FROM setting WHERE name = 'servers'"))
        with engine.reading() as tx:
            assert servers.known(tx) == {"adt": {"odoo": "sandbox:"}}
        engine.send(adt("M1", "P1", name="Keller").replace(b"|F", b"|W"))
        until(lambda: engine.rows("SELECT 1 FROM message WHERE state = 'ERROR'"))
        content, _ = cli("messages", "show", "1", "--raw")
        assert b"|W" in content
        fixed = content.replace(b"|W", b"|F")
        assert b"1 created" in cli("messages", "edit", "1", "-", "--dry-run", content=fixed)[0]
        assert not engine.rows("SELECT 1 FROM message WHERE parent_id = 1")
        cli("messages", "edit", "1", "-", content=content, status=2)  # nothing changed
        assert cli("messages", "edit", "1", "-", content=fixed)[0].startswith(b"Replayed as 2")
        until(lambda: engine.rows("SELECT 1 FROM delivery WHERE state = 'SENT' AND message_id = 2"))
        engine.send(adt("M2", "P1", name="Keller"))
        until(lambda: engine.rows("SELECT 1 FROM delivery WHERE state = 'SENT' AND message_id = 3"))
        _, told = cli("messages", "edit", "1", "-", content=fixed + b"NTE|1||x\r", status=1)
        assert b"older than what was delivered since" in told
    finally:
        engine.kill()
    assert b"Keller" not in (engine.data / "isthmus.db").read_bytes()


def test_an_edited_copy_that_names_nobody_waits_for_whom_the_old_one_waited(make):
    desk, out = make()
    out.auto = lambda delivery: Result.PERMANENT if delivery.payload == b"a2" else Result.RETRY
    desk.send(("a1", "A"))
    desk.send(("a2", "A"))
    out.auto = None
    content = raw(desk.engine.store.reader, desk.id_of("a2"))
    edit(desk, desk.id_of("a2"), content.replace(b"|A^^^", b"|^^^"))
    assert out.asked() == [], "a1 is to be tried again first"
