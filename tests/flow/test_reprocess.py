"""Dead letters on a running engine: what failed is mended and done again, and no record is ever made twice."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys

import pytest
from engine_process import ROOT, EngineProcess, adt, until

from engine.odoo.sandbox import Sandbox
from tests.small import small

VALUES = """
                name: "{{ msg['PID-5.1'] }}"
                country_id: {find: {code: "COUNTRY"}, otherwise: error}"""
FILTERS = """[{message_type: {allow: [ADT]}}, {condition: "msg['PV1-2'] != 'T'"}]"""
CONFIG = f"{small(VALUES, filters=FILTERS)}  lab:\n    listener: {{mllp: {{port: 0}}}}\n"
MANY = 1000


class Clinic(EngineProcess):
    """An engine with a sandbox, and the command line beside it."""

    def cli(self, *words: str, status: int | None = 0, more: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_engine.py"), *words, "--data", str(self.data)],
            capture_output=True, text=True, timeout=60, cwd=ROOT, check=False,
            env={name: value for name, value in os.environ.items() if not name.startswith("ISTHMUS_")},
        )  # fmt: skip
        assert status is None or done.returncode == status, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + (done.stderr if more else "")

    def json(self, *words: str, status: int | None = 0):
        return json.loads(self.cli(*words, "--json", status=status))

    def settle(self, messages: int) -> None:
        until(lambda: self.rows("SELECT count(*) FROM message")[0][0] >= messages and not self.open())

    def odoo(self, sql: str):
        with sqlite3.connect(f"file:{self.data / 'odoo-sandbox.db'}?mode=ro", uri=True) as db:
            return db.execute(sql).fetchall()

    def partners(self) -> int:
        return self.odoo("SELECT count(*) FROM ir_model_data WHERE module = 'isthmus'")[0][0]

    def everything(self):
        """All of Odoo, with its write dates."""
        with sqlite3.connect(f"file:{self.data / 'odoo-sandbox.db'}?mode=ro", uri=True) as db:
            return list(db.iterdump())

    def configure(self, country: str) -> None:
        (self.data.parent / "channels.yaml").write_text(CONFIG.replace("COUNTRY", country))

    def job(self, number: int):
        return self.json("job", "show", str(number))


def clinic(folder, country="US") -> Clinic:
    return Clinic(folder, CONFIG.replace("COUNTRY", country)).start(2)


def fill(engine: Clinic, count: int) -> None:
    """As many patients, one message each."""
    with engine.connect("adt") as client:
        for start in range(0, count, 100):
            batch = range(start, min(start + 100, count))
            client.write(b"".join(b"\x0b" + adt(f"M{n}", f"P{n}", name=f"N{n}") + b"\x1c\r" for n in batch))
            for _ in batch:
                client.answer()
    engine.settle(count)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A thousand patients, delivered."""
    engine = clinic(tmp_path_factory.mktemp("full"))
    fill(engine, MANY)
    assert engine.partners() == MANY
    yield engine
    engine.kill()
    assert not engine.faults


def replays(engine) -> dict[int, int]:
    return dict(engine.rows("SELECT parent_id, count(*) FROM message WHERE parent_id IS NOT NULL GROUP BY 1"))


def test_one_and_a_thousand_again_make_no_second_record(full):
    before = full.odoo("SELECT id, name FROM res_partner ORDER BY id")
    for act in ("resend", "replay"):
        assert full.json("messages", act, "1")["changed"] == 1
        found = full.json("messages", act, "--channel", "adt", "--limit", str(MANY), "--force")
        assert (found["state"], found["total"], found["changed"], found["failed"]) == ("done", MANY, MANY, 0)
    full.settle(2 * MANY + 1)
    assert full.partners() == MANY
    assert full.odoo("SELECT id, name FROM res_partner ORDER BY id") == before
    assert replays(full) == {1: 2} | dict.fromkeys(range(2, MANY + 1), 1)
    assert full.rows("SELECT DISTINCT state FROM delivery") == [("SENT",)]


def test_a_dry_run_writes_nothing_anywhere(full):
    stored = (
        full.rows("SELECT count(*), max(id) FROM message"),
        full.rows("SELECT count(*) FROM event WHERE kind <> 'config'"),
    )
    bodies, before = full.rows("SELECT count(*), total(length(data)) FROM body"), full.everything()
    again = ("--config", str(full.data.parent / "channels.yaml"), "--dry-run")
    for act in ("replay", "resend"):
        text = full.cli("messages", act, "1", "2", "3", *again)
        assert "res.partner" in text and "3 untouched" in text and "Nothing was done." in text
    full.configure("DE")
    effects = full.json("messages", "replay", "1", "2", *again)
    changes = [change for effect in effects for change in effect["changes"]]
    assert [(change["field"], change["old"]) for change in changes] == [("country_id", "United States")] * 2
    full.configure("US")
    assert (
        full.rows("SELECT count(*), max(id) FROM message"),
        full.rows("SELECT count(*) FROM event WHERE kind <> 'config'"),
    ) == stored
    assert full.rows("SELECT count(*), total(length(data)) FROM body") == bodies
    assert full.everything() == before


@pytest.mark.parametrize(
    ("destination", "status", "text"),
    [
        ("other: {mllp: {host: 127.0.0.1, port: 9}}", 0, "cannot tell beforehand"),
        (
            'odoo: {filters: [{condition: "False"}], odoo: {connection: down, template: patient}}',
            0,
            "FILTERED",
        ),
        ("odoo: {odoo: {connection: down, template: patient}}", 2, "odoo.unreachable"),
        ("", 1, "its channel is not in this configuration"),
    ],
)
def test_a_dry_run_says_what_it_cannot_tell(full, tmp_path, destination, status, text):
    config = tmp_path / "channels.yaml"
    config.write_text(
        'connections: {down: {odoo: {url: "http://127.0.0.1:9", timeout: 1}}}\nchannels:\n'
        f"  {'adt' if destination else 'other'}:\n    listener: {{mllp: {{port: 0}}}}\n"
        + (f"    destinations: {{{destination}}}\n" if destination else "")
    )
    told = full.cli("messages", "replay", "1", "--dry-run", "-c", str(config), status=status, more=True)
    assert text in told


def test_a_job_can_be_paused_resumed_and_cancelled(full):
    text = full.cli("messages", "resend", "--channel", "adt", "--rate", "20/s", "--force", "--no-wait")
    number = int(re.search(r"Job (\d+)", text)[1])
    until(lambda: full.job(number)["done"] > 5)
    assert f"Job {number}, resending: " in full.cli("status", status=None)
    full.cli("job", "pause", str(number))
    done = full.job(number)["done"]
    assert 5 < done < MANY
    assert "there is nothing to pause" in full.cli("job", "pause", str(number), status=2, more=True)
    assert full.job(number)["done"] == done
    full.cli("job", "resume", str(number))
    until(lambda: full.job(number)["done"] > done)
    assert "were left alone" in full.cli("job", "cancel", str(number))
    cancelled = full.job(number)
    assert (cancelled["state"], cancelled["changed"]) == ("cancelled", cancelled["done"])
    assert str(number) in full.cli("job", "list")
    assert "there is no job 999" in full.cli("job", "cancel", "999", status=2, more=True)


def test_a_job_survives_kill_9_and_acts_on_every_message_once(tmp_path):
    engine = clinic(tmp_path)
    try:
        fill(engine, 300)
        words = ("messages", "replay", "--channel", "adt", "--rate", "50/s", "--no-wait")
        number = engine.json(*words)["id"]
        for goal in (40, 120):
            until(lambda goal=goal: engine.job(number)["done"] >= goal)
            engine.kill()
            assert engine.job(number)["state"] == "running"
            engine.start(2)
        until(lambda: engine.job(number)["state"] == "done")
        engine.settle(600)
        assert replays(engine) == dict.fromkeys(range(1, 301), 1)
        assert engine.partners() == 300
        assert (engine.job(number)["done"], engine.job(number)["changed"]) == (300, 300)
        assert engine.terminate() == 0
    finally:
        engine.kill()


def test_without_an_engine_the_job_is_done_at_once_and_goes_on_later(tmp_path):
    engine = clinic(tmp_path)
    try:
        fill(engine, 20)
        engine.terminate()
        text = engine.cli("messages", "replay", "--channel", "adt", more=True)
        assert "Replayed: 20 (of 20 chosen)." in text and "No engine is running" in text
        waiting = engine.json("messages", "resend", "1", "--no-wait", "--force")
        assert (waiting["state"], waiting["done"]) == ("running", 0)
        engine.start(2)
        until(lambda: engine.job(waiting["id"])["state"] == "done")
        engine.settle(40)
        assert engine.partners() == 20
    finally:
        engine.kill()


def test_a_night_with_dead_letters(tmp_path):
    """A wrong country in the template and a code that no table has: found, mended, done again, in order."""
    engine = clinic(tmp_path, country="XX")
    try:
        engine.send(adt("A1", "1001", name="Old"), "adt")
        until(lambda: engine.rows("SELECT 1 FROM delivery WHERE state = 'ERROR'"))
        engine.send(adt("A2", "1001", name="New"), "adt")  # waits for the first
        engine.send(adt("B1", "2002").replace(b"|F\r", b"|X\r"), "adt")  # not in the table
        engine.send(b"no HL7", "lab")
        until(lambda: engine.rows("SELECT count(*) FROM message WHERE state = 'ERROR'")[0][0] == 2)

        groups = {group["code"]: group for group in engine.json("messages", "errors")}
        assert len(groups) == 3
        (odoo,) = (group for group in groups.values() if group["destination"] == "odoo")
        assert (odoo["count"], odoo["last_id"], odoo["channel"]) == (1, 1, "adt")
        assert odoo["text"] and odoo["first_at"] and odoo["cause"] in engine.cli("messages", "errors")
        listed = engine.json("messages", "list", "--cause", odoo["cause"])
        assert [row["id"] for row in listed] == [1]

        # The cause is mended; a resend would send the wrong country again, a replay renders anew.
        config = ("--config", str(engine.data.parent / "channels.yaml"))
        assert "it would fail" in engine.cli("messages", "resend", "1", "--dry-run", *config, status=1)
        engine.configure("US")
        assert "created" in engine.cli("messages", "replay", "1", "--dry-run", *config)
        engine.terminate()
        engine.start(2)

        # Alone it would come after the newer message that waits for it.
        refused = engine.cli("messages", "replay", "--cause", odoo["cause"], status=1, more=True)
        assert "1 of 1 is older than what was delivered since" in refused and "1 → 2  odoo" in refused
        assert not replays(engine)
        engine.cli("messages", "replay", "1", "2")
        engine.settle(6)
        assert engine.rows("SELECT state FROM delivery ORDER BY message_id") == [
            ("DISCARDED",), ("DISCARDED",), ("SENT",), ("SENT",),
        ]  # fmt: skip
        assert engine.odoo("SELECT name FROM res_partner WHERE id IN (SELECT res_id FROM ir_model_data"
                           " WHERE module = 'isthmus')") == [("New",)]  # fmt: skip

        # What cannot be mended is discarded: it leaves the errors, and is still there.
        left = engine.json("messages", "errors")
        assert {group["channel"] for group in left} == {"adt", "lab"}
        for group in left:
            engine.cli("messages", "discard", "--cause", group["cause"], "--note", "the sender knows")
        assert engine.json("messages", "errors") == []
        assert len(engine.json("messages", "list", "--state", "ERROR")) == 2
        assert engine.rows(
            "SELECT count(*) FROM event WHERE kind = 'discard' AND detail = 'the sender knows'"
        ) == [(2,)]
        assert engine.terminate() == 0
        assert not engine.faults
    finally:
        engine.kill()


def test_a_resend_goes_on_from_the_place_of_what_failed(tmp_path):
    """Mended in Odoo, not here: the older message goes first, then the one that waited for it."""
    config = CONFIG.replace('country_id: {find: {code: "COUNTRY"}', "category_id: {find: {name: VIP}")
    engine = Clinic(tmp_path, config).start(2)
    try:
        for control_id, name in (("A1", "Old"), ("A2", "New")):
            engine.send(adt(control_id, "1001", name=name), "adt")
        until(lambda: engine.rows("SELECT count(*) FROM delivery")[0][0] == 2)
        until(lambda: engine.rows("SELECT 1 FROM delivery WHERE state = 'ERROR'"))
        (group,) = engine.json("messages", "errors")
        sandbox = Sandbox(engine.data / "odoo-sandbox.db")
        key = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}
        status, _, made = sandbox.handle(
            "POST", "/json/2/res.partner.category/create", key, b'{"vals_list": [{"name": "VIP"}]}'
        )
        sandbox.close()
        assert status == 200, made
        assert engine.json("messages", "resend", "--cause", group["cause"])["changed"] == 1
        engine.settle(2)
        sent = engine.rows("SELECT message_id, state, finished_at FROM delivery ORDER BY message_id")
        assert [(number, state) for number, state, _ in sent] == [(1, "SENT"), (2, "SENT")]
        assert sent[0][2] < sent[1][2]
        assert engine.partners() == 1
        assert engine.odoo("SELECT count(*) FROM res_partner WHERE name = 'New'") == [(1,)]
        assert engine.json("messages", "errors") == []
    finally:
        engine.kill()


def test_a_terminal_sees_the_progress(full):
    ours, theirs = pty.openpty()
    words = ["messages", "resend", "--channel", "adt", "--limit", "30", "--rate", "50/s", "--force"]
    with subprocess.Popen(
        [sys.executable, str(ROOT / "run_engine.py"), *words, "--data", str(full.data)],
        stdout=subprocess.PIPE, stderr=theirs, text=True, cwd=ROOT,
    ) as child:  # fmt: skip
        os.close(theirs)
        text, _ = child.communicate(timeout=30)
    seen = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65536):
            seen += data
    os.close(ours)
    assert text == "Resent: 30 (of 30 chosen).\n"
    shown = re.findall(rb"\rJob \d+, resending: (\d+) of 30", seen)
    assert len(set(shown)) > 2 and shown[-1] == b"30"


def test_older_data_over_newer_only_by_force(tmp_path):
    engine = clinic(tmp_path)
    try:
        for control_id, name in (("A1", "First"), ("A2", "Second")):
            engine.send(adt(control_id, "1001", name=name), "adt")
        engine.send(adt("T1", "2002", name="Alone"), "adt")
        engine.send(adt("T2", "2002", more="PV1|1|T\r"), "adt")  # filtered: delivered nothing
        engine.settle(4)
        for act in ("replay", "resend"):
            assert engine.json("messages", act, "1", status=1) == {
                "stale": [{"id": 1, "destination": "odoo", "newer": 2}]
            }
            assert engine.json("messages", act, "3")["changed"] == 1
        assert engine.cli("messages", "replay", "1", "--force")
        engine.settle(6)
        names = engine.odoo("SELECT name FROM res_partner WHERE id IN (SELECT res_id FROM ir_model_data"
                            " WHERE module = 'isthmus') ORDER BY id")  # fmt: skip
        assert names == [("First",), ("Alone",)]
    finally:
        engine.kill()


def test_export_is_byte_for_byte_and_nobody_elses(full, tmp_path):
    one, folder = tmp_path / "some.hl7", tmp_path / "each"
    folder.mkdir()
    full.cli("messages", "export", "1", "2", "-o", str(one))
    raws = {row.id: row.raw for row in full.stored() if row.id in (1, 2)}
    assert one.read_bytes() == raws[1] + raws[2] and one.read_bytes().startswith(b"MSH|")
    assert one.stat().st_mode & 0o077 == 0
    full.cli("messages", "export", "1", "2", "-o", str(folder))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"1.hl7": raws[1], "2.hl7": raws[2]}
    shown = json.loads(full.cli("messages", "export", "1", "2", "--format", "json", "-o", "-"))
    assert [(item["id"], item["raw"]) for item in shown] == [(n, raws[n].decode()) for n in (1, 2)]
    table = full.cli("messages", "export", "1", "2", "--format", "csv", "-o", "-").splitlines()
    assert table[0].startswith("id,received,channel") and len(table) == 3 and "N0" not in table[1]
    assert "exists already" in full.cli("messages", "export", "1", "-o", str(one), status=2, more=True)
    assert "Exported 0 (of 0 chosen)" in full.cli(
        "messages", "export", "--type", "ORU", "-o", str(tmp_path / "none.hl7"), more=True
    )
    assert full.rows("SELECT count(*) FROM event WHERE kind = 'export' AND message_id = 1") == [(4,)]
