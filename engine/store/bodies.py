"""Bodies: what was received and sent, compressed (zstd), then encrypted (AES-256-GCM), in one blob a row.

Guarantees: a body opens only at its own row (the id and the header are authenticated), so bodies cannot be
swapped; a blob says how it was made, so settings, keys and dictionaries may change at any time.
Refuses: a blob that was changed (`store.corrupt`), an unknown key (`store.key`).

A blob is flags (1 byte), key id (1), dictionary id (2, little-endian), then nonce and ciphertext, or the
plain content where encryption is off. Bodies that are written together (raw and ACK, request and response)
are packed into one blob: 4 bytes length of the first, the first, the second. Body ids are
message id * 4096 + slot * 16 + kind: slot 0 is the message itself, 1..255 its deliveries.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Protocol

import zstandard

from engine.errors import StoreError

LEVEL = 3
SMALL_LEVEL = 1  # a message of 1 KB gets no smaller at a higher level, only slower
SMALL = 16 * 1024  # bytes; below it zstd is given tables of a fitting size, which are cheaper to reset
PACKED, ENCRYPTED, COMPRESSED, DICTIONARY = 1, 2, 4, 8
MAX_SLOT = 255
_header = struct.Struct("<BBH")
_length = struct.Struct("<I")
_associated = struct.Struct("<BBHQ")


class Kind(IntEnum):
    """What a body is; part of its id."""

    RAW = 0  # as received, often with the ACK packed behind it
    ACK = 1  # an ACK that was made after C1
    PAYLOAD = 2  # what a destination sends: rendered at C2
    EXCHANGE = 3  # request and response of the last attempt, packed
    TEXT = 4  # anything else that people want to see


class Both(Protocol):
    """A message and its answer."""

    channel: str
    raw: bytes
    ack: bytes | None


class Keys(Protocol):
    """What the store needs of a key ring (engine.security.keyring)."""

    @property
    def current(self) -> int:
        """The id of the key that encrypts."""

    def encrypt(self, data: bytes, associated: bytes) -> bytes:
        """Sealed under the current key."""

    def decrypt(self, key_id: int, sealed: bytes, associated: bytes) -> bytes:
        """What was sealed; StoreError."""

    def blind(self, text: str) -> int:
        """Keyed signed 64-bit hash."""

    def digest(self, data: bytes) -> bytes:
        """Keyed 16-byte digest."""

    def fingerprints(self) -> dict[int, str]:
        """Key id -> what tells it from others."""

    def rotate(self) -> int:
        """A new current key; its id."""


def body_id(message_id: int, kind: Kind, slot: int = 0) -> int:
    """The row of a body."""
    return message_id << 12 | slot << 4 | kind


def pack(first: bytes, second: bytes) -> bytes:
    """Two bodies as one."""
    return _length.pack(len(first)) + first + second


def unpack(both: bytes) -> tuple[bytes, bytes]:
    """The two bodies of `pack`."""
    end = 4 + _length.unpack_from(both)[0]
    return both[4:end], both[end:]


class Codec:
    """Makes and reads blobs. One for each connection, used by one thread at a time."""

    def __init__(
        self, keys: Keys, db: sqlite3.Connection, *, encrypt: bool = True, compress: bool = True
    ) -> None:
        self.keys = keys
        self._db = db
        self._encrypt = encrypt
        self._compress = compress
        self._small = compressor(SMALL)
        self._large = compressor(0)
        self._plain = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
        self._decompressors: dict[int, zstandard.ZstdDecompressor] = {}
        self._compressors: dict[tuple[str, int], tuple[int, zstandard.ZstdCompressor]] = {}

    def use_dictionaries(self) -> None:
        """Read which dictionary is the newest of each channel and kind; call after opening and training."""
        rows = self._db.execute(
            "SELECT channel, kind, max(id) FROM dictionary GROUP BY channel, kind"
        ).fetchall()
        self._compressors = {
            (channel, kind): (number, compressor(SMALL, self._dictionary(number)))
            for channel, kind, number in rows
        }

    def seal(self, row: int, data: bytes, channel: str = "", flags: int = 0) -> bytes:
        """The blob for `data` at body id `row`."""
        number = 0
        if self._compress:
            size = len(data)
            if size > SMALL:
                smaller = self._large.compress(data)
            else:
                number, engine = self._compressors.get((channel, row & 15), (0, self._small))
                smaller = engine.compress(data)
            if len(smaller) < size:
                data = smaller
                flags |= COMPRESSED | DICTIONARY if number else COMPRESSED
            else:
                number = 0
        if not self._encrypt:
            return _header.pack(flags, 0, number) + data
        keys = self.keys
        key_id = keys.current
        flags |= ENCRYPTED
        sealed = keys.encrypt(data, _associated.pack(flags, key_id, number, row))
        return _header.pack(flags, key_id, number) + sealed

    def seal_received(self, first: int, news: Sequence[Both]) -> list[Any]:
        """What `seal` makes of each raw message with its answer, one after the other: body id, blob, id, blob …

        `first` is the id of the first message; the others follow it.
        """
        if not (self._compress and self._encrypt):
            found: list[Any] = []
            for row, new in enumerate(news, first):
                row <<= 12
                found += row, self.seal(row, pack(new.raw, new.ack or b""), new.channel, PACKED)
            return found
        compressors, small, keys = self._compressors, (0, self._small), self.keys
        encrypt, key_id = keys.encrypt, keys.current
        header, associated = _header.pack, _associated.pack
        found = []
        for message_id, new in enumerate(news, first):
            raw, ack = new.raw, new.ack or b""
            row = message_id << 12  # body_id(message_id, Kind.RAW)
            data = _length.pack(len(raw)) + raw + ack
            if len(data) > SMALL:
                found += row, self.seal(row, data, new.channel, PACKED)
                continue
            number, engine = compressors.get((new.channel, 0), small)
            smaller = engine.compress(data)
            if len(smaller) >= len(data):
                found += row, self.seal(row, data, new.channel, PACKED)
                continue
            flags = (
                PACKED | ENCRYPTED | COMPRESSED | DICTIONARY if number else PACKED | ENCRYPTED | COMPRESSED
            )
            found += (
                row, header(flags, key_id, number) + encrypt(smaller, associated(flags, key_id, number, row))
            )  # fmt: skip
        return found

    def open(self, row: int, blob: bytes) -> tuple[bytes, bytes]:
        """What the blob holds: the body, and the one packed behind it (or b"")."""
        try:
            flags, key_id, number = _header.unpack_from(blob)
            data = blob[4:]
            if flags & ENCRYPTED:
                data = self.keys.decrypt(key_id, data, _associated.pack(flags, key_id, number, row))
            if flags & COMPRESSED:
                engine = self._decompressor(number) if flags & DICTIONARY else self._plain
                data = engine.decompress(data)
            return unpack(data) if flags & PACKED else (data, b"")
        except (struct.error, zstandard.ZstdError):
            raise StoreError(
                f"body {row & 15} of message {row >> 12} is damaged",
                code="store.corrupt",
                todo="run `db check`; restore from a backup if it reports damage",
            ) from None

    def reseal(self, row: int, blob: bytes) -> bytes:
        """The same content under the current key (key rotation); not compressed again."""
        flags, key_id, number = _header.unpack_from(blob)
        data = blob[4:]
        if flags & ENCRYPTED:
            data = self.keys.decrypt(key_id, data, _associated.pack(flags, key_id, number, row))
        flags |= ENCRYPTED
        key_id = self.keys.current
        sealed = self.keys.encrypt(data, _associated.pack(flags, key_id, number, row))
        return _header.pack(flags, key_id, number) + sealed

    def _decompressor(self, number: int) -> zstandard.ZstdDecompressor:
        engine = self._decompressors.get(number)
        if engine is None:
            engine = zstandard.ZstdDecompressor(
                dict_data=self._dictionary(number), format=zstandard.FORMAT_ZSTD1_MAGICLESS
            )
            self._decompressors[number] = engine
        return engine

    def _dictionary(self, number: int) -> zstandard.ZstdCompressionDict:
        row = self._db.execute("SELECT data FROM dictionary WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise StoreError(f"compression dictionary {number} is missing", code="store.corrupt")
        return zstandard.ZstdCompressionDict(self.open(dictionary_row(number), row[0])[0])


def dictionary_row(number: int) -> int:
    """What a dictionary's blob is bound to: an id that no body has (kind 15)."""
    return number << 12 | 15


def compressor(
    source_size: int, dictionary: zstandard.ZstdCompressionDict | None = None
) -> zstandard.ZstdCompressor:
    """A zstd compressor for bodies of about this size (0: any), without magic number and dictionary id."""
    hint: dict[str, Any] = {"source_size": source_size} if source_size else {}
    parameters = zstandard.ZstdCompressionParameters.from_level(
        SMALL_LEVEL if source_size else LEVEL,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=1,
        write_dict_id=0,
        **hint,
    )
    return zstandard.ZstdCompressor(dict_data=dictionary, compression_params=parameters)
