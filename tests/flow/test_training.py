"""Dictionaries make themselves while the engine works: in a thread, after enough bodies, and anew after many more."""

from __future__ import annotations

import pytest
from desk import Desk, Sent, scripted

from engine.store import maintenance, messages

CONFIG = """
channels:
  adt:
    listener: {mllp: {port: 0}}
    %s
"""
ADT = (
    "MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|2026010112%04d||ADT^A01|%08d|P|2.5.1\rEVN|A01|202601011200\r"
    "PID|1||%07d^^^HOSP^MR||LAST%d^FIRST%d^^^||19%02d0101|F|||%d MAIN ST^^TOWN^CA^90210||(555)555-%04d\r"
    "PV1|1|I|W%d^R%d^B1^HOSP|R|||1234^DOC^ATT|||MED||||1|||1234^DOC^ATT|I|V%07d\r"
)


def adt(n):
    return (ADT % (n % 60, n, n * 7, n * 31, n * 17, n % 90, n * 3, n, n % 9, n % 40, n)).encode()


@pytest.fixture(params=["", "storage: no-content"])
def desk(tmp_path, monkeypatch, request):
    monkeypatch.delenv("ISTHMUS_KEY_FILE", raising=False)
    with scripted():
        made = Desk(tmp_path, CONFIG % request.param)
        made.kept = not request.param
        yield made
        made.stop()


def take(desk, numbers):
    for n in numbers:
        desk.engine.channels["adt"].receive(Sent(adt(n), desk.now()))
    desk.settle()


def train(desk):
    """Looks, until it has nothing more to do."""
    desk.engine.trainer.look()
    while desk.engine.trainer._busy:
        desk.reactor.run_handed(wait=True)
        desk.settle()
        desk.engine.trainer.look()


def made(desk):
    return desk.rows("SELECT kind, bodies FROM dictionary ORDER BY id")


def size(desk):
    return desk.rows("SELECT sum(length(data)) FROM (SELECT data FROM body ORDER BY id DESC LIMIT 50)")[0][0]


def test_a_dictionary_is_made_when_there_is_enough_and_again_when_there_is_much_more(desk):
    take(desk, range(199))
    train(desk)
    assert made(desk) == []
    take(desk, range(199, 250))
    before = size(desk)
    train(desk)
    if not desk.kept:
        assert made(desk) == [], "nothing of the content may stay"
        return
    assert made(desk) == [(0, 250)]
    take(desk, range(250, 300))
    assert size(desk) < 0.8 * before
    take(desk, range(300, 2400))
    train(desk)
    assert len(made(desk)) == 1
    take(desk, range(2400, 2600))
    train(desk)
    assert made(desk) == [(0, 250), (0, 2600)]
    desk.crash()
    assert [messages.raw(desk.engine.store.reader, n + 1) for n in (0, 260, 2599)] == [
        adt(0),
        adt(260),
        adt(2599),
    ]
    assert maintenance.check(desk.engine.store.reader) == []
