"""C1 of a group leaves the same rows, bodies, counters and answers as C1 of each message."""

from __future__ import annotations

import random

import pytest

from engine.security.keyring import Keyring
from engine.store import groups, messages, search
from engine.store.messages import NewMessage
from engine.store.store import open_store

COLUMNS = (
    "id, channel, state, received_at, routed_at, control_id, type, sender, peer, digest, size, ordering_key,"
    " also_keys, parent_id, flags, error_code, error_text, error_place, ack, config_version"
)


def some(rng: random.Random, count: int) -> list[NewMessage]:
    """Messages of which some repeat each other, reuse a control id, are unreadable or were cut off."""
    made: list[NewMessage] = []
    for number in range(count):
        if made and rng.random() < 0.1:
            made.append(made[rng.randrange(len(made))])
            continue
        new = NewMessage(
            rng.choice(["adt", "siu"]), f"MSH|{number}|{rng.random()}".encode(), 1_000_000 + number,
            control_id=f"C{number}" if rng.random() < 0.8 else rng.choice(["", f"C{rng.randrange(count)}"]),
            type="ADT^A04", sender=rng.choice(["A|B", "A|C"]), peer="127.0.0.1:1",
            ordering_key=rng.randrange(1, 9), also_keys=(5, 7) if rng.random() < 0.1 else (),
            mrn=str(rng.randrange(20)), visit="", ack=b"MSA|AA", ack_code="AA",
        )  # fmt: skip
        if rng.random() < 0.05:
            new.state, new.error_code, new.ack_code = "ERROR", "hl7.no_type", "AR"
        elif rng.random() < 0.1:
            new.state = "TRANSFORMED"
        if rng.random() < 0.05:
            new.framed = False
        made.append(new)
    return made


@pytest.mark.parametrize("seed", range(12))
def test_the_same_as_one_by_one(seed, tmp_path):
    rng = random.Random(seed)
    batches = [some(rng, rng.choice([1, 2, 3, 15, 16, 17, 40])) for _ in range(6)]
    found = []
    keys = Keyring.generate()
    for way in ("one", "all"):
        folder = tmp_path / way
        store = open_store(folder, keys, now=lambda: 5)
        results = []
        for batch in batches:
            if way == "one":
                results += store.writer.call(
                    lambda tx, batch=batch: [messages.receive(tx, new) for new in batch]
                )
            else:
                results += store.writer.call(lambda tx, batch=batch: groups.receive_all(tx, batch))
        tx = store.reader
        rows = tx.rows(f"SELECT {COLUMNS} FROM message ORDER BY id")
        bodies = [(messages.raw(tx, row[0]), messages.ack_of(tx, row[0])) for row in rows]
        events = tx.rows("SELECT message_id, kind, detail FROM event ORDER BY id")
        found.append((results, rows, bodies, events, search.counts(tx)))
        assert not search.find(tx, mrn="999")
        store.close()
    assert found[0] == found[1]
    assert len(found[0][1]) > 5


def test_a_group_of_new_messages_takes_few_statements(tmp_path):
    store = open_store(tmp_path, Keyring.generate())
    seen: list[str] = []
    batch = [
        NewMessage("adt", b"MSH|%d" % n, 1, control_id=f"C{n}", ack=b"A", ack_code="AA") for n in range(32)
    ]

    def work(tx):
        tx.db.set_trace_callback(seen.append)
        try:
            return groups.receive_all(tx, batch)
        finally:
            tx.db.set_trace_callback(None)

    results = store.writer.call(work)
    assert [result.id for result in results] == list(range(1, 33))
    assert len([one for one in seen if one.startswith("INSERT")]) == 2 + 1, "and the kinds of a new stretch"
    store.close()
