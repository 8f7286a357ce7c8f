"""Commands: what console and CLI ask of the engine, written to the store so that every act is audited.

Guarantees: a command is taken by one node once, in order; its outcome is kept with who asked for it.
A command that was taken by an engine that died is taken again by the next one (verbs are idempotent, or finish it in
the transaction that acts). Arguments hold no patient data: what must hold some is sealed, and forgotten at the end.
"""

from __future__ import annotations

import base64
import os
from typing import Any

import msgspec
import orjson

from engine.clock import Micros
from engine.store.tx import Tx


class Command(msgspec.Struct):
    """One command. `state`: new, taken, done or failed."""

    id: int
    at: Micros
    actor: str
    verb: str
    args: dict[str, Any]
    state: str
    result: Any = None


ALIVE: Micros = 5_000_000
"""Microseconds since the last heartbeat after which an engine counts as gone."""
_COLUMNS = "id, at, actor, verb, args, state, result"


def add(tx: Tx, actor: str, verb: str, args: dict[str, Any] | None = None) -> int:
    """Ask for something. Gives the id of the command."""
    command_id = tx.execute(
        "INSERT INTO command (at, actor, verb, args) VALUES (?, ?, ?, ?)",
        (tx.now(), actor, verb, orjson.dumps(args or {}).decode()),
    ).lastrowid
    assert command_id is not None
    return command_id


def waiting(tx: Tx) -> bool:
    """Whether there is anything to take: a cheap look for a reader, several times a second."""
    return bool(tx.rows("SELECT 1 FROM command WHERE state IN ('new', 'taken') AND state = 'new' LIMIT 1"))


def take(tx: Tx, epoch: int, limit: int = 50) -> list[Command]:
    """Claim new commands, and those that an older epoch had taken and not finished, in order."""
    rows = tx.rows(
        f"UPDATE command SET state = 'taken', node = ? WHERE id IN (SELECT id FROM command"
        " WHERE state IN ('new', 'taken') AND (state = 'new' OR node < ?) ORDER BY id LIMIT ?)"
        f" RETURNING {_COLUMNS}",
        (epoch, epoch, limit),
    )
    return [_command(row) for row in sorted(rows)]


def finish(tx: Tx, command_id: int, result: Any = None, error: str = "") -> bool:
    """Write the outcome; False when the command was not taken. `error` holds no patient data."""
    content = orjson.dumps({"error": error} if error else result).decode()
    changed = tx.execute(
        "UPDATE command SET state = ?, finished_at = ?, result = ?, args = json_remove(args, '$.sealed')"
        " WHERE id = ? AND state = 'taken'",
        ("failed" if error else "done", tx.now(), content, command_id),
    ).rowcount
    return changed == 1


def seal(tx: Tx, object: str, data: bytes) -> str:
    """Patient data for the argument `sealed` of a command about `object`: encrypted, whatever bodies are."""
    keys = tx.codec.keys
    key_id = keys.current
    sealed = keys.encrypt(data, f"command {key_id} {object}".encode())
    return f"{key_id}:{base64.b64encode(sealed).decode()}"


def unseal(tx: Tx, object: str, sealed: str) -> bytes:
    """What `seal` was given. StoreError when it was changed, or is about another object."""
    number, _, text = sealed.partition(":")
    key_id = int(number)
    return tx.codec.keys.decrypt(key_id, base64.b64decode(text), f"command {key_id} {object}".encode())


def keys_in_use(tx: Tx) -> set[int]:
    """The keys that commands are sealed with which are not carried out."""
    rows = tx.rows(
        "SELECT args ->> '$.sealed' FROM command WHERE state IN ('new', 'taken') AND args ->> '$.sealed' IS NOT NULL"
    )
    return {int(sealed.partition(":")[0]) for (sealed,) in rows}


def get(tx: Tx, command_id: int) -> Command | None:
    """A command as it stands now."""
    rows = tx.rows(f"SELECT {_COLUMNS} FROM command WHERE id = ?", (command_id,))
    return _command(rows[0]) if rows else None


def _command(row: tuple[Any, ...]) -> Command:
    command_id, at, actor, verb, args, state, result = row
    outcome = orjson.loads(result) if result is not None else None
    return Command(command_id, at, actor, verb, orjson.loads(args), state, outcome)


def heartbeat(tx: Tx, epoch: int, status: dict[str, Any]) -> None:
    """Say that this engine is alive, and how it does."""
    tx.execute(
        "UPDATE node SET seen_at = ?, status = ? WHERE epoch = ?",
        (tx.now(), orjson.dumps(status).decode(), epoch),
    )


def engine_status(tx: Tx) -> dict[str, Any] | None:
    """The engine that started last: epoch, pid, started_at, seen_at and its status; None: there was none."""
    rows = tx.rows("SELECT epoch, pid, started_at, seen_at, status FROM node ORDER BY epoch DESC LIMIT 1")
    if not rows:
        return None
    epoch, pid, started_at, seen_at, status = rows[0]
    told = orjson.loads(status) if status else {}
    return {"epoch": epoch, "pid": pid, "started_at": started_at, "seen_at": seen_at, "status": told}


def beating(told: dict[str, Any] | None, now: Micros) -> bool:
    """Whether what `engine_status` told is of an engine that was at work a moment ago."""
    if told is None or not told["status"]:  # none, or it was a verb that opened the store
        return False
    return bool(abs(now - told["seen_at"]) < ALIVE)  # the wall clock may have been set back


def alive(pid: int) -> bool:
    """Whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
