"""The keys that bodies are encrypted with and identifiers are blinded with.

Guarantees: AES-256-GCM with a nonce that no key ever sees twice; a key file that only its owner can read;
old keys stay readable after `rotate`; `blind` and `digest` are keyed, so what they leave in the database says
nothing about a patient without the key file.
Refuses: a key file that others can read, a damaged one, and making a new one beside an existing database.

Nonce (NIST SP 800-38D, 8.2.1): 64 random bits drawn per process (and again after a fork and every 2^32
bodies) and a 32-bit counter. Purely random 96-bit nonces would be at their safe limit after 2^32 bodies, a
year at 150 bodies a second; a counter kept in the database would repeat itself after a restored backup.
"""

from __future__ import annotations

import base64
import json
import os
import struct
from collections.abc import Container
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.errors import StoreError

KEY_BYTES = 32
NONCE_BYTES = 12
MAX_KEYS = 255
_FINGERPRINT = b"isthmus key fingerprint"
_pack_counter = struct.Struct(">I").pack
_unpack_signed = struct.Struct(">q").unpack


class Keyring:
    """Keys by id (1..255), the current one for new bodies, and the key of the blind index."""

    def __init__(self, keys: dict[int, bytes], current: int, blind_key: bytes, path: Path | None = None):
        self.path = path
        self.current = current
        self._keys = dict(keys)
        self._blind_key = blind_key
        self._blinding = blake2b(
            digest_size=8, key=blind_key
        )  # copied for each text: the key is mixed in once
        self._digesting = blake2b(digest_size=16, key=blind_key, person=b"isthmus digest")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._cipher = self._ciphers[current]
        self._new_prefix()
        os.register_at_fork(after_in_child=self._new_prefix)

    def _new_prefix(self) -> None:
        self._prefix = os.urandom(NONCE_BYTES - 4)
        self._counter = count()

    @classmethod
    def generate(cls, path: Path | None = None) -> Keyring:
        """A ring with one new random key; nothing is written."""
        return cls({1: os.urandom(KEY_BYTES)}, 1, os.urandom(KEY_BYTES), path)

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        """Nonce and ciphertext under the current key, bound to `associated`."""
        number = next(self._counter)
        if number >= 1 << 32:
            self._new_prefix()
            number = next(self._counter)
        nonce = self._prefix + _pack_counter(number)
        return nonce + self._cipher.encrypt(nonce, data, associated)

    def decrypt(self, key_id: int, sealed: bytes, associated: bytes) -> bytes:
        """What `encrypt` was given. StoreError `store.key` (unknown key) or `store.corrupt` (altered)."""
        cipher = self._ciphers.get(key_id) or self._newer(key_id)
        if cipher is None:
            raise StoreError(
                f"a body is encrypted with key {key_id}, which the key file does not hold",
                code="store.key",
                todo="restore the key file that belongs to this database",
            )
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except InvalidTag:
            raise StoreError(
                "a body cannot be decrypted: it was changed, or belongs to another row",
                code="store.corrupt",
                todo="run `db check`; restore from a backup if it reports damage",
            ) from None

    def _newer(self, key_id: int) -> AESGCM | None:
        """A key that another process made since this ring was read (rotation)."""
        if self.path is None or not self.path.exists():
            return None
        again = load(self.path)
        if again.fingerprints()[0] == self.fingerprints()[0]:
            for new in again._keys.keys() - self._keys.keys():
                self._keys[new], self._ciphers[new] = again._keys[new], again._ciphers[new]
        return self._ciphers.get(key_id)

    def drop(self, keys: Container[int]) -> None:
        """Forget old keys, in the file too; never the current one."""
        kept = {
            key_id: key for key_id, key in self._keys.items() if key_id == self.current or key_id not in keys
        }
        if self.path is not None:
            _save(self.path, kept, self.current, self._blind_key)
        self._keys = kept
        self._ciphers = {key_id: self._ciphers[key_id] for key_id in kept}

    def blind(self, text: str) -> int:
        """The keyed 64-bit index value of an identifier: equal texts give equal numbers, and no way back."""
        hashed = self._blinding.copy()
        hashed.update(text.encode("utf-8", "surrogatepass"))
        value: int = _unpack_signed(hashed.digest())[0]
        return value

    def digest(self, data: bytes) -> bytes:
        """A keyed 16-byte digest, to tell whether two messages have the same bytes."""
        digested = self._digesting.copy()
        digested.update(data)
        return digested.digest()

    def fingerprints(self) -> dict[int, str]:
        """Key id -> what the store may keep to notice a wrong key file; id 0 is the blind key."""
        everything = {0: self._blind_key, **self._keys}
        return {
            key_id: blake2b(_FINGERPRINT, digest_size=8, key=key).hexdigest()
            for key_id, key in everything.items()
        }

    def rotate(self) -> int:
        """Make a new key for new bodies, keep the old ones, and save the file. Gives the new key id."""
        new = max(self._keys) + 1
        if new > MAX_KEYS:
            raise StoreError("the key file is full (255 keys)", code="store.key", todo="start a new database")
        keys = {**self._keys, new: os.urandom(KEY_BYTES)}
        if self.path is not None:
            _save(self.path, keys, new, self._blind_key)
        self._keys = keys
        self._ciphers[new] = self._cipher = AESGCM(keys[new])
        self.current = new
        return new

    def save(self) -> None:
        """Write the key file, readable by its owner only, atomically."""
        if self.path is None:
            raise StoreError("this key ring has no file", code="store.key")
        _save(self.path, self._keys, self.current, self._blind_key)


def key_path(data_dir: Path) -> Path:
    """Where the key file is: ISTHMUS_KEY_FILE, or `isthmus.key` in the data folder."""
    named = os.environ.get("ISTHMUS_KEY_FILE")
    return Path(named) if named else data_dir / "isthmus.key"


def open_keyring(data_dir: Path) -> Keyring:
    """The key ring of a data folder; made at first start, and never beside an existing database."""
    path = key_path(data_dir)
    if path.exists():
        return load(path)
    if (data_dir / "isthmus.db").exists():
        raise StoreError(
            "the key file of this database is missing",
            code="store.key",
            where=str(path),
            todo="put the key file back, or name it in ISTHMUS_KEY_FILE; without it bodies cannot be read",
        )
    ring = Keyring.generate(path)
    ring.save()
    return ring


def load(path: Path) -> Keyring:
    """Read a key file. StoreError `store.key` when it is open to others, damaged or not readable."""
    try:
        if path.stat().st_mode & 0o077:
            raise StoreError(
                "others may read the key file", code="store.key", where=str(path), todo="chmod 600 it"
            )
        content: Any = json.loads(path.read_bytes())
        keys = {int(key_id): base64.b64decode(key, validate=True) for key_id, key in content["keys"].items()}
        blind_key = base64.b64decode(content["blind"], validate=True)
        current = int(content["current"])
    except OSError as error:
        raise StoreError(
            f"the key file cannot be read: {error.strerror}", code="store.key", where=str(path)
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path) from None
    sizes_right = all(len(key) == KEY_BYTES for key in [*keys.values(), blind_key])
    ids_right = current in keys and all(0 < key_id <= MAX_KEYS for key_id in keys)
    if not (sizes_right and ids_right):
        raise _damaged(path)
    return Keyring(keys, current, blind_key, path)


def _damaged(path: Path) -> StoreError:
    return StoreError(
        "this is not a key file, or it is damaged",
        code="store.key",
        where=str(path),
        todo="restore it from a backup",
    )


def _save(path: Path, keys: dict[int, bytes], current: int, blind_key: bytes) -> None:
    content = {
        "current": current,
        "keys": {str(key_id): base64.b64encode(key).decode() for key_id, key in keys.items()},
        "blind": base64.b64encode(blind_key).decode(),
    }
    try:
        _replace(path, json.dumps(content, indent=1).encode())
    except OSError as error:
        raise StoreError.of(error, "the key file") from None


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
