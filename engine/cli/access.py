"""How the verbs reach the store: reading always; asking the engine for what only it can do."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from engine import clock
from engine.clock import Micros
from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.store import audit, commands
from engine.store.sqlite import DATABASE
from engine.store.store import open_store
from engine.store.tx import Tx

T = TypeVar("T")
WAIT = 120.0  # seconds that a command may take


def actor() -> str:
    """Who acts: the login name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


def present(data: Path) -> None:
    """A clear error where there is no store."""
    if not (data / DATABASE).exists():
        raise StoreError(
            f"there is no message store in {data}",
            code="store.missing",
            todo="Name its folder with --data, or start the engine.",
        )


@contextmanager
def reading(data: Path) -> Iterator[Tx]:
    """A reader of the store."""
    present(data)
    store = open_store(data, open_keyring(data), mode="reader")
    try:
        yield store.reader
    finally:
        store.close()


@contextmanager
def writing(data: Path) -> Iterator[Callable[[Callable[[Tx], Any]], Any]]:
    """Changes in the store, each a transaction."""
    present(data)
    store = open_store(data, open_keyring(data), mode="client")
    try:
        yield store.writer.call
    finally:
        store.close()


def audited(data: Path, action: str, object: str, work: Callable[[Tx], T], detail: str = "") -> T:
    """Do something and keep who did it, in one transaction."""

    def both(tx: Tx) -> T:
        result = work(tx)
        audit.record(tx, actor(), action, object, detail=detail)
        return result

    with writing(data) as call:
        done: T = call(both)
    return done


def saw(data: Path, ids: Sequence[int], detail: str = "") -> None:
    """Keep that the content of messages is about to be shown."""
    if ids and audit.BY_CONSOLE not in os.environ:
        audited(data, "phi.reveal", audit.span(ids), lambda tx: None, detail)


def running(tx: Tx, now: Micros) -> bool:
    """Whether an engine is at work on this store."""
    return commands.beating(commands.engine_status(tx), now)


def ask(
    data: Path,
    verb: str,
    args: dict[str, Any],
    sealed: bytes = b"",
    *,
    action: str,
    object: str = "",
    detail: str = "",
) -> dict[str, Any]:
    """Ask the running engine for something that only it can do, kept in the audit log as `action` on `object`.

    `sealed`: patient data about message `args["id"]`.
    """
    with reading(data) as tx:
        if not running(tx, time.time_ns() // 1000):
            raise StoreError(
                "no engine is running on this store",
                code="engine.absent",
                todo="Start it with `isthmus run`.",
            )
    store = open_store(data, open_keyring(data), mode="client")
    try:
        if sealed:
            args = {**args, "sealed": commands.seal(store.reader, str(args["id"]), sealed)}

        def both(tx: Tx) -> int:
            audit.record(tx, actor(), action, object, detail=detail)
            return commands.add(tx, actor(), verb, args)

        number = store.writer.call(both)
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            found = commands.get(store.reader, number)
            if found is not None and found.state in ("done", "failed"):
                if found.state == "failed":
                    raise StoreError(found.result["error"], code="command.failed")
                return dict(found.result or {})
            time.sleep(0.05)
    finally:
        store.close()
    raise StoreError(
        f"the engine has not answered command {number} for {WAIT:.0f} s",
        code="command.waiting",
        todo="It stays queued; see `isthmus status`.",
    )


def moment(text: str | None) -> Micros | None:
    """A time on the command line (see engine.clock.moment), in the time zone of this machine."""
    try:
        return clock.moment(text, None) if text is not None else None
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time: write 2026-11-22T03:00 or 90m, 24h, 7d") from None
