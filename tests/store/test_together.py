"""C2 and C3 of a group leave the same rows, bodies, events and counters, and tell the same, as one by one."""

from __future__ import annotations

import random

import pytest

from engine.security.keyring import Keyring
from engine.store import deliveries, messages
from engine.store.bodies import Kind
from engine.store.deliveries import Delivered, deliver
from engine.store.levels import set_levels
from engine.store.messages import NewDelivery, NewMessage, Routed, route
from engine.store.store import open_store
from engine.store.together import deliver_all, route_all

TABLES = (
    "message ORDER BY id",
    "delivery ORDER BY message_id, slot",
    "counter ORDER BY channel, destination, name",
    "event ORDER BY id",
)
COUNT = 60


def routings(rng: random.Random) -> list[Routed]:
    """What became of some messages, of which a few were routed before or are not there."""
    made = []
    for number in rng.choices(range(1, COUNT + 5), k=rng.choice([1, 2, 5, 40])):
        kind = rng.random()
        one = Routed(number, "TRANSFORMED", at=rng.choice([7, 8]), config_version="v")
        if kind < 0.1:
            one.state, one.reason = "FILTERED", "not for us"
        elif kind < 0.2:
            one.state, one.error_code, one.error_text, one.error_place = "ERROR", "step.crashed", "why", "set"
        elif kind < 0.95:
            to = rng.choice([("odoo",), ("odoo", "copy"), ("copy",)])
            one.deliveries = [NewDelivery(name, f"{name} {number}".encode()) for name in to]
            if kind > 0.9:
                one.ack, one.ack_code = b"MSA|AA", "AA"
            elif kind > 0.85:
                one.deliveries[0].next_at = 99
        made.append(one)
    if rng.random() < 0.7:
        made = list({one.id: one for one in made}.values())
    return made


def outcomes(rng: random.Random) -> list[Delivered]:
    """How some deliveries ended, of which a few ended before or are not there."""
    made = []
    for number in rng.choices(range(1, COUNT + 5), k=rng.choice([1, 2, 5, 40])):
        kind = rng.random()
        one = Delivered(
            number, rng.choice(["odoo", "odoo", "copy"]), "SENT", at=9, attempts=rng.choice([1, 2])
        )
        one.record = f"res.partner,{number}" if kind < 0.8 else rng.choice([None, "ä\ud800"])
        if kind > 0.1:
            one.request, one.response = b"[]", b"[{}]"
        if 0.4 < kind <= 0.85:
            one.state = "PENDING"
        if kind > 0.9:
            one.state, one.error_code = rng.choice(["ERROR", "QUEUED", "PENDING", "DISCARDED"]), "odoo.down"
        elif kind > 0.85:
            one.note = "a note"
        made.append(one)
    if rng.random() < 0.7:
        made = list({(one.message_id, one.destination): one for one in made}.values())
    return made


@pytest.mark.parametrize("seed", range(30))
def test_the_same_as_one_by_one(seed, tmp_path):
    rng = random.Random(seed)
    routed = [routings(rng) for _ in range(5)]
    ended = [outcomes(rng) for _ in range(8)]
    levels = rng.choice([{}, {"adt": "metadata"}, {"siu": "no-content"}])
    keys = Keyring.generate()
    found = []
    for way in ("one", "all"):
        store = open_store(tmp_path / way, keys, now=lambda: 5)
        writer = store.writer
        writer.call(lambda tx: set_levels(tx, levels))
        for number in range(COUNT):
            new = NewMessage(("adt", "siu")[number % 2], b"MSH|%d" % number, 1, ack=b"MSA|AA", ack_code="AA")
            writer.call(lambda tx, new=new: messages.receive(tx, new))
        told = []
        for group in routed:
            if way == "all":
                told.append(writer.call(lambda tx, group=group: route_all(tx, group)))
            else:
                told.append(writer.call(lambda tx, group=group: [route(tx, one) for one in group]))
        for group in ended:
            if way == "all":
                told.append(writer.call(lambda tx, group=group: deliver_all(tx, group)))
            else:
                told.append(writer.call(lambda tx, group=group: [deliver(tx, one) for one in group]))
        reader = store.reader
        rows = [reader.rows(f"SELECT * FROM {table}") for table in TABLES]
        bodies = [
            (row, reader.codec.open(row, blob)) for row, blob in reader.rows("SELECT * FROM body ORDER BY id")
        ]
        found.append((told, rows, bodies))
        store.close()
    one, together = found
    assert together[0] == one[0]
    assert together[1] == one[1]
    assert together[2] == one[2]


def test_bodies_of_a_group_can_be_read(bench):
    store = bench.store
    ids = [
        store.writer.call(lambda tx, n=n: messages.receive(tx, NewMessage("adt", b"M%d" % n, 1))).id
        for n in range(4)
    ]
    routed = [Routed(n, "TRANSFORMED", 2, [NewDelivery("odoo", b"P%d" % n)]) for n in ids]
    assert store.writer.call(lambda tx: route_all(tx, routed)) == [True] * 4
    sent = [Delivered(n, "odoo", "SENT", 3, record="x,1", request=b"Q%d" % n, response=b"R") for n in ids]
    assert store.writer.call(lambda tx: deliver_all(tx, sent)) == [True] * 4
    assert store.writer.call(lambda tx: deliver_all(tx, sent)) == [False] * 4
    assert deliveries.payload(store.reader, ids[2], "odoo") == b"P%d" % ids[2]
    assert deliveries.exchange(store.reader, ids[2], "odoo") == (b"Q%d" % ids[2], b"R")
    assert store.reader.get(ids[2], Kind.PAYLOAD, 2) is None
