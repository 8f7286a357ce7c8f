"""A real process, killed with SIGKILL at every named point while it works: what it told of is there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_bench import Bench

from engine.store import deliveries, maintenance, messages
from engine.store.search import counts

ROOT = Path(__file__).parents[2]
POINTS = [f"c{n}.{when}_commit" for n in (1, 2, 3) for when in ("before", "after")]


def run(folder, point):
    environment = {**os.environ, "ISTHMUS_CRASH_AT": point, "PYTHONPATH": str(ROOT)}
    script = Path(__file__).with_name("crash_writer.py")
    ended = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    told = {"c1": set(), "c2": set(), "c3": set()}
    for line in ended.stdout.decode().splitlines():
        step, message_id = line.split()
        told[step].add(int(message_id))
    return ended, told


@pytest.mark.parametrize("nth", [1, 25])
@pytest.mark.parametrize("point", POINTS)
def test_everything_that_was_told_is_there_after_the_kill(folder, point, nth):
    ended, told = run(folder, f"{point}:{nth}")
    assert ended.returncode == -9, ended.stderr.decode()
    bench = Bench(folder)
    assert maintenance.check(bench.reader) == []
    stored = {row[0]: row[1] for row in bench.reader.rows("SELECT id, state FROM message")}
    sent = {row[0]: row[1] for row in bench.reader.rows("SELECT message_id, state FROM delivery")}
    assert told["c1"] <= stored.keys()
    assert told["c2"] <= {n for n, state in stored.items() if state == "TRANSFORMED"}
    assert told["c2"] <= sent.keys()
    assert told["c3"] <= {n for n, state in sent.items() if state == "SENT"}
    for message_id in stored:
        text = messages.raw(bench.reader, message_id)
        number = text.split()[1].decode()
        again = bench.receive(text, control_id=number, sender="", at=0)
        assert again.duplicate_of == message_id, "a resend finds it"
        assert again.ack == b"ack " + number.encode()
    to_do = {d.message_id for d in deliveries.open_deliveries(bench.reader, "adt", "odoo", limit=10_000)}
    assert to_do == {n for n, state in sent.items() if state == "QUEUED"}
    unrouted = {m.id for m in messages.unrouted(bench.reader, "adt", limit=10_000)}
    assert unrouted == {n for n, state in stored.items() if state == "RECEIVED"}
    totals = counts(bench.reader).get("adt", {})
    assert totals.get("received", 0) == len(stored)
    assert totals.get("sent/odoo", 0) == sum(state == "SENT" for state in sent.values())
    if point == "c1.before_commit" and nth == 1:
        assert stored == {}
    bench.store.close()


def test_without_a_crash_point_everything_is_done(folder):
    ended, told = run(folder, "")
    assert ended.returncode == 0, ended.stderr.decode()
    assert len(told["c3"]) == 600
    bench = Bench(folder)
    assert counts(bench.reader)["adt"]["sent/odoo"] == 600
    bench.store.close()
