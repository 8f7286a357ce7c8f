"""`docs` and `schema`: the reference page and the JSON Schema, made from the components' declarations."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from channels import blocks, interface
from channels.build import CONNECTIONS
from engine.cli import manual
from engine.cli.options import checked, config_option
from engine.spec import reference
from engine.spec.document import did_you_mean
from engine.spec.schema import schema as channel_schema
from transforms.canonical import catalogue

PAGE = Path("docs/reference.md")
VERBS_PAGE = Path("docs/cli.md")
SCHEMA = Path("config/channels.schema.json")
EVENTS = Path("docs/events.schema.json")


@click.command("docs")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a page is stale.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The reference page alone (default: {PAGE}, and {VERBS_PAGE} with it), or the file of --channel.",
)
@click.option("--channel", help="The interface specification of this channel instead, on standard output.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "html"]),
    default="markdown",
    show_default=True,
    help="Of --channel.",
)
@config_option
def docs(check: bool, output: Path | None, channel: str | None, form: str, config: Path) -> None:
    """Write the reference page of all components and settings and the page of all verbs.

    With --channel: what a channel takes, what becomes of it field by field, and the code tables that it uses.

    Example: isthmus docs --channel adt --format html --output adt.html
    """
    if channel is not None:
        text = of_channel(config, channel, form)
        if output is None:
            click.echo(text, nl=False)
        else:
            _write([(output, text)], check)
        return
    pages = [(output or PAGE, reference.page())]
    if output is None:
        pages.append((VERBS_PAGE, manual.page()))
    _write(pages, check)


def of_channel(config: Path, channel: str, form: str) -> str:
    """The interface specification of a channel."""
    configuration = checked(config)
    if channel not in configuration.channels:
        hint = did_you_mean(channel, configuration.channels)
        raise click.UsageError(f"there is no channel {channel!r}. {hint}")
    made = interface.specification(configuration, channel)
    return blocks.html(made) if form == "html" else blocks.markdown(made)


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
    _write([(output or place, json.dumps(made, indent=1, ensure_ascii=False) + "\n")], check)


def _write(pages: list[tuple[Path, str]], check: bool) -> None:
    stale = False
    for path, text in pages:
        if not check:
            path.write_text(text, encoding="utf-8")
            click.echo(f"{path} written.")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            click.echo(
                f"{path} is stale: run `isthmus docs`, `isthmus schema` and `isthmus schema --events`.",
                err=True,
            )
            stale = True
    if check:
        sys.exit(1 if stale else 0)
