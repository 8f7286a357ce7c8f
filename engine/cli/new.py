"""`new`: a channel to begin with, with a sample message and a channel test. What is there is never written over."""

from __future__ import annotations

import re
from pathlib import Path

import click

from channels import rerecord, scaffold
from channels.trial import Runner
from engine.cli.options import checked


@click.group("new")
def command() -> None:
    """Begin something new.

    Example: isthmus new channel intake --template patient
    """


@command.command("channel")
@click.argument("name")
@click.option(
    "--listener",
    type=click.Choice(list(scaffold.LISTENERS)),
    default="mllp",
    show_default=True,
    help="How messages come in.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of the listener; 0: its usual one."
)
@click.option(
    "--template",
    type=click.Choice(list(scaffold.BEGINNINGS)),
    default="patient",
    show_default=True,
    help="The shipped template that makes records in Odoo.",
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The channel file to write; the sample and the test come beside it. Without it, the file is printed.",
)
def channel(name: str, listener: str, port: int, template: str, target: Path | None) -> None:
    """Write the channel NAME, a sample message and a channel test; all of them run as they are.

    Nothing that is there is written over.

    Example: isthmus new channel intake --listener mllp --template patient --to intake/channels.yaml
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise click.UsageError(f"{name!r} is no name for a channel: letters, digits, _ and -, a letter first")
    text = scaffold.channel(name, listener, template, port)
    if target is None:
        click.echo(text, nl=False)
        return
    if target.suffix not in (".yaml", ".yml"):
        raise click.UsageError(f"{target} is no channel file: its name ends with .yaml")
    sample = target.parent / "samples" / f"{name}.hl7"
    test = target.parent / "tests" / f"{name}.yaml"
    there = [str(path) for path in (target, sample, test) if path.exists()]
    if there:
        raise click.UsageError(f"{', '.join(there)} is there already, and stays; choose another --to or NAME")
    _write(target, text.encode())
    _write(sample, scaffold.sample(template))
    written = rerecord.record(Runner(checked(target)), name, [("sample", sample.read_bytes())], test)
    _write(test, written.encode())
    click.echo(f"Try it: isthmus try {name} {sample} -c {target}")
    click.echo(f"Test it: isthmus test {test} -c {target}")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
    click.echo(f"wrote {path}")
