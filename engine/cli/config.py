"""`config`: the configurations that ran: list them, look at one, compare two, go back to one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import msgspec

from channels import versions as past
from channels.lint import check
from channels.wording import told
from engine.cli import access, elsewhere, saying
from engine.cli.channel import reload
from engine.cli.options import config_option, data_option, json_option
from engine.cli.remote import served
from engine.security.keyring import open_keyring
from engine.spec.channel import load
from engine.spec.files import absolute
from engine.store import versions
from engine.store.store import open_store


@click.group("config")
def command() -> None:
    """The configurations that ran: history, show, diff, rollback."""


@command.command("history")
@click.option("--limit", default=20, show_default=True, help="Newest so many.")
@data_option
@json_option
@served(elsewhere.config_history)
def history(limit: int, data: Path, as_json: bool) -> None:
    """What ran, newest first: number, version, when, who, what changed, note.

    Example: isthmus config history
    """
    with access.reading(data) as tx:
        found = versions.history(tx, limit)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    saying.history(found)


@command.command("show")
@click.argument("version")
@data_option
@json_option
@served(elsewhere.config_show)
def show(version: str, data: Path, as_json: bool) -> None:
    """The files of a VERSION: its name, the beginning of it, or its number in the history.

    Example: isthmus config show 3
    """
    with access.reading(data) as tx:
        entry, files = past.version_of(tx, version)
    texts = {name: text.decode("utf-8", "replace") for name, text in sorted(files.items())}
    if as_json:
        click.echo(msgspec.json.encode({"entry": entry, "files": texts}).decode())
        return
    saying.files(texts)


@command.command("diff")
@click.argument("before", default="")
@click.argument("after", default="")
@click.option("--words", is_flag=True, help="Only the plain words.")
@config_option
@data_option
@json_option
@served(elsewhere.config_diff)
def diff(before: str, after: str, words: bool, config: Path, data: Path, as_json: bool) -> None:
    """How BEFORE and AFTER differ: in plain words, then line by line. Exit 1 when they do.

    Without AFTER the files as they are now, without BEFORE the version that was taken up last.

    Example: isthmus config diff 3 4
    """
    with access.reading(data) as tx:
        last = versions.latest(tx)
        _, old = past.version_of(tx, before or (last.version if last else ""))
        new = past.version_of(tx, after)[1] if after else past.on_disk(config, old)
    sentences, lines = told(old, new), list(past.unified(old, new))
    sys.exit(saying.difference(sentences, lines, words, as_json))


@command.command("rollback")
@click.argument("version")
@click.option("--note", default="", help="Why: kept in the history.")
@click.option("--force", is_flag=True, help="Also over edits that no version has; they are kept beside.")
@click.option(
    "--moved", is_flag=True, help="The configuration stands at another place than when it ran last."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be written where.")
@config_option
@data_option
@served(elsewhere.config_rollback)
def rollback(
    version: str, note: str, force: bool, moved: bool, dry_run: bool, config: Path, data: Path
) -> None:
    """Write the files of VERSION back, and let the engine take them up: a new entry of the history.

    Works without a running engine, too: the next one starts with them. Refuses another configuration than the one
    that ran with the data folder.

    Example: isthmus config rollback 3 --note "wrong ward codes"
    """
    with access.reading(data) as tx:
        entry, wanted = past.version_of(tx, version)
        would = "would be " if dry_run else ""
        root = absolute(config if config.is_dir() else config.parent)
        for name in past.roll_back(tx, config, wanted, force=force, moved=moved, dry=dry_run):
            click.echo(f"{root / name} {would}{'written' if name in wanted else 'removed'}")
        if dry_run:
            return
        alive = access.running(tx, time.time_ns() // 1000)
    why = f"rollback to {entry.version}" + (f": {note}" if note else "")
    sys.exit(reload(data, note=why) if alive else _written(config, data, why))


def _written(config: Path, data: Path, note: str) -> int:
    """Check what stands in the files now, and put it into the history; gives the exit code."""
    configuration = load(config)
    wrong = [problem for problem in check(configuration) if problem.severity == "error"]
    for problem in wrong:
        click.echo(str(problem), err=True)
    if wrong:
        click.echo("The files are back, but an engine would not start with them.", err=True)
        return 1
    root = configuration.files.root
    files = {past.name_of(path, root): text for path, text in configuration.files.contents.items()}
    version = configuration.files.version
    store = open_store(data, open_keyring(data), mode="client")
    try:
        store.writer.call(lambda tx: versions.add(tx, version, access.actor(), files, note=note))
    finally:
        store.close()
    click.echo(f"Version {version} is what the next engine starts with.")
    return 0
