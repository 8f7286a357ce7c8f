"""`job`: replays, resends and discards of many messages while they are under way."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click
import msgspec

from engine.cli import access, bulk, elsewhere
from engine.cli.options import data_option, json_option
from engine.cli.remote import served
from engine.cli.showing import job_table, job_view
from engine.store import jobs


@click.group("job")
def command() -> None:
    """Watch, pause, resume and cancel acts on many messages."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, help="Newest so many.")
@data_option
@json_option
@served(elsewhere.job_list)
def list_(limit: int, data: Path, as_json: bool) -> None:
    """The newest jobs, one line each, with their progress.

    Example: isthmus job list
    """
    with access.reading(data) as tx:
        found = jobs.newest(tx, limit)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        job_table(found)


@command.command("show")
@click.argument("id", type=int)
@data_option
@json_option
@served(elsewhere.job_show)
def show(id: int, data: Path, as_json: bool) -> None:
    """One job: what it does, for whom, and how far it is.

    Example: isthmus job show 7
    """
    with access.reading(data) as tx:
        found = jobs.get(tx, id)
    if found is None:
        click.echo(f"There is no job {id}.", err=True)
        sys.exit(1)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        job_view(found)


@command.command("pause")
@click.argument("id", type=int)
@data_option
@served(partial(elsewhere.job_move, "pause"))
def pause(id: int, data: Path) -> None:
    """Let a job rest after the batch that is under way, over restarts too.

    Example: isthmus job pause 7
    """
    click.echo(bulk.progress(bulk.change(data, id, "pause")))


@command.command("resume")
@click.argument("id", type=int)
@data_option
@served(partial(elsewhere.job_move, "resume"))
def resume(id: int, data: Path) -> None:
    """Let a paused job go on where it was.

    Example: isthmus job resume 7
    """
    click.echo(bulk.progress(bulk.change(data, id, "resume")))


@command.command("cancel")
@click.argument("id", type=int)
@data_option
@served(partial(elsewhere.job_move, "cancel"))
def cancel(id: int, data: Path) -> None:
    """End a job after the batch that is under way; what it did stands, the rest is left alone.

    Example: isthmus job cancel 7
    """
    click.echo(bulk.outcome(bulk.change(data, id, "cancel")))
