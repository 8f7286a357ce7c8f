"""`bench`: measure this machine. Everything runs on 127.0.0.1 and in temporary folders."""

from __future__ import annotations

from typing import Any

import click
import orjson

from engine.cli.options import json_option

VERBS = ("ingest", "odoo", "search", "lint", "fhir")


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


@command.command("odoo")
@json_option
@click.option(
    "--records", default=2_000, show_default=True, type=click.IntRange(1), help="Patients, in batches."
)
@click.option(
    "--single", default=200, show_default=True, type=click.IntRange(1), help="Patients, one by one."
)
def odoo(as_json: bool, records: int, single: int) -> None:
    """Patients into Odoo: new, unchanged and changed ones in batches, beside one search and write for each.

    ODOO_URL, ODOO_DB and ODOO_API_KEY (ODOO_LOGIN for 16 to 18) name the server; without them it is the sandbox.
    The records stay there: use a database that is made for this.

    Example: isthmus bench odoo
    """
    from bench import processes
    from bench import records as measured

    with processes.scratch() as place:
        figures = measured.run(place, records, single, say=lambda line: click.echo(line, err=as_json))
    _tell(figures, as_json)


@command.command("search")
@json_option
@click.option("--messages", default=200_000, show_default=True, type=click.IntRange(1), help="In the store.")
@click.option("--dir", "folder", default="", help="Where the database is made (default: temporary files).")
def search(as_json: bool, messages: int, folder: str) -> None:
    """Searches in a store of many messages.

    Example: isthmus bench search --messages 50000
    """
    from bench import processes
    from bench import search as measured

    with processes.scratch(folder) as place:
        figures = measured.run(place, messages, say=lambda line: click.echo(line, err=as_json))
    _tell(figures, as_json)


@command.command("lint")
@json_option
@click.option(
    "--channels", default=300, show_default=True, type=click.IntRange(1), help="In a configuration."
)
@click.option(
    "--repeat", default=5, show_default=True, type=click.IntRange(1), help="Runs; medians are told."
)
def lint(as_json: bool, channels: int, repeat: int) -> None:
    """Lint a configuration of many channels that share what sites share, and one whose channels share nothing.

    Example: isthmus bench lint --channels 300
    """
    from bench import lint as measured
    from bench import processes

    with processes.scratch() as place:
        figures = measured.run(place, channels, repeat, say=lambda line: click.echo(line, err=as_json))
    _tell(figures, as_json)


@command.command("fhir")
@json_option
@click.option(
    "--repeat", default=3, show_default=True, type=click.IntRange(1), help="Runs; medians are told."
)
@click.option("--scale", default=1.0, show_default=True, help="Longer (2) or shorter (0.2) runs.")
@click.option("--dir", "folder", default="", help="Where the databases are made (default: temporary files).")
def fhir(as_json: bool, repeat: int, scale: float, folder: str) -> None:
    """FHIR notifications stored and answered, then through three FHIRPath filters and a template until delivered.

    Example: isthmus bench fhir
    """
    from bench import fhir as measured
    from bench import processes

    with processes.scratch(folder) as place:
        figures = measured.run(
            place, repeat=repeat, scale=scale, say=lambda line: click.echo(line, err=as_json)
        )
    _tell(figures, as_json)
