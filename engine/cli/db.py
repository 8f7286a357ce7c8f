"""`db`: look after the store: backup, check, prune, vacuum, migrate, keys.

Guarantees: what can be done beside a running engine is done beside it (backup, check) or by it (prune, keys);
what cannot (vacuum, migrate) is refused while one runs. Every act says what it did, and what to do next.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from engine import clock
from engine.cli import access
from engine.cli.options import checked, config_option, data_option, json_option
from engine.errors import StoreError
from engine.security.keyring import Keyring, key_path, open_keyring
from engine.store import backup as backups
from engine.store import maintenance, retention
from engine.store.levels import set_levels
from engine.store.sqlite import DATABASE, FolderLock, migrations
from engine.store.store import Store, open_store
from engine.store.tx import Tx


@click.group("db")
def command() -> None:
    """Look after the message store."""


@contextmanager
def alone(data: Path) -> Iterator[tuple[Store, Keyring]]:
    """The store, as its engine: StoreError `store.locked` while one runs."""
    access.present(data)
    keys = open_keyring(data)
    store = open_store(data, keys)
    try:
        yield store, keys
    finally:
        store.close()


def engine_runs(data: Path) -> bool:
    """Whether an engine holds this folder."""
    access.present(data)
    try:
        FolderLock(data).release()
    except StoreError:
        return True
    return False


@command.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--with-key", is_flag=True, help="Put a copy of the key file beside it (FILE.key).")
@data_option
def backup(file: Path, with_key: bool, data: Path) -> None:
    """Copy the store as it is at this moment to FILE; the engine may run.

    Without the key file nobody can read the backup: keep a copy of it, apart.

    Example: isthmus db backup /backup/isthmus-2026-11-22.db
    """
    access.present(data)
    keys = open_keyring(data)
    beside = file.with_name(file.name + ".key")
    if with_key and beside.exists():
        raise StoreError("there is such a file already", code="store.exists", where=str(beside))
    shown = sys.stderr.isatty()
    with click.progressbar(length=1000, label="Copying", file=sys.stderr) if shown else _silent() as bar:

        def progress(done: int, total: int) -> None:
            if bar is not None and total:
                bar.update(done * 1000 // total - bar.pos)

        size = backups.backup(data / DATABASE, file, progress)
    click.echo(f"{file}: {size} bytes.")
    key_file = keys.path or key_path(data)
    if with_key:
        shutil.copyfile(key_file, beside)
        beside.chmod(0o600)
        click.echo(f"{beside}: the key file. Who has both can read every message: keep them apart.")
    else:
        click.echo(f"Its key file is {key_file}: keep a copy of that too, apart from the backup.")


@contextmanager
def _silent() -> Iterator[None]:
    yield None


@command.command("check")
@click.option("--quick", is_flag=True, help="Without opening every body.")
@data_option
@json_option
def check(quick: bool, data: Path, as_json: bool) -> None:
    """Read everything and say what is wrong: pages, missing content, bodies that do not open. Exit 1 if anything is.

    Example: isthmus db check
    """
    with access.reading(data) as tx:
        wrong = maintenance.check(tx, bodies=not quick)
    if as_json:
        click.echo(msgspec.json.encode({"wrong": wrong}).decode())
    else:
        click.echo("\n".join(wrong) or "The store is in order.")
    sys.exit(1 if wrong else 0)


@command.command("prune")
@click.option("--dry-run", is_flag=True, help="Only count what would go.")
@config_option
@data_option
@json_option
def prune(dry_run: bool, config: Path, data: Path, as_json: bool) -> None:
    """Do now what `retention` and `storage` of the channels ask for; the engine does it by itself in time.

    Example: isthmus db prune --dry-run
    """
    if not dry_run and engine_runs(data):
        started = access.ask(data, "prune", {}, action="db.prune")["started"]
        click.echo(
            "The engine prunes; `isthmus status --json` shows how far." if started else "It does already."
        )
        return
    channels = checked(config).channels
    options = {name: spec.options for name, spec in channels.items()}
    if dry_run:
        with access.reading(data) as tx:
            counts = _due(tx, options)
    else:
        with alone(data) as (store, _):
            store.writer.call(
                partial(set_levels, levels={name: one.storage for name, one in options.items()})
            )
            counts = _prune(store, options)
    if as_json:
        click.echo(msgspec.json.encode(dict(counts)).decode())
        return
    for what, count in sorted(counts.items()):
        click.echo(f"{what}: {count}")
    if not counts:
        click.echo("Nothing is due.")


def _due(tx: Tx, options: dict[str, Any]) -> Counter[str]:
    """What would go, by channel and kind: messages."""
    now, counts = clock.now(), Counter[str]()
    for rule in _rules(tx, options, now):
        counts[f"{rule.channel}.{rule.what}"] += sum(len(window.ids) for window in retention.walk(tx, rule))
    for name, one in options.items():
        before = retention.errors_before(one, now)
        counts[f"{name}.errors"] += retention.given_up_by(tx, name, before) if before else 0
    return +counts


def _rules(tx: Tx, options: dict[str, Any], now: clock.Micros) -> Iterator[retention.Rule]:
    for name, one in options.items():
        yield from retention.rules(name, one, now)
        if one.retention.max_size is not None:
            floor = retention.Sizes(name).floor(tx, one.retention.max_size)
            if floor is not None:
                yield retention.content_rule(name, one, now, until=floor)


def _prune(store: Store, options: dict[str, Any]) -> Counter[str]:
    now, writer, counts = clock.now(), store.writer, Counter[str]()
    for name, one in options.items():
        before = retention.errors_before(one, now)
        while before and (given_up := writer.call(partial(retention.give_up, channel=name, before=before))):
            counts[f"{name}.errors"] += len(given_up)
    for rule in _rules(store.reader, options, now):
        for window in retention.walk(store.reader, rule):
            ids = window.ids
            while ids:
                done = writer.call(partial(retention.prune, rule=rule, ids=ids))
                ids = ids[done.done :]
                counts[f"{rule.channel}.{rule.what}"] += done.messages
    counts = +counts
    if counts:
        detail = ", ".join(f"{name}={count}" for name, count in sorted(counts.items()))
        writer.call(lambda tx: tx.event("retention", actor=access.actor(), detail=detail))
    return counts


@command.command("vacuum")
@data_option
def vacuum(data: Path) -> None:
    """Write the database anew without the room of what was pruned; only while no engine runs.

    SQLite uses that room again by itself: this is for giving it back to the disk.

    Example: isthmus db vacuum
    """
    with alone(data) as (store, _):
        before, after = store.vacuum()
    click.echo(f"{before} bytes before, {after} after.")


@command.command("migrate")
@data_option
def migrate(data: Path) -> None:
    """Bring the database to this version's schema; only while no engine runs (which does it at its start).

    Example: isthmus db migrate
    """
    access.present(data)
    before = backups.schema_of(data / DATABASE)
    with alone(data):
        pass
    click.echo(f"Schema {before} before, {migrations()[-1][0]} now.")


@command.command("rotate-key")
@click.option("--drop-old", is_flag=True, help="Forget old keys that nothing is encrypted with any more.")
@data_option
def rotate_key(drop_old: bool, data: Path) -> None:
    """Make a new key, and encrypt everything again with it: by the engine in the background, or here.

    What is interrupted goes on at the next start of the engine, or with the same command.
    Back up the key file afterwards; older backups need the older key file.

    Example: isthmus db rotate-key
    """
    if drop_old:
        _drop_old(data)
        return
    if engine_runs(data):
        key_id = access.ask(data, "rotate-key", {}, action="db.rotate-key")["key"]
        click.echo(
            f"Key {key_id} is the key now; the engine encrypts what is older again. Back up the key file."
        )
        return
    with alone(data) as (store, keys):
        if maintenance.reencrypting(store.reader) is None:
            store.writer.call(maintenance.begin_reencryption)
            keys.rotate()
        while maintenance.reencrypting(store.reader) is not None:
            store.writer.call(partial(maintenance.reencrypt_next, limit=retention.ROWS))
    click.echo(f"Key {keys.current} is the key now, of everything. Back up the key file.")


def _drop_old(data: Path) -> None:
    with access.reading(data) as tx:
        if maintenance.reencrypting(tx) is not None:
            raise maintenance.UNDER_WAY
        keys = open_keyring(data)
        used = maintenance.keys_in_use(tx)
    old = sorted(key_id for key_id in keys.fingerprints() if key_id not in (0, keys.current))
    needed = sorted(used & set(old))
    if needed:
        raise StoreError(
            f"bodies are still encrypted with key {needed[0]}",
            code="store.key",
            todo="run `isthmus db rotate-key` first; it encrypts them again",
        )
    if not old:
        click.echo("There is no old key.")
    elif engine_runs(data):
        access.ask(data, "drop-keys", {"keys": old}, action="db.drop-keys")
    else:
        with alone(data) as (store, held):
            store.writer.call(partial(maintenance.forget_keys, keys=old))
            held.drop(old)
    if old:
        click.echo(f"Dropped: {', '.join(map(str, old))}. Backups from before need the older key file.")
