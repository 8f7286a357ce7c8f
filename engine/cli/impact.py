"""`impact`: what an edited configuration would make of messages that came already, before it is deployed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.text import Text

from channels.impact import KINDS, Impact, Run, Sample, Stored, given, impact, past_of, stored
from channels.pipeline import Pipeline
from engine.cli import access
from engine.cli.asking import asking, lookups_option
from engine.cli.options import checked, config_option, data_option, json_option
from engine.cli.showing import console
from engine.clock import now
from engine.spec.channel import Configuration
from engine.spec.document import did_you_mean

LAST = 200


@click.command("impact")
@click.argument("channel")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--last", default=LAST, show_default=True, type=click.IntRange(1), help="So many stored messages."
)
@config_option
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True),
    help="Compare with what this configuration makes of them; by default with what became of them.",
)
@lookups_option
@click.option("--reveal", is_flag=True, help="Show the values: they are patient data.")
@data_option
@json_option
def command(
    channel: str,
    files: tuple[Path, ...],
    last: int,
    config: Path,
    against: Path | None,
    lookups: str,
    reveal: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Run the last messages of CHANNEL (or those of FILES) through an edited configuration, and show what comes out
    otherwise: new errors, newly filtered, changed fields, in groups. Nothing is sent or stored.

    Exit 0 when everything comes out the same, 1 otherwise.

    Example: isthmus impact adt --last 500 --config edited.yaml
    """
    if against is None and files:
        raise click.UsageError("messages of files have no fate yet: name what to compare with by --against")
    with asking(lookups, data) as who:
        after = Run(known(checked(config), channel), channel, who)
        other = Run(known(checked(against), channel), channel, who) if against is not None else None
        if files:
            samples = of_files(after.pipeline, files)
            assert other is not None
            found = impact(samples, other, after, reveal=reveal)
        else:
            with access.reading(data) as tx:
                samples = stored(tx, channel, last)
                for run in filter(None, (after, other)):
                    run.past = past_of(tx, samples)
                found = impact(samples, other or Stored(tx), after, reveal=reveal)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        show(found, str(against) if against else "what became of them")
    sys.exit(1 if found.groups else 0)


def known(configuration: Configuration, channel: str) -> Configuration:
    """The configuration, if it has the channel."""
    if channel not in configuration.channels:
        hint = did_you_mean(channel, configuration.channels)
        raise click.UsageError(f"{configuration.document.path} has no channel {channel!r}. {hint}")
    return configuration


def of_files(pipeline: Pipeline, files: tuple[Path, ...]) -> list[Sample]:
    """The messages of files."""
    return given(pipeline, [raw for file in files for raw in pipeline.format.parts(file.read_bytes())], now())


def show(found: Impact, against: str) -> None:
    """The groups as text."""
    same = found.messages - found.differ - found.unknown
    head = f"{found.messages} messages against {against}: {found.differ} come out otherwise, {same} the same"
    console.print(head + (f", {found.unknown} cannot be compared" if found.unknown else ""), style="bold")
    for group in found.groups:
        ids = ", ".join(map(str, group.examples))
        style: Any = "red" if group.kind in ("new error", "newly filtered", "operation gone") else "yellow"
        kind = (KINDS[group.kind], style)
        told = Text.assemble(f"{group.count:>6}  ", kind, f"  {group.what}", (f"  e.g. {ids}", "dim"))
        console.print(told)
        for old, new, count in group.values:
            console.print(Text(f"        {count:>6} ×  {old} → {new if new != old else 'another value'}"))
