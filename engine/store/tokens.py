"""API tokens: scope, expiry, rotation, last use.

Guarantees: of a secret only a keyed hash is kept; a token never may more than its user may now; one that was rotated
goes on with its name, rights and length of life, and the old secret ends when it is said to.
Refuses (UserError): users that are not there, tokens that are good no more.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from engine.clock import Micros
from engine.errors import UserError
from engine.security import passwords
from engine.security.roles import Grant, Identity, narrowed
from engine.store import users
from engine.store.tx import Tx

BEGIN = "ist_"  # what secrets begin with, so that scanners for leaked ones know them
_TOKENS = "id, name, user, grants, reveal, created_at, expires_at, used_at, revoked_at"


class Token(msgspec.Struct):
    """An API token, without its secret."""

    id: int
    name: str
    user: str
    grants: tuple[Grant, ...]
    reveal: bool
    created_at: Micros
    expires_at: Micros
    used_at: Micros | None
    revoked_at: Micros | None


def add(
    tx: Tx, user: str, name: str, grants: Iterable[Grant], expires_at: Micros, *, reveal: bool = False
) -> tuple[str, Token]:
    """A new token of a user: its secret, which is shown once, and the token."""
    users.known(tx, user)
    secret = BEGIN + passwords.new_secret()
    number = tx.execute(
        "INSERT INTO token (name, user, hash, grants, reveal, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, user, users.hashed(tx, secret), users.packed(grants), reveal, tx.now(), expires_at),
    ).lastrowid
    return secret, next(token for token in find(tx, user) if token.id == number)


def find(tx: Tx, user: str | None = None) -> list[Token]:
    """Tokens of a user, or of all; newest first."""
    rows = tx.rows(f"SELECT {_TOKENS} FROM token WHERE ?1 IS NULL OR user = ?1 ORDER BY id DESC", (user,))
    return [
        Token(number, name, owner, users.grants_of(grants), bool(reveal), *times)
        for number, name, owner, grants, reveal, *times in rows
    ]


def identity_of(tx: Tx, secret: str) -> tuple[Identity, bool] | None:
    """The rights of a token, and whether its last use should be written; None: it is not good."""
    now = tx.now()
    rows = tx.rows(
        f"SELECT {_TOKENS} FROM token WHERE hash = ? AND revoked_at IS NULL AND expires_at > ?",
        (users.hashed(tx, secret), now),
    )
    if not rows:
        return None
    number, _, owner, grants, reveal, _, _, used_at, _ = rows[0]
    user = users.get(tx, owner)
    if user is None or user.disabled:
        return None
    given = users.rights(tx, Identity(owner, users.grants_of(grants), bool(reveal))).grants
    found = narrowed(users.rights(tx, user.identity), given, bool(reveal), number)
    return found, now - (used_at or 0) > users.SEEN_EVERY


def used(tx: Tx, number: int) -> None:
    """A token was used now."""
    tx.execute("UPDATE token SET used_at = ? WHERE id = ?", (tx.now(), number))


def revoke(tx: Tx, number: int) -> None:
    """A token is good no more."""
    tx.execute("UPDATE token SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (tx.now(), number))


def rotate(tx: Tx, number: int, overlap: Micros = 0) -> tuple[str, Token]:
    """A new secret with the rights of a token that is good. The old one ends after `overlap`, or earlier by itself."""
    old = next((one for one in find(tx) if one.id == number), None)
    if old is None:
        raise UserError(f"there is no token {number}", code="token.unknown", todo="see the list of tokens")
    now = tx.now()
    if old.revoked_at or old.expires_at <= now:
        raise UserError(f"token {number} is good no more", code="token.ended", todo="make a new one")
    until = now + old.expires_at - old.created_at
    made = add(tx, old.user, old.name, old.grants, until, reveal=old.reveal)
    if overlap:
        tx.execute("UPDATE token SET expires_at = min(expires_at, ?) WHERE id = ?", (now + overlap, number))
    else:
        revoke(tx, number)
    return made
