"""`channel`: start, stop, pause and resume one channel of the running engine; reload the configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli import access, elsewhere, saying
from engine.cli.options import data_option
from engine.cli.remote import served


@click.command("channel")
@click.argument("act", type=click.Choice(["start", "stop", "pause", "resume", "reload"]))
@click.argument("name", default="")
@click.option("--note", default="", help="Why (for reload): kept in `isthmus config history`.")
@data_option
@served(elsewhere.channel)
def command(act: str, name: str, note: str, data: Path) -> None:
    """Let a channel of the running engine ACT.

    stop closes its port; pause goes on receiving but delivers nothing; resume also tries held destinations.
    reload takes up the edited configuration: all that changed and nothing else; with NAME that channel is made
    anew even if it did not change (renewed certificates). One with errors is told (exit 1), the old one goes on.

    Example: isthmus channel pause adt
    """
    if act == "reload":
        sys.exit(reload(data, name, note))
    if not name:
        raise click.UsageError("name the channel")
    result = access.ask(data, "channel", {"name": name, "act": act}, action=f"channel.{act}", object=name)
    click.echo(f"{result['channel']}: {result['state']}")


def reload(data: Path, name: str = "", note: str = "") -> int:
    """Ask the engine to take up the configuration, and tell what became of it; gives the exit code."""
    result = access.ask(
        data, "reload", {"name": name, "note": note}, action="config.reload", object=name, detail=note
    )
    return saying.reloaded(result)
