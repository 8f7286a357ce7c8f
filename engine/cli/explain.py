"""`explain`: what HL7 calls a place."""

from __future__ import annotations

import sys

import click

from engine.hl7 import names
from engine.hl7.paths import PathError


@click.command("explain")
@click.argument("paths", nargs=-1, required=True)
@click.option("--version", default=names.DEFAULT, show_default=True, help="HL7 version.")
def command(paths: tuple[str, ...], version: str) -> None:
    """Name, type and table of each of PATHS, and what it is made of.

    Example: isthmus explain PID-3.4 PID.patient_name
    """
    wrong = False
    for path in paths:
        try:
            show(names.describe(path, version))
        except PathError as error:
            click.echo(f"{path}: {error}", err=True)
            wrong = True
    sys.exit(1 if wrong else 0)


def show(found: names.Description) -> None:
    """One place as text."""
    facts = [
        found.datatype,
        f"table {found.table}" if found.table else "",
        "required" if found.required else "",
    ]
    if found.repeats != 1:
        facts.append(f"repeats up to {found.repeats} times" if found.repeats else "repeats")
    inside = f" in {' > '.join(found.within)}" if found.within else ""
    click.echo(f"{found.path} {found.name}{inside} ({', '.join(filter(None, facts))}, HL7 {found.version})")
    for part in found.parts:
        table = f", table {part.table}" if part.table else ""
        click.echo(f"  .{part.number} {part.name} ({part.datatype}{table})")
