"""Looking after a store: compression dictionaries, key rotation, checks.

Guarantees: a dictionary is used only when it makes unseen bodies at least a tenth smaller; it is stored
encrypted, for it is made of message content; old bodies stay readable through every change.
Training reads and computes on the caller's thread (a tenth of a second): give it a reader of its own.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import zstandard

from engine.errors import StoreError
from engine.store import answered, commands, users
from engine.store.bodies import ENCRYPTED, PACKED, SMALL, Kind, body_id, compressor, dictionary_row, pack
from engine.store.snapshots import place
from engine.store.sqlite import classify
from engine.store.store import write_fingerprints
from engine.store.tx import Tx
from engine.store.versions import files_row

SAMPLES = 200
DICTIONARY_BYTES = 8192
WORTH = 0.9  # of the size without the dictionary
REENCRYPTION = "reencryption"
"""The setting that holds how far a re-encryption has come."""
UNDER_WAY = StoreError(
    "bodies are still being encrypted with the new key",
    code="store.rotating",
    todo="wait until `status` says so no more",
)


class Trained(msgspec.Struct):
    """A dictionary that pays: sizes in bytes over the bodies that were held back."""

    channel: str
    kind: int
    data: bytes
    plain: int
    smaller: int


def train(tx: Tx, channel: str, kind: Kind = Kind.RAW, samples: int = SAMPLES) -> Trained | None:
    """Make a dictionary of the newest bodies of a channel; None when there are too few or it does not pay.

    Four fifths are trained on and one fifth is measured.
    """
    bodies = _samples(tx, channel, kind, samples)
    if len(bodies) < samples:
        return None
    held_back = bodies[::5]
    learnt = [body for number, body in enumerate(bodies) if number % 5]
    try:
        dictionary = zstandard.train_dictionary(DICTIONARY_BYTES, [*learnt], level=3)
    except zstandard.ZstdError:  # too much alike, or too small to learn from
        return None
    without, having = compressor(SMALL), compressor(SMALL, dictionary)
    plain = sum(len(without.compress(body)) for body in held_back)
    smaller = sum(len(having.compress(body)) for body in held_back)
    if smaller > WORTH * plain:
        return None
    return Trained(channel, kind, dictionary.as_bytes(), plain, smaller)


def _samples(tx: Tx, channel: str, kind: Kind, samples: int) -> list[bytes]:
    if kind in (Kind.PAYLOAD, Kind.EXCHANGE):
        rows = tx.rows(
            "SELECT message_id, slot FROM delivery WHERE channel = ? ORDER BY message_id DESC LIMIT ?",
            (channel, samples),
        )
    else:
        rows = tx.rows(
            "SELECT id, 0 FROM message WHERE channel = ? ORDER BY id DESC LIMIT ?", (channel, samples)
        )
    bodies = []
    for message_id, slot in rows:
        row = body_id(message_id, kind, slot)
        found = tx.rows("SELECT data FROM body WHERE id = ?", (row,))
        if found and len(found[0][0]) <= SMALL:
            both = tx.codec.open(row, found[0][0])
            bodies.append(pack(*both) if found[0][0][0] & PACKED else both[0])
    return bodies


def save_dictionary(tx: Tx, trained: Trained, bodies: int = 0) -> int:
    """Keep a dictionary, made when there had been so many `bodies`.

    The writer compresses with it from the next opening or `use_dictionaries`.
    """
    values = (trained.channel, trained.kind, tx.now(), bodies)
    number = tx.execute(
        "INSERT INTO dictionary (channel, kind, made_at, bodies, data) VALUES (?, ?, ?, ?, x'')", values
    ).lastrowid
    assert number is not None
    blob = tx.codec.seal(dictionary_row(number), trained.data)
    tx.execute("UPDATE dictionary SET data = ? WHERE id = ?", (blob, number))
    return number


def reencrypt(tx: Tx, after: str = "0", limit: int = 500) -> str | None:
    """Put the next `limit` rows under the current key. Gives where to go on, None when all are done.

    First second factors, kept answers, dictionaries and the history of configurations (`0`), then snapshots (`s` and
    the digest of the last one), then bodies (id of the last one). After these the old keys are not needed any more.
    """
    if after == "0":
        write_fingerprints(tx.db, tx.codec.keys)
        _reseal(tx, "user", "name", "totp", users.bound)
        _reseal(tx, "answered", "digest", "answer", answered.bound)
        for number, blob in tx.rows("SELECT id, data FROM dictionary"):
            again = tx.codec.reseal(dictionary_row(number), blob)
            tx.execute("UPDATE dictionary SET data = ? WHERE id = ?", (again, number))
        for number, blob in tx.rows("SELECT id, files FROM config WHERE files IS NOT NULL"):
            again = tx.codec.reseal(files_row(number), blob)
            tx.execute("UPDATE config SET files = ? WHERE id = ?", (again, number))
        return "s"
    if after.startswith("s"):
        states = tx.rows(
            "SELECT digest, data FROM snapshot WHERE digest > ? AND data IS NOT NULL ORDER BY digest LIMIT ?",
            (bytes.fromhex(after[1:]), limit),
        )
        changed = [(tx.codec.reseal(place(row), blob), row) for row, blob in states if _old(tx, blob)]
        tx.executemany("UPDATE snapshot SET data = ? WHERE digest = ?", changed)
        return f"s{states[-1][0].hex()}" if len(states) == limit else "-1"
    rows = tx.rows("SELECT id, data FROM body WHERE id > ? ORDER BY id LIMIT ?", (int(after), limit))
    tx.executemany(
        "UPDATE body SET data = ? WHERE id = ?",
        [(tx.codec.reseal(row, blob), row) for row, blob in rows if _old(tx, blob)],
    )
    return str(rows[-1][0]) if len(rows) == limit else None


def _reseal(tx: Tx, table: str, key: str, column: str, bound: Callable[[Any], bytes]) -> None:
    """What begins with the id of its key, and is no blob of a body."""
    keys = tx.codec.keys
    for name, sealed in tx.rows(f"SELECT {key}, {column} FROM {table} WHERE {column} IS NOT NULL"):
        with contextlib.suppress(StoreError):  # its key is gone already
            content = keys.decrypt(sealed[0], sealed[1:], bound(name))
            again = bytes([keys.current]) + keys.encrypt(content, bound(name))
            tx.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (again, name))


def _old(tx: Tx, blob: bytes) -> bool:
    """Not under the current key."""
    return blob[1] != tx.codec.keys.current or not blob[0] & ENCRYPTED


def begin_reencryption(tx: Tx) -> None:
    """Before a new key is made: remember that old bodies are to be encrypted again. Refuses a second one."""
    if reencrypting(tx) is not None:
        raise UNDER_WAY
    tx.execute("INSERT INTO setting (name, value) VALUES (?, '0')", (REENCRYPTION,))


def reencrypting(tx: Tx) -> str | None:
    """How far the re-encryption under way has come (`reencrypt`); None when there is none."""
    row = tx.execute("SELECT value FROM setting WHERE name = ?", (REENCRYPTION,)).fetchone()
    return str(row[0]) if row else None


def reencrypt_next(tx: Tx, limit: int) -> int:
    """The next rows of the re-encryption under way, and how far it came, in one. Gives the rows changed."""
    after = reencrypting(tx)
    if after is None:
        return 0
    before = tx.db.total_changes
    upto = reencrypt(tx, after, limit)
    changed = tx.db.total_changes - before
    if upto is None:
        tx.execute("DELETE FROM setting WHERE name = ?", (REENCRYPTION,))
        tx.event("key.reencrypted", detail=f"key {tx.codec.keys.current}")
    else:
        tx.execute("UPDATE setting SET value = ? WHERE name = ?", (upto, REENCRYPTION))
    return changed


def keys_in_use(tx: Tx) -> set[int]:
    """Keys that anything is encrypted with. Reads every body's first bytes: takes its time."""
    heads = tx.rows(
        "SELECT DISTINCT hex(substr(data, 1, 2)) FROM body UNION SELECT hex(substr(data, 1, 2)) FROM dictionary"
        " UNION SELECT hex(substr(files, 1, 2)) FROM config WHERE files IS NOT NULL"
        " UNION SELECT hex(substr(data, 1, 2)) FROM snapshot WHERE data IS NOT NULL"
    )
    found = [bytes.fromhex(row[0]) for row in heads]
    plain = tx.rows(
        "SELECT substr(totp, 1, 1) FROM user WHERE totp IS NOT NULL"
        " UNION SELECT substr(answer, 1, 1) FROM answered WHERE answer IS NOT NULL"
    )
    return {
        *(head[1] for head in found if head[0] & ENCRYPTED),
        *(row[0][0] for row in plain),
        *commands.keys_in_use(tx),
    }


def forget_keys(tx: Tx, keys: Iterable[int]) -> None:
    """The database needs these keys no more: the key file may drop them afterwards."""
    for key_id in keys:
        tx.execute("DELETE FROM setting WHERE name = ?", (f"key:{key_id}",))
        tx.event("key.dropped", detail=f"key {key_id}")


def check(tx: Tx, bodies: bool = True) -> list[str]:
    """What is wrong with the database, in words; empty when nothing is. Reads everything: takes its time."""
    try:
        wrong = [row[0] for row in tx.rows("PRAGMA integrity_check") if row[0] != "ok"]
        wrong += [
            f"message {row[0]} is RECEIVED and has no content"
            for row in tx.rows(
                "SELECT m.id FROM message AS m LEFT JOIN body AS b ON b.id = m.id * 4096"
                " WHERE m.state = 'RECEIVED' AND b.id IS NULL"
            )
        ]
        wrong += [
            f"delivery of message {row[0]} to {row[1]} is to be sent and has no payload"
            for row in tx.rows(
                "SELECT d.message_id, d.destination FROM delivery AS d"
                " LEFT JOIN body AS b ON b.id = d.message_id * 4096 + d.slot * 16 + 2"
                " WHERE d.state IN ('QUEUED', 'PENDING') AND b.id IS NULL"
            )
        ]
        return wrong + (_unreadable(tx) if bodies else [])
    except sqlite3.DatabaseError as error:
        return [str(classify(error) or error)]


def _unreadable(tx: Tx) -> list[str]:
    wrong: list[str] = []
    for number, blob in tx.rows("SELECT id, files FROM config WHERE files IS NOT NULL"):
        try:
            tx.codec.open(files_row(number), blob)
        except Exception as error:
            wrong.append(f"the files of configuration {number} in the history: {error}")
    for message_id, digest, blob in tx.rows(
        "SELECT message_id, digest, data FROM snapshot WHERE data IS NOT NULL"
    ):
        try:
            tx.codec.open(place(digest), blob)
        except Exception as error:
            wrong.append(f"the state of a resource that message {message_id} told: {error}")
    after = -1
    while rows := tx.rows("SELECT id, data FROM body WHERE id > ? ORDER BY id LIMIT 500", (after,)):
        after = rows[-1][0]
        for row, blob in rows:
            try:
                tx.codec.open(row, blob)
            except Exception as error:
                wrong.append(f"body {row & 15} of message {row >> 12}: {error}")
    return wrong
