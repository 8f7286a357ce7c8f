"""Options that several verbs share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import saying

if TYPE_CHECKING:
    from engine.spec.channel import Configuration

CONFIG = Path("config/channels.yaml")
DATA = Path("data")


def config_option(function: Any) -> Any:
    """`--config PATH`."""
    return click.option(
        "--config",
        "-c",
        type=click.Path(path_type=Path),
        default=CONFIG,
        envvar="ISTHMUS_CONFIG",
        show_default=True,
        help="The channels: a YAML file, or a folder of them.",
    )(function)


def data_option(function: Any) -> Any:
    """`--data DIR`."""
    return click.option(
        "--data",
        "-d",
        type=click.Path(path_type=Path, file_okay=False),
        default=DATA,
        envvar="ISTHMUS_DATA",
        show_default=True,
        help="Folder of the message store and its key.",
    )(function)


def console_options(function: Any) -> Any:
    """`--console HOST:PORT` and `--no-console`."""
    for option in (
        click.option("--no-console", is_flag=True, help="Without a console."),
        click.option(
            "--console",
            "listen",
            default="127.0.0.1:8580",
            envvar="ISTHMUS_CONSOLE",
            show_default=True,
            help="HOST:PORT of the console.",
        ),
    ):
        function = option(function)
    return function


def json_option(function: Any) -> Any:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="For programs: JSON on standard output.")(
        function
    )


def checked(path: Path) -> Configuration:
    """A configuration without errors, or exit 1 with every problem told."""
    from engine.spec.channel import load

    configuration = load(path)
    for problem in configuration.problems:
        click.echo(str(problem), err=True)
    if configuration.errors:
        click.echo(f"{saying.counted(len(configuration.errors), 'error')}: not started.", err=True)
        sys.exit(1)
    return configuration
