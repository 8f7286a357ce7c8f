"""`lint`: every problem of a configuration, with file, line, column and a hint."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from channels.build import Builder
from engine.cli.options import CONFIG
from engine.errors import ConfigError
from engine.spec.channel import Configuration, load
from engine.spec.document import Mark, Problem


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


def check(configuration: Configuration) -> list[Problem]:
    """The problems of a configuration: of its text and, when that is right, of building it."""
    problems = list(configuration.problems)
    if configuration.errors:
        return problems
    try:
        builder = Builder(configuration)
    except ConfigError as error:
        return [*problems, _problem(error, configuration)]
    for spec in configuration.channels.values():
        context = builder.context(spec)
        for bound in spec.components:
            try:
                builder.build(bound, context)
            except ConfigError as error:
                problems.append(_problem(error, configuration))
        try:
            builder.canonical(spec)
        except ConfigError as error:
            problems.append(_problem(error, configuration))
    return problems


def _problem(error: ConfigError, configuration: Configuration) -> Problem:
    return Problem(error.code, _mark(error.where, configuration), error.what, error.todo)


def _mark(where: str, configuration: Configuration) -> Mark:
    parts = where.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return Mark(parts[0], int(parts[1]), int(parts[2]))
    return Mark(str(configuration.document.path), 1, 1)


def github(problem: Problem) -> str:
    """A GitHub workflow annotation."""
    mark = problem.mark
    return f"::{problem.severity} file={mark.file},line={mark.line},col={mark.column}::{problem.text} [{problem.code}]"
