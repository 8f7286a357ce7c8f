"""The last state of each resource that a channel was told of: written with C2, in the transaction of the outcome.

Guarantees: a state is there when the message that told it is routed, and not before; an older message never writes
over what a newer one told; content is encrypted, and not kept where the channel's storage level keeps none, nor of
what was deleted. It stays as long as the resource, whatever the retention of messages. Of what was only met, because
another resource referred to it, that is all that is kept: its state is unknown, and its deletion can be found.
Refuses: a blob that was changed (`store.corrupt`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from engine.clock import Micros
from engine.store.tx import Tx

MET = -1  # in place of a message: another resource referred to it
SURE = 0  # the same, and it was looked for since


class Snapshot(msgspec.Struct):
    """What a message told of one resource."""

    reference: str  # Type/id
    version: str = ""  # meta.versionId
    updated_at: Micros = 0  # meta.lastUpdated; 0: the server did not say
    deleted: bool = False
    data: bytes = b""  # the resource; empty when it is not kept
    message_id: int = 0


def get(tx: Tx, channel: str, reference: str) -> Snapshot | None:
    """What is known of a resource."""
    digest = _digest(tx, channel, reference)
    row = tx.execute(
        "SELECT version, updated_at, deleted, data, message_id FROM snapshot WHERE digest = ?", (digest,)
    ).fetchone()
    if row is None or row[4] <= SURE:
        return None
    version, updated_at, deleted, blob, message_id = row
    data = b"" if blob is None else tx.codec.open(place(digest), blob)[0]
    return Snapshot(reference, version, updated_at, bool(deleted), data, message_id)


def put(tx: Tx, channel: str, told: Snapshot) -> None:
    """Within C2: what this message told, unless a newer message did meanwhile."""
    digest = _digest(tx, channel, told.reference)
    blob = None
    if told.data and not told.deleted and channel not in tx.levels:
        blob = tx.codec.seal(place(digest), told.data)
    tx.execute(
        "INSERT INTO snapshot (digest, channel, message_id, version, updated_at, deleted, data)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET message_id = excluded.message_id,"
        " version = excluded.version, updated_at = excluded.updated_at, deleted = excluded.deleted,"
        " data = excluded.data WHERE excluded.message_id >= snapshot.message_id",
        (digest, channel, told.message_id, told.version, told.updated_at, told.deleted, blob),
    )


def meet(tx: Tx, channel: str, reference: str) -> None:
    """Within C2: a message referred to this resource, which was read for it."""
    digest = _digest(tx, channel, reference)
    kind, _, id_ = reference.partition("/")
    blob = tx.codec.seal(place(digest), msgspec.json.encode({"resourceType": kind, "id": id_}))
    tx.execute(
        "INSERT INTO snapshot (digest, channel, message_id, version, updated_at, deleted, data)"
        " VALUES (?, ?, ?, '', 0, 0, ?) ON CONFLICT (digest) DO NOTHING",
        (digest, channel, MET, blob),
    )


def heard(tx: Tx, channel: str, reference: str, version: str) -> str:
    """What a channel heard of a resource, messages that are not routed yet included.

    `same`: that version; `deleted`: that it is gone, and nothing since; `other`: something; "": nothing.
    """
    row = tx.execute(
        "SELECT version, deleted FROM snapshot WHERE digest = ?", (_digest(tx, channel, reference),)
    ).fetchone()
    if version:
        if row is not None and row[0] == version and not row[1]:
            return "same"
        known = tx.execute(
            "SELECT 1 FROM message WHERE control_id = ? AND control_id <> '' AND channel = ?",
            (f"{reference}/_history/{version}", channel),
        ).fetchone()
        if known is not None and (row is None or not row[1]):
            return "same"
    if row is not None:
        return "deleted" if row[1] else "other"
    first = f"{reference}/"
    found = tx.execute(
        "SELECT 1 FROM message WHERE control_id >= ? AND control_id < ? AND control_id <> '' AND channel = ?",
        (first, first[:-1] + "0", channel),
    ).fetchone()
    return "other" if found is not None else ""


class Held:
    """The resources that one channel was told of and not of their deletion, by digest: `engine.fhirserver.absent`."""

    def __init__(self, tx: Tx, channel: str, write: Callable[[Callable[[Tx], Any]], Deferred[Any]]) -> None:
        """`tx` reads; `write` has the writer do something."""
        self._tx = tx
        self._channel = channel
        self._write = write

    def key(self, reference: str) -> bytes:
        """The digest of `Patient/1`."""
        return _digest(self._tx, self._channel, reference)

    def after(self, key: bytes, limit: int = 500) -> list[bytes]:
        """The next digests behind this one, in order."""
        rows = self._tx.rows(
            "SELECT digest FROM snapshot WHERE channel = ? AND digest > ? AND NOT deleted ORDER BY digest LIMIT ?",
            (self._channel, key, limit),
        )
        return [row[0] for row in rows]

    def met(self, limit: int = 500) -> list[bytes]:
        """Digests of what was only met, and not looked for since."""
        rows = self._tx.rows(
            "SELECT digest FROM snapshot WHERE channel = ? AND message_id < 0 LIMIT ?", (self._channel, limit)
        )
        return [row[0] for row in rows]

    def looked_for(self, keys: Collection[bytes]) -> Deferred[Any]:
        """These were looked for. Fires when that is durable."""
        rows = [(SURE, key) for key in keys]
        return self._write(
            lambda tx: tx.executemany(
                "UPDATE snapshot SET message_id = ? WHERE digest = ? AND message_id < 0", rows
            )
        )

    def name(self, key: bytes) -> tuple[str, str]:
        """Reference and version; empty where neither the resource is kept nor the message that told it."""
        row = self._tx.execute(
            "SELECT s.version, s.data, m.control_id FROM snapshot AS s LEFT JOIN message AS m ON m.id = s.message_id"
            " WHERE s.digest = ? AND NOT s.deleted",
            (key,),
        ).fetchone()
        if row is None:
            return "", ""
        version, blob, control_id = row
        reference = (control_id or "").partition("/_history/")[0]
        if self.key(reference) != key and blob is not None:
            told = msgspec.json.decode(self._tx.codec.open(place(key), blob)[0])
            reference = f"{told['resourceType']}/{told['id']}"
        return (reference, version) if self.key(reference) == key else ("", "")


def place(digest: bytes) -> int:
    """What the blob of a row is bound to."""
    return int.from_bytes(digest[:8], "big") >> 1 << 1


def _digest(tx: Tx, channel: str, reference: str) -> bytes:
    return tx.digest(f"snapshot\0{channel}\0{reference}".encode("utf-8", "replace"))
