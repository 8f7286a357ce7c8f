"""`channel`: start, stop, pause and resume one channel of the running engine."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli import access
from engine.cli.options import data_option


@click.command("channel")
@click.argument("act", type=click.Choice(["start", "stop", "pause", "resume"]))
@click.argument("name")
@data_option
def command(act: str, name: str, data: Path) -> None:
    """Let a channel of the running engine ACT.

    stop closes its port; pause goes on receiving but delivers nothing; resume also tries held destinations.

    Example: isthmus channel pause adt
    """
    result = access.ask(data, "channel", {"name": name, "act": act})
    click.echo(f"{result['channel']}: {result['state']}")
