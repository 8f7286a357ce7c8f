"""`lint`: every problem of a configuration, with file, line, column and a hint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from channels.lint import check
from engine.cli import saying
from engine.cli.options import CONFIG, data_option
from engine.errors import ConfigError
from engine.odoo import snapshot
from engine.odoo.connection import SANDBOX
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
@click.option(
    "--fix", is_flag=True, help="Correct what has one safe correction, in the files; keeps comments."
)
@click.option("--odoo", "live", is_flag=True, help="Ask Odoo, and keep the answer in odoo.CONNECTION.json.")
@data_option
def command(files: tuple[Path, ...], form: str, fix: bool, live: bool, data: Path) -> None:
    """Check configuration FILES (default: config/channels.yaml).

    Exit 0 when they can run, 1 when there are errors.

    Example: isthmus lint config/channels.yaml
    """
    if fix:
        from channels.lint.fixing import fix_file

        for file in files or (CONFIG,):
            for line in fix_file(file):
                click.echo(line, err=True)
    problems: list[Problem] = []
    for file in files or (CONFIG,):
        configuration = load(file)
        if live and not configuration.errors:
            problems += ask(configuration)
        problems += linted(configuration, data)
    errors = [problem for problem in problems if problem.severity == "error"]
    if form == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(problems), indent=1).decode())
    else:
        for problem in problems:
            click.echo(github(problem) if form == "github" else str(problem))
        if form == "text":
            warnings = saying.counted(len(problems) - len(errors), "warning")
            click.echo(f"{saying.counted(len(errors), 'error')}, {warnings}.", err=True)
    sys.exit(1 if errors else 0)


def linted(configuration: Configuration, data: Path | None = None) -> list[Problem]:
    """The problems of a configuration, also against what is known of its Odoo databases."""
    try:
        return check(configuration, snapshots(configuration, data))
    except ConfigError as error:
        return [*configuration.problems, Problem(error.code, Mark(error.where, 1, 1), error.what, error.todo)]


def snapshots(configuration: Configuration, data: Path | None = None) -> dict[str, Any]:
    """By connection: the file beside the channel file, else what the sandbox declares, or what the engine found when
    it started last with the data folder `data`, if that was the same server and database.

    `run` gives no folder: what Odoo had last time is no reason not to start.
    """
    found: dict[str, Any] = {}
    for name, body in configuration.connections.items():
        settings = body.get("odoo") if isinstance(body, dict) else None
        kept = snapshot.read(snapshot.file_of(name, configuration.folder))
        if kept is not None:
            found[name] = kept
        elif isinstance(settings, dict) and str(settings.get("url", "")).startswith(SANDBOX):
            found[name] = snapshot.of_sandbox()
        elif isinstance(settings, dict) and data is not None:
            last = snapshot.read(snapshot.kept_in(data, name))
            if last is not None and last.of == f"{settings.get('url')} {settings.get('database', 'clinic')}":
                found[name] = last
    return found


def ask(configuration: Configuration) -> list[Problem]:
    """Ask every Odoo that a destination writes to; what could not be asked is a problem."""
    from channels.build import Builder
    from channels.lint.findings import Findings
    from channels.lint.steps import Reader
    from engine.cli.foresee import wait_for
    from engine.cli.options import DATA
    from engine.cli.reactor import steady

    try:
        reactor = steady()
        builder = Builder(configuration, reactor, DATA)
        reader = Reader(builder, Findings(configuration), {})
        for spec in configuration.channels.values():
            reader.channel(spec)
    except ConfigError:
        return []  # told by the lint that follows
    problems: list[Problem] = []

    async def all_of_them() -> None:
        for name, models in reader.models.items():
            connection = builder.connections[name]
            if connection.url.startswith(SANDBOX):
                continue  # what it has is known without asking
            try:
                taken = await snapshot.take(connection.client(reactor, DATA), sorted(models))
                snapshot.write(taken, snapshot.file_of(name, configuration.folder))
            except Exception as error:
                mark = configuration.document.mark(("connections", name))
                what = getattr(error, "what", type(error).__name__)
                problems.append(Problem("odoo.unreachable", mark, f"Odoo could not be asked: {what}"))

    wait_for(all_of_them(), reactor)
    return problems


def github(problem: Problem) -> str:
    """A GitHub workflow annotation."""
    mark = problem.mark
    return f"::{problem.severity} file={mark.file},line={mark.line},col={mark.column}::{problem.text} [{problem.code}]"
