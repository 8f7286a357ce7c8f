"""The page of all verbs, made from their own declarations by `isthmus docs`; nothing is written twice by hand."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from engine.cli import VERBS, cli

HEAD = """# Command line

Made from the verbs' own declarations by `isthmus docs`; do not edit. Each verb also has `--help`. Exit code 0: done;
1: something was found; 2: used wrongly.
"""


def page() -> str:
    """The page as Markdown."""
    overview = ["| verb | what |", "|---|---|"]
    overview += [f"| [`{name}`](#isthmus-{name}) | {_cell(text)} |" for name, (_, text) in VERBS.items()]
    parts = [HEAD.strip(), "\n".join(overview)]
    for path, command in commands(cli):
        parts.append(section(path, command))
    return "\n\n".join(parts) + "\n"


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb and subcommand with its words, in the order of `--help`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def section(path: tuple[str, ...], command: click.Command) -> str:
    """One verb: what it does, its example, arguments and options."""
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    words = ["isthmus", *path, *map(_argument, arguments)]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    words += ["[options]"] if options else []
    words += ["COMMAND"] if isinstance(command, click.Group) else []
    told = inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n")
    examples = [
        line.strip().removeprefix("Example: ") for line in told if line.strip().startswith("Example: ")
    ]
    text = "\n".join(line.rstrip() for line in told if not line.strip().startswith("Example: ")).strip()
    parts = [f"{'#' * (len(path) + 1)} isthmus {' '.join(path)}", f"```\n{' '.join(words)}\n```", text]
    if examples:
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    if options:
        rows = [f"| {_names(one)} | {_default(one)} | {_cell(one.help or '')} |" for one in options]
        parts.append("\n".join(["| option | default | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)


def _argument(argument: click.Argument) -> str:
    choices = isinstance(argument.type, click.Choice)
    name = "|".join(argument.type.choices) if choices else (argument.name or "").upper()  # type: ignore[attr-defined]
    name += "..." if argument.nargs < 0 else ""
    return name if argument.required else f"[{name}]"


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if isinstance(option.type, click.Choice):
        return f"{names} {' or '.join(map(str, option.type.choices))}"
    return names if option.is_flag else f"{names} {option.metavar or option.type.name.upper()}"


def _default(option: click.Option) -> str:
    value = option.default
    plain = isinstance(value, (str, int, float, Path)) and not isinstance(value, bool) and value != ""
    told = [f"`{value}`"] if plain else ["required"] if option.required else []
    told += [f"`${option.envvar}`"] if isinstance(option.envvar, str) else []
    return " or ".join(told)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
