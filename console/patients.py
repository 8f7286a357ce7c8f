"""View by patient: messages across channels and the records that they wrote, reached without the number in an address.

Guarantees: a reference is encrypted, says nothing to who reads it in a log, and ends after REFERENCE_LIFE; every view
is audited under a pseudonym of the patient (their keyed hash) that stays the same.
Refuses (Refused): 404 a reference that is none, is old, or was changed.
"""

from __future__ import annotations

import base64
import struct
from binascii import Error

import msgspec

from console.acting import Desk
from console.problems import Refused
from engine.clock import Micros
from engine.errors import StoreError
from engine.odoo.links import record_url
from engine.security.roles import Role
from engine.store import patients, search, servers
from engine.store.patients import Patient
from engine.store.tx import Tx

REFERENCE_LIFE: Micros = 12 * 3_600_000_000  # as long as a session
_form = struct.Struct("<qqq")
_BOUND = b"console patient reference"


class Written(msgspec.Struct):
    """A record that messages wrote; `url` is where people see it, "" when there is no such place."""

    record: patients.Record
    url: str


class PatientView(msgspec.Struct):
    """What there is of a patient. `reference` leads here again; `next`: continue below this id."""

    reference: str
    total: int
    messages: list[search.Row]
    records: list[Written]
    next: int | None


def reference(tx: Tx, patient: Patient) -> str:
    """A name of the patient for addresses."""
    keys = tx.codec.keys
    key_id = keys.current
    sealed = keys.encrypt(_form.pack(*patient, tx.now() + REFERENCE_LIFE), _BOUND)
    return base64.urlsafe_b64encode(bytes([key_id]) + sealed).rstrip(b"=").decode()


def patient_of(tx: Tx, given: str) -> Patient:
    """Who a reference names."""
    try:
        sealed = base64.b64decode(given + "=" * (-len(given) % 4), altchars=b"-_", validate=True)
        mrn, key, until = _form.unpack(tx.codec.keys.decrypt(sealed[0], sealed[1:], _BOUND))
    except (Error, ValueError, IndexError, struct.error, StoreError):
        until = 0
    if until < tx.now():
        raise Refused(
            404, "patient.reference", "this link is not good any more", "search for the patient again"
        )
    return Patient(mrn, key)


def of_number(desk: Desk, mrn: str) -> str:
    """The reference of the patient with this number."""
    with desk.stores.reading() as tx:
        return reference(tx, patients.by_number(tx, mrn.strip()))


def of_message(desk: Desk, message_id: int) -> str:
    """The reference of the patient whom a message is about."""
    with desk.stores.reading() as tx:
        rows = tx.rows("SELECT channel FROM message WHERE id = ?", (message_id,))
        found = patients.by_message(tx, message_id)
        if not rows or not desk.identity.may(Role.VIEWER, rows[0][0]):
            raise Refused(404, "message.unknown", f"there is no message {message_id}")
        if found is None:
            raise Refused(404, "patient.none", "this message names no patient")
        return reference(tx, found)


def look(desk: Desk, given: str, after: int | None = None, limit: int = 50) -> PatientView:
    """What there is, as far as they may see it; audited."""
    with desk.stores.reading() as tx:
        patient = patient_of(tx, given)
        ids = patients.messages_of(tx, patient, desk.identity.channels(Role.VIEWER))
        shown = [one for one in ids if after is None or one < after][:limit]
        rows = search.find(tx, ids=shown, limit=limit)
        places = servers.known(tx)
        records = [
            Written(one, record_url(places.get(one.channel, {}).get(one.destination, ""), one.model, one.id))
            for one in patients.records_of(tx, ids)
        ]
        found = PatientView(given, len(ids), rows, records, shown[-1] if len(shown) == limit else None)
    desk.audited("patient.view", f"patient:{patient.mrn & (1 << 64) - 1:016x}", lambda tx: None)
    return found
