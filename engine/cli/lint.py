"""`lint`: every problem of a configuration, with file, line, column and a hint."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from channels.lint import check
from engine.cli.options import CONFIG
from engine.spec.channel import load
from engine.spec.document import Problem


@click.command("lint")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    show_default=True,
    help="For people, programs, or annotations on GitHub.",
)
def command(files: tuple[Path, ...], form: str) -> None:
    """Check configuration FILES, or folders of them (default: config/channels.yaml).

    Exit 0 when they can run, 1 when there are errors.

    Example: isthmus lint config/channels.yaml
    """
    problems = [problem for file in files or (CONFIG,) for problem in check(load(file))]
    errors = [problem for problem in problems if problem.severity == "error"]
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(problems), indent=1).decode())
    else:
        for problem in problems:
            click.echo(github(problem) if form == "github" else str(problem))
        if form == "text":
            click.echo(f"{len(errors)} errors, {len(problems) - len(errors)} warnings.", err=True)
    sys.exit(1 if errors else 0)


def github(problem: Problem) -> str:
    """A GitHub workflow annotation."""
    mark = problem.mark
    return f"::{problem.severity} file={mark.file},line={mark.line},col={mark.column}::{problem.text} [{problem.code}]"
