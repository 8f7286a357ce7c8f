"""`docs` and `schema`: the reference page and the JSON Schema, made from the components' declarations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from channels.build import CONNECTIONS
from engine.spec import reference
from engine.spec.schema import schema as channel_schema
from transforms.canonical import catalogue

PAGE = Path("docs/reference.md")
SCHEMA = Path("config/channels.schema.json")
EVENTS = Path("docs/events.schema.json")


@click.command("docs")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the page is stale.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PAGE,
    show_default=True,
    help="The page.",
)
def docs(check: bool, output: Path) -> None:
    """Write the reference page of all components and settings.

    Example: isthmus docs --check
    """
    _write(output, reference.page(), check)


@click.command("schema")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when the file is stale.")
@click.option("--events", is_flag=True, help="The schema of canonical events, instead of channel files.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The schema; by default {SCHEMA}, or {EVENTS}.",
)
def schema(check: bool, events: bool, output: Path | None) -> None:
    """Write the JSON Schema of channel files (completion and hover in editors), or of canonical events.

    Example: isthmus schema -o config/channels.schema.json
    """
    made, place = (catalogue.schemas(), EVENTS) if events else (channel_schema(CONNECTIONS), SCHEMA)
    _write(output or place, json.dumps(made, indent=1, ensure_ascii=False) + "\n", check)


def _write(path: Path, text: str, check: bool) -> None:
    if check:
        fresh = path.exists() and path.read_text(encoding="utf-8") == text
        if not fresh:
            click.echo(
                f"{path} is stale: run `isthmus docs`, `isthmus schema` and `isthmus schema --events`.",
                err=True,
            )
        sys.exit(0 if fresh else 1)
    path.write_text(text, encoding="utf-8")
    click.echo(f"{path} written.")
