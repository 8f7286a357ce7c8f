"""Canonical events: what a message means, whatever format it came in.

Guarantees: the id of an event is a function of the message and of nothing else, so a replay of the same bytes
gives the same id; `time` is when it happened, as the sender says, not when it arrived; the envelope is
CloudEvents 1.0, and no header of it (subject, partition key) shows an identifier of a patient.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from hashlib import blake2b, sha1
from typing import Any

import msgspec

from transforms.canonical import mentioned
from transforms.canonical.clinical import Document, Order, Result, Vaccination
from transforms.canonical.entities import (
    Appointment,
    Encounter,
    Location,
    Organization,
    Patient,
    Practitioner,
)
from transforms.canonical.financial import Account, Charge, Coverage

NAMESPACE = uuid.UUID("8f6d2d1c-4c3e-5b0a-9a57-0d9c6b1f7e21")
SPEC_VERSION = "1.0"
ABOUT = {"schedule": "appointment", "referral": "order", "payment": "charge"}
"""The field of the entity that an event is about, where it is not the first word of its type."""
BEYOND = frozenset({"order", "referral", "result", "document", "vaccination", "charge", "payment", "account"})
"""Kinds whose envelope also carries the visit, the coverages and the account."""
# fmt: off
ACTIONS: dict[str, tuple[str, ...]] = {
    "patient": (
        "registered", "updated", "merged", "identifier_changed", "identifier_moved", "linked", "unlinked", "deleted",
    ),
    "encounter": (
        "planned", "registered", "arrived", "admitted", "class_changed", "transferred", "location_tracked",
        "leave_started", "leave_ended", "leave_cancelled", "leave_end_cancelled", "discharged", "cancelled",
        "transfer_cancelled", "discharge_cancelled", "transfer_pending", "transfer_pending_cancelled",
        "discharge_pending", "discharge_pending_cancelled", "updated", "merged", "moved", "number_changed",
        "deleted",
    ),
    "appointment": (
        "requested", "booked", "rescheduled", "modified", "cancelled", "deleted", "noshow", "arrived", "completed",
    ),
    "order": (
        "placed", "modified", "cancelled", "discontinued", "held", "released", "replaced", "rejected", "status_changed",
    ),
    "referral": (
        "requested", "modified", "cancelled", "status_requested", "answered", "accepted", "rejected", "pending",
        "expired",
    ),
    "result": ("available", "preliminary", "corrected", "cancelled"),
    "document": ("available", "updated", "replaced", "cancelled", "status_changed"),
    "vaccination": ("recorded", "updated", "deleted", "refused"),
    "charge": ("posted", "adjusted", "reversed"),
    "payment": ("received",),
    "account": ("opened", "updated", "closed", "purged", "merged", "moved", "number_changed"),
    "schedule": ("blocked", "unblocked"),
    "practitioner": ("registered", "updated", "deleted"),
    "organization": ("registered", "updated", "deleted"),
    "location": ("registered", "updated", "deleted"),
    "coverage": ("registered", "updated", "cancelled", "deleted"),
}
# fmt: on
"""Every event that there is, by kind: `patient.registered` …"""


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that happened. `n` counts the events of a message from 0."""

    id: str
    type: str
    time: datetime
    n: int = 0
    subject: str = ""  # `Patient/<key>`, `Encounter/<key>`, `Appointment/<key>`
    partition_key: str = ""  # the patient's key: events of one patient stay in order
    correlation_id: str = ""  # MSH-10; FHIR: `Patient/1/_history/2`
    origin: str = "hl7v2"  # or fhir
    trigger: str = ""  # "ADT^A01"; FHIR: the type of the resource
    patient: Patient | None = None
    encounter: Encounter | None = None
    appointment: Appointment | None = None
    order: Order | None = None  # an order, or a referral
    result: Result | None = None
    document: Document | None = None
    vaccination: Vaccination | None = None
    charge: Charge | None = None
    account: Account | None = None
    practitioner: Practitioner | None = None
    organization: Organization | None = None
    location: Location | None = None
    coverages: list[Coverage] = []
    prior: Encounter | Appointment | None = None
    retired: list[Patient] = []
    changed: list[str] = []

    @property
    def kind(self) -> str:
        """`patient`, `encounter`, `appointment`, `order` …: the first word of the type."""
        return self.type.partition(".")[0]

    @property
    def action(self) -> str:
        """`registered`, `merged`, `booked` …: the second word of the type."""
        return self.type.partition(".")[2]

    @property
    def referral(self) -> Order | None:
        """The order, when it is a referral."""
        return self.order if self.order is not None and self.order.kind == "referral" else None

    @property
    def coverage(self) -> Coverage | None:
        """The coverage that is billed first."""
        return self.coverages[0] if self.coverages else None

    @property
    def entity(self) -> Any:
        """What the event is about."""
        found = getattr(self, ABOUT.get(self.kind, self.kind))
        return self.encounter if found is None and self.kind == "account" else found

    @property
    def people(self) -> list[Practitioner]:
        """The practitioners that it mentions, those of whom a record can be made, each once."""
        return mentioned.people(self)

    @property
    def payers(self) -> list[Organization]:
        """The payers that it mentions, those of whom a record can be made, each once."""
        return mentioned.payers(self)

    @property
    def places(self) -> list[Location]:
        """The places that it mentions, those of which a record can be made, each once."""
        return mentioned.places(self)

    @property
    def participants(self) -> list[dict[str, str]]:
        """References to the patient's and the practitioners' records, keyed as the shipped templates do."""
        found = [{"key": f"patient/{self.patient.key}"}] if self.patient is not None else []
        people = self.appointment.practitioners if self.appointment is not None else []
        return found + [{"key": f"practitioner/{person.key}"} for person in people if person.known]

    def to_cloudevent(self, *, channel: str = "", secret: bytes = b"", tenant: str = "") -> dict[str, Any]:
        """The event in a CloudEvents 1.0 envelope (JSON format), as plain data.

        Subject and partition key are pseudonyms, keyed with `secret` (at most 64 bytes): headers are open to
        everybody on a bus. Whoever may read the data finds the identifiers there.
        """
        kind = self.subject.partition("/")[0]
        envelope = {
            "specversion": SPEC_VERSION,
            "id": self.id,
            "source": f"urn:isthmus:channel:{channel}",
            "type": f"health.{self.type}.v1",
            "subject": f"{kind}/{pseudonym(self.subject, secret)}" if self.subject else "",
            "time": self.time.isoformat(),
            "datacontenttype": "application/json",
            "dataschema": f"urn:isthmus:schema:{self.type}:1",
            "partitionkey": pseudonym(self.partition_key, secret) if self.partition_key else "",
            "correlationid": self.correlation_id,
            "tenant": tenant,
            "origin": self.origin,
        }
        entity = self.entity
        data: dict[str, Any] = {"entity": msgspec.to_builtins(entity) if entity is not None else {}}
        if self.patient is not None and self.patient is not entity:
            data["patient"] = msgspec.to_builtins(self.patient)
        if self.prior is not None:
            data["previous"] = msgspec.to_builtins(self.prior)
        if self.retired:
            data["retired"] = msgspec.to_builtins(self.retired)
        for name in ("encounter", "coverages", "account"):
            also = getattr(self, name)
            if also and also is not entity and self.kind in BEYOND:
                data[name] = msgspec.to_builtins(also)
        data["changed"] = list(self.changed)
        data["message"] = {"key": self.correlation_id, "type": self.trigger}
        return {key: value for key, value in envelope.items() if value != ""} | {"data": data}


def event_id(source: str, type_: str, n: int) -> str:
    """The same for the same message, type and place in it: uuid5 of `source|type|n`."""
    name = f"{source}|{type_}|{n}".encode()
    digest = bytearray(sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # RFC 4122 version 5, written out: half the time of uuid.uuid5
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def pseudonym(text: str, secret: bytes = b"") -> str:
    """A stable stand-in for an identifier: keyed BLAKE2b, 32 hex digits."""
    return blake2b(text.encode(), digest_size=16, key=secret).hexdigest()
