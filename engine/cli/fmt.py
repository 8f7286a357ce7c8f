"""`fmt`: YAML files in their normal form."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from channels.build import CONNECTIONS
from engine.cli.options import CONFIG
from engine.errors import ConfigError
from engine.spec.normal import normal
from engine.spec.schema import schema

STDIN = Path("-")


@click.command("fmt")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit 1 when a file is not in its normal form.")
@click.option("--diff", is_flag=True, help="Write nothing; show what would change.")
def command(files: tuple[Path, ...], check: bool, diff: bool) -> None:
    """Put FILES (default: config/channels.yaml) into their normal form: layout alone, never what they say.

    Channel files, templates, tables and tests; of a folder all YAML in it; `-` is standard input, to standard
    output. Comments, anchors and blank lines between entries stay. A file that cannot be formatted without changing
    what it says is left as it is, and told. Exit 0, or 1 when a file was refused (or, with --check, would change).

    Example: isthmus fmt config --check --diff
    """
    order = schema(CONNECTIONS)
    changed, refused, seen = 0, 0, 0
    for path in _all(files or (CONFIG,)):
        seen += 1
        try:
            before = _read(path)
            after = normal(before, str(path), order)
        except ConfigError as error:
            click.echo(f"{error} [{error.code}]", err=True)
            refused += 1
            continue
        same = before.encode() == after.encode()
        changed += not same
        if path == STDIN and not (check or diff):
            click.echo(after, nl=False)
        elif not same:
            if diff:
                lines = difflib.unified_diff(
                    before.splitlines(), after.splitlines(), str(path), str(path), lineterm=""
                )
                click.echo("\n".join(lines))
            elif not check:
                path.write_bytes(after.encode())
            if not diff:
                click.echo(f"{path} {'is not in its normal form' if check else 'formatted'}")
    told = f"{seen - changed - refused} in normal form, {changed} {'not' if check or diff else 'formatted'}"
    click.echo(f"{told}{f', {refused} refused' if refused else ''}.", err=True)
    sys.exit(1 if refused or (check and changed) else 0)


def _all(files: tuple[Path, ...]) -> Iterator[Path]:
    for path in files:
        if path.is_dir():
            yield from sorted(one for one in path.rglob("*") if one.suffix in (".yaml", ".yml"))
        else:
            yield path


def _read(path: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot read the file: {error.strerror}",
            code="file.unreadable",
            where=str(path),
            todo="check the path",
        ) from None
    except UnicodeDecodeError:
        raise ConfigError("it is not UTF-8", code="file.unreadable", where=str(path)) from None
