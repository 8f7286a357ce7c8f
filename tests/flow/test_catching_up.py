"""Reading on from the store while it changes: a commit between two queries hides nothing."""

from __future__ import annotations

import pytest
from engine_process import adt

import engine.app
import engine.store.standing
from engine.security.keyring import open_keyring
from engine.store import messages
from engine.store.store import open_store

JOINED = """
channels:
  adt: {listener: {mllp: {port: 1}}, destinations: {out: {scripted: {name: out, connection: clinic}}}}
  siu:
    listener: {mllp: {port: 2}}
    order_with: adt
    destinations: {out: {scripted: {name: siu, connection: clinic}}}
"""


@pytest.fixture
def other(tmp_path):
    """Commits one message of each channel, as another transaction would; `other(True)` routes them too."""
    opened = []

    def commit(routed):
        store = open_store(tmp_path / "data", open_keyring(tmp_path / "data"), mode="client")
        opened.append(store)

        def work(tx):
            for n, channel in enumerate(("adt", "siu")):
                new = messages.NewMessage(channel, adt(f"c{n}"), 1, f"c{n}", "ADT^A08", "EHR|RGH", ack=b"MSH")
                stored = messages.receive(tx, new)
                if routed:
                    to = [messages.NewDelivery("out", b"c")]
                    messages.route(tx, messages.Routed(stored.id, "TRANSFORMED", 2, to))

        store.writer.call(work)

    yield commit
    for store in opened:
        store.close()


def between(monkeypatch, module, name, act):
    """Do something after the first call of a function."""
    function, calls = getattr(module, name), []

    def wrapped(*arguments):
        found = function(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            act()
        return found

    monkeypatch.setattr(module, name, wrapped)


def test_messages_of_joined_channels(make, monkeypatch, other):
    desk, _ = make(JOINED)
    between(monkeypatch, engine.app.messages, "unrouted", lambda: other(False))
    assert desk.engine._unrouted(["adt", "siu"], 0, 10) == []
    found = desk.engine._unrouted(["adt", "siu"], 0, 10)
    assert [one.meta.control_id for one in found] == ["c0", "c1"]


def test_deliveries_of_joined_channels(make, monkeypatch, other):
    desk, _ = make(JOINED)
    between(monkeypatch, engine.store.standing, "_read", lambda: other(True))
    pairs = [("adt", "out"), ("siu", "out")]
    assert desk.engine._standing(pairs, 0, 10) == []
    assert [one.channel for one in desk.engine._standing(pairs, 0, 10)] == ["adt", "siu"]
