"""`survey`: what arrives on a channel, against what its configuration reads and maps."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.text import Text

from channels.impact import stored
from channels.survey import Code, Field, Survey, Surveyor
from channels.tracer import Tracer
from engine.cli import access
from engine.cli.asking import asking, lookups_option
from engine.cli.impact import LAST, known, of_files
from engine.cli.options import checked, config_option, data_option, json_option
from engine.cli.showing import console

POLICIES = {"error": "an error", "keep": "kept as it is", "absent": "left out", "default": "the default"}


@click.command("survey")
@click.argument("channel")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--last", default=LAST, show_default=True, type=click.IntRange(1), help="So many stored messages."
)
@click.option(
    "--census",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Count the values here; several if needed.",
)
@lookups_option
@click.option("--reveal", is_flag=True, help="Show values that may be patient data.")
@config_option
@data_option
@json_option
def command(
    channel: str,
    files: tuple[Path, ...],
    last: int,
    paths: tuple[str, ...],
    lookups: str,
    reveal: bool,
    config: Path,
    data: Path,
    as_json: bool,
) -> None:
    """Look at the last messages of CHANNEL (or at those of FILES): fields that arrive and nobody uses, fields that are
    read and never arrive, codes that were seen against the tables that map them. Nothing is sent or stored.

    Exit 0, or 1 when codes arrive that are an error because their table does not have them.

    Example: isthmus survey adt --last 500 --census PV1-10
    """
    with asking(lookups, data) as who:
        tracer = Tracer(known(checked(config), channel), channel, who)
        for path in paths:
            tracer.format.check(path)
        surveyor = Surveyor(tracer, paths, reveal=reveal)
        if files:
            found = surveyor.look(of_files(tracer.pipeline, files))
        else:
            with access.reading(data) as tx:
                found = surveyor.look(stored(tx, channel, last))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        show(found)
    failing = [table for table in found.tables if table.otherwise == "error"]
    sys.exit(1 if any(not code.where for table in failing for code in table.seen) else 0)


def show(found: Survey) -> None:
    """The survey as text."""
    left_out = f", {found.filtered} filtered and left out" if found.filtered else ""
    left_out += f", {found.unreadable} cannot be read" if found.unreadable else ""
    console.print(f"{found.messages} messages{left_out}", style="bold")
    looked_at = found.messages - found.filtered - found.unreadable
    _fields("Arrive and nobody uses them", found.unused, looked_at)
    _fields("Are read and never arrive", found.never, looked_at)
    for table in found.tables:
        console.print(f"\nTable {table.table}", style="bold")
        _codes(table.seen, f"not in the table: {POLICIES[table.otherwise]}")
        if table.never:
            told = ", ".join(code.code for code in table.never)
            console.print(Text(f"  never seen: {told}", "dim"))
    for census in found.census:
        console.print(f"\n{census.path} {census.name}: {census.different} different values", style="bold")
        if census.masked and census.different:
            console.print(Text("  values may be patient data: --reveal shows them", "dim"))
        _codes(census.values, "")


def _fields(title: str, fields: list[Field], messages: int) -> None:
    console.print(f"\n{title}: {len(fields) or 'none'}", style="bold")
    width = max((len(field.path) for field in fields), default=0)
    for field in fields:
        share = f"{field.messages / messages:>5.0%}" if messages and field.messages <= messages else "     "
        console.print(Text(f"  {share}  {field.path:<{width}}  {field.name}"))


def _codes(codes: list[Code], missing: str) -> None:
    width = max((len(code.code) for code in codes), default=0)
    for code in codes:
        place = code.where or missing
        console.print(
            Text.assemble(
                f"  {code.count:>6}  {code.code:<{width}}  ", (place, "dim" if code.where else "yellow")
            )
        )
