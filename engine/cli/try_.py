"""`try`: what a channel would do to a message, step by step, and where each value comes from; nothing is sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from channels.asking import Asking
from channels.trace import Trace
from channels.tracer import Tracer
from engine.cli.asking import asking, lookups_option
from engine.cli.options import checked, config_option, data_option, json_option
from engine.cli.traces import show
from engine.clock import now
from engine.errors import IsthmusError
from engine.model import CLEAR
from engine.spec.document import did_you_mean
from engine.states import MessageState

POLL = 0.3  # seconds between two looks at the files
WATCHED = frozenset({".yaml", ".yml", ".csv", ".py", ".j2", ".json", ".txt"})


@click.command("try")
@click.argument("channel")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change a field of the message first, to try a variation; several times if needed.",
)
@click.option("--watch", is_flag=True, help="Do it again whenever the configuration or a message is saved.")
@click.option("--events", is_flag=True, help="Show every value of the canonical events with its source.")
@config_option
@lookups_option
@data_option
@json_option
def command(
    channel: str,
    files: tuple[Path, ...],
    changes: tuple[str, ...],
    watch: bool,
    events: bool,
    config: Path,
    lookups: str,
    data: Path,
    as_json: bool,
) -> None:
    """Run the messages of FILES through CHANNEL: every step with what it saw and changed, what Odoo would get and
    from which field of the message, line of the template and row of a table each value comes, and the ACK.

    With `--lookups ask` the connections are asked for what `lookup` steps look up (the sandbox: its file in the data
    folder). Exit 0 when every message would go through or be filtered, 1 when one would be in ERROR.

    Example: isthmus try adt config/samples/01-register.hl7 --set PID-8=male
    """
    wanted = [_pair(change) for change in changes]
    with asking(lookups, data) as who:
        _try(channel, files, wanted, config, who, watch=watch, events=events, as_json=as_json)


def _try(
    channel: str,
    files: tuple[Path, ...],
    wanted: list[tuple[str, str]],
    config: Path,
    who: Asking | None,
    *,
    watch: bool,
    events: bool,
    as_json: bool,
) -> None:
    def once() -> bool:
        traces = list(_traces(channel, files, wanted, config, who))
        if as_json:
            click.echo(msgspec.json.encode([trace for _, trace in traces]).decode())
        else:
            for file, trace in traces:
                show(trace, file.name, events=events)
        return any(trace.state == MessageState.ERROR for _, trace in traces)

    if not watch:
        sys.exit(1 if once() else 0)
    for _ in saves([*files, config]):
        if not as_json:
            click.clear()
        try:
            once()
        except (IsthmusError, OSError) as error:
            click.echo(f"isthmus: {error}", err=True)
        except SystemExit:
            pass  # what is wrong with the configuration was told
        except click.UsageError as error:
            click.echo(error.format_message(), err=True)
        click.echo("Waiting for a save; Ctrl-C ends.", err=True)


def _pair(change: str) -> tuple[str, str]:
    path, equals, value = (
        change.rpartition("=") if change.count("=") > 1 and "]=" in change else change.partition("=")
    )
    if not equals:
        raise click.BadParameter(f"{change!r}: write PID-8=male", param_hint="--set")
    return path, value


def _traces(
    channel: str, files: Iterable[Path], changes: list[tuple[str, str]], config: Path, who: Asking | None
) -> Iterator[tuple[Path, Trace]]:
    configuration = checked(config)
    if channel not in configuration.channels:
        raise click.UsageError(
            f"there is no channel {channel!r}. {did_you_mean(channel, configuration.channels)}"
        )
    tracer = Tracer(configuration, channel, who)
    for file in files:
        for raw in tracer.format.parts(file.read_bytes()):
            yield file, tracer.trace(_changed(tracer.format.parse, raw, changes), now())


def _changed(parse: Callable[[bytes], Any], raw: bytes, changes: list[tuple[str, str]]) -> bytes:
    if not changes:
        return raw
    message = parse(raw)
    for path, value in changes:
        message[path] = CLEAR if value == '""' else value
    return bytes(message)


def saves(files: Iterable[Path]) -> Iterator[None]:
    """Now, and again whenever one of the files, or a file beside the configuration or a shipped template, is saved."""
    before = None
    while True:
        found = _stamps(files)
        if found != before:
            before = found
            yield
        time.sleep(POLL)


def _stamps(files: Iterable[Path]) -> dict[Path, int]:
    found: dict[Path, int] = {}
    folders = {
        file if file.is_dir() else file.parent for file in files if file.suffix in WATCHED or file.is_dir()
    }
    for file in [
        *files,
        *(item for folder in folders for item in folder.rglob("*") if item.suffix in WATCHED),
    ]:
        try:
            found[file] = file.stat().st_mtime_ns
        except OSError:
            continue  # an editor is replacing it
    return found
