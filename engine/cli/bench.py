"""`bench`: measure this machine. Everything runs on 127.0.0.1 and in temporary folders."""

from __future__ import annotations

from typing import Any

import click
import orjson

from engine.cli.options import json_option

VERBS = ("ingest", "odoo", "search")


@click.group("bench")
def command() -> None:
    """Measure this machine: messages in, records into Odoo, searches.

    Example: isthmus bench ingest
    """


def _tell(figures: dict[str, Any], as_json: bool) -> None:
    """One line of JSON, or what people read."""
    if as_json:
        click.echo(orjson.dumps(figures))
        return
    for name, value in figures.items():
        if not isinstance(value, (list, dict)):
            click.echo(f"{name:26} {value}")


@command.command("ingest")
@json_option
@click.option(
    "--repeat", default=3, show_default=True, type=click.IntRange(1), help="Runs; medians are told."
)
@click.option("--scale", default=1.0, show_default=True, help="Longer (2) or shorter (0.2) runs.")
@click.option("--load", default="", help="Another load generator: a program, or its C source.")
@click.option("--dir", "folder", default="", help="Where the databases are made (default: temporary files).")
def ingest(as_json: bool, repeat: int, scale: float, load: str, folder: str) -> None:
    """Durable ACKs beside a bare server's, then the whole pipeline until it is drained.

    With --json the last line is one JSON object; progress goes to standard error.

    Example: isthmus bench ingest --json
    """
    from bench import ingest, processes

    with processes.scratch(folder) as place:
        program = processes.generator(load)
        figures = ingest.run(
            place,
            repeat=repeat,
            scale=scale,
            generator=program,
            say=lambda line: click.echo(line, err=as_json),
        )
    _tell(figures, as_json)
