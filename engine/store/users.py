"""Users of the console and the API, and their sessions.

Guarantees: passwords are argon2id hashes, cookies and tokens keyed hashes, second factors encrypted: the database
alone signs nobody in. The set-up token makes the first admin, once. A session ends after `IDLE` without use and
after `LIFETIME` in any case; whatever changes a user's rights or password ends their sessions. `TRIES` wrong
passwords lock the user for a while, longer each time.
Refuses (UserError): a second first admin, names that are taken, the last admin to go.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from engine.clock import Micros
from engine.errors import UserError
from engine.security import passwords
from engine.security.roles import TAG, Grant, Identity, Role, resolved
from engine.store import commands
from engine.store.tx import Tx

IDLE = 30 * 60 * 1_000_000  # microseconds without a request
LIFETIME = 12 * 3600 * 1_000_000
SEEN_EVERY = 60 * 1_000_000  # a session's last use is written this often
TRIES = 5  # wrong passwords before the first lock
LOCK = 60 * 1_000_000  # the first lock; doubled by each further wrong password, up to an hour
LONGEST_LOCK = 3600 * 1_000_000
SETUP = "console:setup"  # setting: keyed hash of the set-up token
_DEVICE = "device:"  # settings that begin so count the wrong passwords of a device
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")


class User(msgspec.Struct):
    """One user, without their secrets."""

    name: str
    grants: tuple[Grant, ...]
    reveal: bool
    disabled: bool
    locked_until: Micros
    created_at: Micros
    has_password: bool
    has_totp: bool

    @property
    def identity(self) -> Identity:
        """Their rights."""
        return Identity(self.name, () if self.disabled else self.grants, self.reveal and not self.disabled)


class Session(msgspec.Struct):
    """A signed-in browser."""

    user: User
    csrf: str


_USER = "name, grants, reveal, disabled, locked_until, created_at, password IS NOT NULL, totp IS NOT NULL"


def grants_of(text: str) -> tuple[Grant, ...]:
    """Grants as the store keeps them."""
    return msgspec.json.decode(text, type=tuple[Grant, ...])


def packed(grants: Iterable[Grant]) -> str:
    """The other way round."""
    return msgspec.json.encode(tuple(grants)).decode()


def _user(row: tuple[Any, ...]) -> User:
    name, grants, reveal, disabled, locked, created, password, totp = row
    return User(
        name, grants_of(grants), bool(reveal), bool(disabled), locked, created, bool(password), bool(totp)
    )


def everybody(tx: Tx) -> list[User]:
    """All users by name."""
    return [_user(row) for row in tx.rows(f"SELECT {_USER} FROM user ORDER BY name")]


def get(tx: Tx, name: str) -> User | None:
    """One user."""
    rows = tx.rows(f"SELECT {_USER} FROM user WHERE name = ?", (name,))
    return _user(rows[0]) if rows else None


# The first admin ------------------------------------------------------------------------------------------


def offer_setup(tx: Tx) -> str | None:
    """A new set-up token (an older one is good no more), or None when there is a user."""
    if tx.rows("SELECT 1 FROM user LIMIT 1"):
        return None
    secret = passwords.new_secret()
    tx.execute(
        "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (SETUP, hashed(tx, secret).hex())
    )
    return secret


def set_up(tx: Tx, secret: str, name: str, password_hash: str) -> User:
    """Make the first admin with the set-up token. UserError `setup.token` when it is not the right one."""
    kept = tx.rows("SELECT value FROM setting WHERE name = ?", (SETUP,))
    if not kept or kept[0][0] != hashed(tx, secret).hex() or tx.rows("SELECT 1 FROM user LIMIT 1"):
        raise UserError(
            "this set-up token is not good",
            code="setup.token",
            todo="take the one that the console printed last",
        )
    tx.execute("DELETE FROM setting WHERE name = ?", (SETUP,))
    return add(tx, name, password_hash, (Grant(Role.ADMIN),), reveal=True)


# Users ----------------------------------------------------------------------------------------------------


def add(
    tx: Tx, name: str, password_hash: str | None, grants: Iterable[Grant], *, reveal: bool = False
) -> User:
    """A new user. UserError `user.name` or `user.taken`."""
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be a user's name", code="user.name", todo="letters, digits, . _ @ + -"
        )
    if tx.rows("SELECT 1 FROM user WHERE name = ?", (name,)):
        raise UserError(f"there is a user {name!r} already", code="user.taken")
    now = tx.now()
    tx.execute(
        "INSERT INTO user (name, password, grants, reveal, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?)",
        (name, password_hash, packed(grants), reveal, now, now),
    )
    found = get(tx, name)
    assert found is not None
    return found


def change(tx: Tx, name: str, **changes: Any) -> User:
    """Change `grants`, `reveal`, `disabled` or `password` (a hash) of a user; their sessions end.

    UserError `user.unknown`, or `user.last_admin` when nobody would be left who may manage users.
    """
    known(tx, name)
    for key, value in changes.items():
        kept = packed(value) if key == "grants" else value
        tx.execute(f"UPDATE user SET {key} = ?, changed_at = ? WHERE name = ?", (kept, tx.now(), name))
    if "password" in changes:
        unlock(tx, name)
    _keep_an_admin(tx)
    end_sessions(tx, name)
    return known(tx, name)


def remove(tx: Tx, name: str) -> None:
    """Delete a user, with their sessions, tokens and saved searches."""
    known(tx, name)
    for table, column in (("user", "name"), ("session", "user"), ("token", "user"), ("saved_search", "user")):
        tx.execute(f"DELETE FROM {table} WHERE {column} = ?", (name,))
    tx.execute("DELETE FROM setting WHERE name LIKE 'oidc:%' AND value = ?", (name,))
    tx.execute("DELETE FROM setting WHERE name = ?", (f"totp:{name}",))
    _keep_an_admin(tx)


def known(tx: Tx, name: str) -> User:
    """A user who is there. UserError `user.unknown`."""
    found = get(tx, name)
    if found is None:
        raise UserError(f"there is no user {name!r}", code="user.unknown")
    return found


def _keep_an_admin(tx: Tx) -> None:
    if not any(user.identity.may(Role.ADMIN) for user in everybody(tx)):
        raise UserError(
            "nobody would be left who may manage users",
            code="user.last_admin",
            todo="make another admin first",
        )


def rights(tx: Tx, identity: Identity) -> Identity:
    """The identity with the channels that have its tags, as the engine told them last."""
    if not any(name.startswith(TAG) for grant in identity.grants for name in grant.channels):
        return identity
    tags: dict[str, set[str]] = {}
    told = (commands.engine_status(tx) or {}).get("status") or {}
    for channel, status in told.get("channels", {}).items():
        for tag in status.get("tags", ()):
            tags.setdefault(tag, set()).add(channel)
    return resolved(identity, tags)


# Users of sign-in providers -------------------------------------------------------------------------------


def of_provider(tx: Tx, owner: str) -> str | None:
    """The name of the user who is `owner` (provider and subject) elsewhere."""
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (f"oidc:{hashed(tx, owner).hex()}",))
    return rows[0][0] if rows else None


def bind(tx: Tx, name: str, owner: str) -> None:
    """The user is `owner` elsewhere from now on."""
    tx.execute(
        "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)",
        (f"oidc:{hashed(tx, owner).hex()}", name),
    )


# Signing in -----------------------------------------------------------------------------------------------


class Secrets(msgspec.Struct):
    """What is needed to check a sign-in outside of a transaction."""

    user: User | None
    password: str | None
    totp: str | None
    locked: bool


def secrets_of(tx: Tx, name: str, device: str = "") -> Secrets:
    """The hash and second factor of a user; of an unknown one: nothing, which `passwords.matches` refuses.

    Who is locked still comes in with a `device` that they signed in on before.
    """
    rows = tx.rows(f"SELECT password, totp, {_USER} FROM user WHERE name = ?", (name,))
    if not rows:
        return Secrets(None, None, None, False)
    password, totp, *columns = rows[0]
    user = _user(tuple(columns))
    factor = _open(tx, name, totp) if totp else None
    locked = user.locked_until > tx.now() and not _trusted(tx, name, device)
    return Secrets(user, password, factor, locked)


def failed(tx: Tx, name: str, device: str = "") -> Micros:
    """Count a wrong password, of a device that is trusted apart. Gives until when the user is locked; 0: not locked."""
    if _trusted(tx, name, device):
        tx.execute(
            "INSERT INTO setting (name, value) VALUES (?, '1') ON CONFLICT (name) DO UPDATE SET value = value + 1",
            (_DEVICE + hashed(tx, device).hex(),),
        )
        return 0
    rows = tx.rows("UPDATE user SET failures = failures + 1 WHERE name = ? RETURNING failures", (name,))
    over = rows[0][0] - TRIES if rows else -1
    if over < 0:
        return 0
    until = tx.now() + int(min(LOCK << min(over, 10), LONGEST_LOCK))
    tx.execute("UPDATE user SET locked_until = ? WHERE name = ?", (until, name))
    return until


def sign_in(
    tx: Tx, name: str, address: str, totp_step: int | None = None, before: str = ""
) -> tuple[str, Session]:
    """A new session of a user whose secrets were right: the cookie and the session. That of the cookie `before` ends.

    `totp_step` is the one-time code's: the same code never signs in twice (UserError `totp.used`).
    """
    user = known(tx, name)
    if totp_step is not None:
        use_code(tx, name, totp_step)
    sign_out(tx, before)
    unlock(tx, name)
    cookie, csrf, now = passwords.new_secret(), passwords.new_secret(), tx.now()
    tx.execute("DELETE FROM session WHERE seen_at < ? OR created_at < ?", (now - IDLE, now - LIFETIME))
    tx.execute(
        "INSERT INTO session (id, user, csrf, created_at, seen_at, address) VALUES (?, ?, ?, ?, ?, ?)",
        (hashed(tx, cookie), name, csrf, now, now, address),
    )
    return cookie, Session(user, csrf)


def device_of(tx: Tx, name: str, before: str = "") -> str:
    """What a browser keeps on which a user signed in, in place of the one from `before`.

    With it they come in although others lock their name (OWASP: Slow Down Online Guessing Attacks with Device Cookies).
    """
    tx.execute("DELETE FROM setting WHERE name = ?", (_DEVICE + hashed(tx, before).hex(),))
    nonce = passwords.new_secret()
    return f"{nonce}.{_signed(tx, name, nonce)}"


def _signed(tx: Tx, name: str, nonce: str) -> str:
    return tx.digest(f"device\0{name}\0{nonce}".encode("utf-8", "replace")).hex()


def _trusted(tx: Tx, name: str, device: str) -> bool:
    """Whether the user signed in there, and less than `TRIES` passwords were wrong there since."""
    nonce, _, signature = device.partition(".")
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _signed(tx, name, nonce).encode()):
        return False
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (_DEVICE + hashed(tx, device).hex(),))
    return not rows or int(rows[0][0]) < TRIES


def session(tx: Tx, cookie: str) -> tuple[Session, bool] | None:
    """The session of a cookie, and whether its last use should be written (`seen`); None: it is not good."""
    now = tx.now()
    rows = tx.rows(
        f"SELECT csrf, seen_at, {_USER} FROM session JOIN user ON name = session.user".replace(
            "created_at", "user.created_at"
        )
        + " WHERE id = ? AND seen_at >= ? AND session.created_at >= ? AND NOT disabled",
        (hashed(tx, cookie), now - IDLE, now - LIFETIME),
    )
    if not rows:
        return None
    csrf, seen_at, *columns = rows[0]
    return Session(_user(tuple(columns)), csrf), now - seen_at > SEEN_EVERY


def seen(tx: Tx, cookie: str) -> None:
    """A session was used now."""
    tx.execute("UPDATE session SET seen_at = ? WHERE id = ?", (tx.now(), hashed(tx, cookie)))


def sign_out(tx: Tx, cookie: str) -> None:
    """End one session."""
    tx.execute("DELETE FROM session WHERE id = ?", (hashed(tx, cookie),))


def end_sessions(tx: Tx, name: str) -> None:
    """End all sessions of a user."""
    tx.execute("DELETE FROM session WHERE user = ?", (name,))


def unlock(tx: Tx, name: str) -> None:
    """Let a user try again at once."""
    known(tx, name)
    tx.execute("UPDATE user SET failures = 0, locked_until = 0 WHERE name = ?", (name,))


def use_code(tx: Tx, name: str, step: int) -> None:
    """A one-time code was given: it is good no more (UserError `totp.used` when it was before)."""
    setting = f"totp:{name}"
    last = tx.rows("SELECT value FROM setting WHERE name = ?", (setting,))
    if last and int(last[0][0]) >= step:
        raise UserError("this code was used already", code="totp.used", todo="wait for the next one")
    tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (setting, str(step)))


def set_totp(tx: Tx, name: str, secret: str | None, step: int | None = None) -> None:
    """Give a user a second factor, or take it away. `step` of the code that was shown with it: it is used up."""
    known(tx, name)
    if step is not None:
        use_code(tx, name, step)
    sealed = None if secret is None else _seal(tx, name, secret)
    tx.execute("UPDATE user SET totp = ?, changed_at = ? WHERE name = ?", (sealed, tx.now(), name))


def _seal(tx: Tx, name: str, secret: str) -> bytes:
    keys = tx.codec.keys
    return bytes([keys.current]) + keys.encrypt(secret.encode(), bound(name))


def _open(tx: Tx, name: str, sealed: bytes) -> str:
    return tx.codec.keys.decrypt(sealed[0], sealed[1:], bound(name)).decode()


def bound(name: str) -> bytes:
    """What the secret of a second factor is bound to."""
    return b"totp:" + name.encode()


def hashed(tx: Tx, secret: str) -> bytes:
    """What is kept of a secret."""
    return tx.digest(b"secret\0" + secret.encode("utf-8", "replace"))
