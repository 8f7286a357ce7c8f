"""Everything that the store has of one patient, across channels: messages, and the records that they wrote.

Guarantees: a patient is found by the blind index of PID-3.1 and, where merges name them, by their ordering key; the
number itself is never read. Refuses nothing: an unknown patient has no messages.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import orjson

from engine.clock import Micros
from engine.store.stretches import BLIND, everywhere
from engine.store.tx import Tx

MOST = 10_000  # the newest messages of a patient
_pack = struct.Struct("<q").pack


class Patient(NamedTuple):
    """A patient as the store knows them: the blind number, and the blind ordering key (0: not known)."""

    mrn: int
    key: int = 0


class Record(msgspec.Struct):
    """A record that messages wrote: by how many, when first and last, and by which one last."""

    model: str
    id: int
    channel: str
    destination: str
    messages: int
    first_at: Micros
    last_at: Micros
    last_message: int


def by_number(tx: Tx, mrn: str) -> Patient:
    """The patient with this number."""
    return Patient(tx.blind(mrn), tx.blind(f"key:{mrn}"))


def by_message(tx: Tx, message_id: int) -> Patient | None:
    """The patient that a message is about; None when it names none."""
    rows = tx.rows("SELECT mrn, ordering_key FROM message WHERE id = ?", (message_id,))
    return Patient(*rows[0]) if rows and rows[0][0] is not None else None


def messages_of(tx: Tx, patient: Patient, channels: Sequence[str] | None = None) -> list[int]:
    """Ids of the messages about a patient, of all or of some channels, the newest first, MOST at most."""
    within, values = "", []
    if channels is not None:
        within = " AND channel IN (SELECT value FROM json_each(?))"
        values = [orjson.dumps(list(channels)).decode()]
    found = tx.rows(
        f"SELECT id FROM message WHERE {BLIND.format('mrn')}{within} ORDER BY id DESC LIMIT ?",
        (*everywhere(tx), patient.mrn, *values, MOST),
    )
    if patient.key:
        found += tx.rows(
            "SELECT id FROM message INDEXED BY message_merge WHERE also_keys IS NOT NULL"
            f" AND instr(also_keys, ?){within} ORDER BY id DESC LIMIT ?",
            (_pack(patient.key), *values, MOST),
        )
    return sorted({row[0] for row in found}, reverse=True)[:MOST]


def records_of(tx: Tx, ids: Sequence[int]) -> list[Record]:
    """The records that these messages wrote, those of the newest message first."""
    found: dict[tuple[str, str, str], Record] = {}
    for message_id, channel, destination, record, at in tx.rows(
        "SELECT message_id, channel, destination, record, coalesce(finished_at, 0) FROM delivery"
        " WHERE message_id IN (SELECT value FROM json_each(?)) AND record IS NOT NULL ORDER BY message_id DESC",
        (orjson.dumps(list(ids)).decode(),),
    ):
        for name in record.split():
            model, _, number = name.partition(",")
            known = found.get((destination, channel, name))
            if known is None:
                row = Record(model, int(number or 0), channel, destination, 0, at, at, message_id)
                known = found[destination, channel, name] = row
            known.messages += 1
            known.first_at, known.last_at = min(known.first_at, at), max(known.last_at, at)
    return list(found.values())
