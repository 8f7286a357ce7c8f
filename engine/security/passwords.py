"""Passwords and other secrets of people: argon2id (RFC 9106), random tokens, one-time codes (RFC 6238).

Guarantees: a password is only kept as an argon2id hash with its own salt; checking one takes the same time whether
or not there is such a user; a one-time code is good once and for one step before or after now.
Refuses: passwords shorter than `SHORTEST` characters and the few that everybody tries (`UserError`).
"""

from __future__ import annotations

import base64
import re
import secrets

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from engine.errors import UserError

SHORTEST = 12  # characters (NIST SP 800-63B asks for at least 8, 15 without a second factor)
LONGEST = 1024
STEP = 30  # seconds that a one-time code is good for
_COMMON = ("password", "passwort", "123456", "qwert", "isthmus", "admin", "welcome", "letmein", "hospital")
TOTP = "[A-Z2-7]{32}"  # pattern of what `new_totp` makes: 160 bits in base32
_hasher = PasswordHasher()  # argon2id with the library's current parameters
_salt, _hash = (
    base64.b64encode(secrets.token_bytes(length)).decode().rstrip("=")
    for length in (_hasher.salt_len, _hasher.hash_len)
)
_NOBODY = (  # a hash that no password has, not computed: that takes 64 MiB, and engines import this
    f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}${_salt}${_hash}"
)


def hashed(password: str, name: str = "") -> str:
    """The argon2id hash to keep. UserError `password.weak` says what is wrong with it."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise UserError(
            f"a password has {SHORTEST} characters or more", code="password.weak", todo="take a sentence"
        )
    stripped = password.lower().strip("0123456789!?.-_ ")
    if stripped in _COMMON or len(set(password)) < 5 or (name and name.lower() == password.lower()):
        raise UserError(
            "this password is one that everybody tries", code="password.weak", todo="take a sentence"
        )
    return rehashed(password)


def rehashed(password: str) -> str:
    """The hash of a password that was good enough when it was set."""
    return _hasher.hash(password)


def matches(kept: str | None, password: str) -> bool:
    """Whether `password` is the one of the hash `kept`; None, of nobody, takes as long and is False."""
    try:
        return _hasher.verify(kept or _NOBODY, password[: LONGEST + 1]) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def outdated(kept: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(kept)


def new_secret() -> str:
    """A random text of 256 bits for cookies, tokens and set-up."""
    return secrets.token_urlsafe(32)


def new_totp() -> str:
    """The secret of a new second factor, base32."""
    return pyotp.random_base32()


def totp_address(secret: str, name: str) -> str:
    """The `otpauth:` address that an authenticator app reads."""
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name="Isthmus")


def totp_step(secret: str, code: str, seconds: float) -> int | None:
    """The number of the time step for which `code` is right, from the one before to the one after now; else None."""
    current = int(seconds) // STEP
    wanted = "".join(code.split()).encode("utf-8", "replace")
    if not re.fullmatch(TOTP, secret):
        return None
    totp = pyotp.TOTP(secret)
    for step in (current, current - 1, current + 1):
        if secrets.compare_digest(totp.at(step * STEP).encode(), wanted):
            return step
    return None
