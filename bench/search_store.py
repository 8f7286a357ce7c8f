"""A store of many messages for `bench search`: stored as the engine stores them, in the large groups of a busy engine.

Encrypted and compressed bodies, indexes, a delivery each, searchable columns. Most is one busy channel; on purpose some
things are rare, as the worst for a search is what hardly ever occurs: a quiet channel, a rare type, few errors.

| what                            | how often                     |
|---------------------------------|-------------------------------|
| channel `bench`, ADT^A01 SENT   | nearly always                 |
| channel `quiet`                 | 50 messages, all at the begin |
| type ADT^A40                    | 1 in 100,000                  |
| FILTERED                        | 1 in 50,000                   |
| message in ERROR                | 1 in 5,000                    |
| delivery to `archive`           | 1 in 100,000                  |
| delivery in ERROR               | 1 in 4,000                    |
| delivery DISCARDED              | 1 in 30,000                   |
| column ward (plain)             | 12 values                     |
| column account (blind)          | one value each                |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.messages import adt
from engine.hl7.peek import peek
from engine.security.keyring import Keyring
from engine.store import columns, messages
from engine.store.columns import Column, Found
from engine.store.deliveries import Delivered
from engine.store.groups import receive_all
from engine.store.store import Store
from engine.store.together import deliver_all, route_all

GROUP = 2_000  # messages a transaction
PATIENTS = 20_000
START = 1_760_000_000_000_000
STEP = 100_000  # microseconds between two messages: 10 a second
QUIET = 50
WARDS = 12
DECLARED = {"bench": [Column("ward", "PV1-3.1", True), Column("account", "PID-18", False)]}
_ACK = b"MSH|^~\\&|ISTHMUS|CLINIC|BENCH|HOSP|20260315||ACK^A01^ACK|I%d|P|2.5.1\rMSA|AA|S%d\r"


def fill(store: Store, keyring: Keyring, count: int, say: Callable[[str], None]) -> None:
    """Put `count` messages into an empty store."""
    store.writer.call(lambda tx: columns.keep(tx, DECLARED))
    for first in range(0, count, GROUP):
        store.writer.call(lambda tx, first=first: _group(tx, keyring, first, min(first + GROUP, count)))  # type: ignore[misc]
        if first and first % 200_000 == 0:
            say(f"{first} messages stored")


def _group(tx: Any, keyring: Keyring, first: int, end: int) -> None:
    at = START + first * STEP
    news, routed, sent = [], [], []
    for number in range(first, end):
        raw = adt(number, b"S%d" % number, PATIENTS)
        header = peek(raw)
        mrn = str(1_000_000 + number % PATIENTS)
        channel = "quiet" if number < QUIET else "bench"
        kind = "ADT^A40" if number % 100_000 == 7 else header.type
        new = messages.NewMessage(channel, raw, START + number * STEP, header.control_id, kind, header.sender)
        new.mrn, new.visit, new.ordering_key = mrn, f"V{5_000_000 + number}", keyring.blind(f"key:{mrn}")
        new.ack, new.ack_code = _ACK % (number, number), "AA"
        news.append(new)
    for number, got in zip(range(first, end), receive_all(tx, news), strict=True):
        found = [Found("ward", f"W{number % WARDS}", True), Found("account", f"A{number}", False)]
        one = messages.Routed(got.id, "TRANSFORMED", at, columns=found)
        if number % 5_000 == 3:
            one.state, one.error_code = "ERROR", "step.crashed"
        elif number % 50_000 == 5:
            one.state, one.reason = "FILTERED", "filters[0] condition"
        else:
            payload = b'[{"op":"upsert","model":"res.partner","key":"patient/%d"}]' % (number % PATIENTS)
            one.deliveries = [messages.NewDelivery("odoo", payload)]
            done = Delivered(got.id, "odoo", "SENT", at, record=f"res.partner,{number % PATIENTS}")
            if number % 100_000 == 11:
                one.deliveries.append(messages.NewDelivery("archive", payload))
                sent.append(Delivered(got.id, "archive", "SENT", at))
            if number % 4_000 == 1:
                done.state, done.record, done.error_code = "ERROR", None, "odoo.validation"
            elif number % 30_000 == 2:
                done.state, done.record = "DISCARDED", None
            else:
                done.request, done.response = payload, b'[{"id": 1, "result": "unchanged"}]'
            sent.append(done)
        routed.append(one)
    route_all(tx, routed)
    deliver_all(tx, sent)
