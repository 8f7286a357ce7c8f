"""Answers of the API to requests that carry an Idempotency-Key, so that a repeated request is not done again.

Guarantees: of two requests with one key at the same time one is done; an answer is kept encrypted for `KEPT`; the key
belongs to who sent it. Refuses (UserError): `idempotency.other` a key that named another request, `idempotency.busy`
one whose first request is still being worked on.
"""

from __future__ import annotations

from engine.clock import Micros
from engine.errors import UserError
from engine.store.tx import Tx

KEPT: Micros = 24 * 3600 * 1_000_000  # microseconds
GIVEN_UP: Micros = 10 * 60 * 1_000_000  # a request that was begun so long ago died with its console


def begin(tx: Tx, who: str, key: str, request: bytes) -> bytes | None:
    """Claim the key for a request; the answer when it has one already."""
    now, digest, asked = tx.now(), _digest(tx, who, key), tx.digest(b"request\0" + request)
    tx.execute("DELETE FROM answered WHERE at < ?", (now - KEPT,))
    tx.execute(
        "DELETE FROM answered WHERE digest = ? AND answer IS NULL AND at < ?", (digest, now - GIVEN_UP)
    )
    rows = tx.rows("SELECT request, answer FROM answered WHERE digest = ?", (digest,))
    if not rows:
        tx.execute("INSERT INTO answered (digest, request, at) VALUES (?, ?, ?)", (digest, asked, now))
        return None
    before, sealed = rows[0]
    if before != asked:
        raise UserError(
            "this Idempotency-Key was used for another request",
            code="idempotency.other",
            todo="make a new one",
        )
    if sealed is None:
        raise UserError(
            "the first request with this Idempotency-Key is still being worked on", code="idempotency.busy",
            todo="ask again in a moment",
        )  # fmt: skip
    return tx.codec.keys.decrypt(sealed[0], sealed[1:], bound(digest))


def end(tx: Tx, who: str, key: str, answer: bytes | None) -> None:
    """Keep the answer; None: it is not worth keeping, the request may be done again."""
    digest, keys = _digest(tx, who, key), tx.codec.keys
    if answer is None:
        tx.execute("DELETE FROM answered WHERE digest = ?", (digest,))
        return
    sealed = bytes([keys.current]) + keys.encrypt(answer, bound(digest))
    tx.execute("UPDATE answered SET answer = ? WHERE digest = ?", (sealed, digest))


def bound(digest: bytes) -> bytes:
    """What an answer is bound to."""
    return b"answer" + digest


def _digest(tx: Tx, who: str, key: str) -> bytes:
    return tx.digest(f"answered\0{who}\0{key}".encode("utf-8", "replace"))
