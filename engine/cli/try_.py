"""`try`: what a channel would do to a message, step by step, and where each value comes from; nothing is sent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from channels.answering import form
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
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="DESTINATION=FILE",
    help="What this destination answers: runs its response steps, too.",
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
    answers: tuple[str, ...],
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
    folder). With `--answer lab=ack.hl7` the response steps of the destination `lab` run on that file. Exit 0 when every
    message would go through or be filtered, 1 when one would be in ERROR.

    Example: isthmus try adt config/samples/01-register.hl7 --set PID-8=male
    """
    wanted = [_pair(change) for change in changes]
    given = dict(_answer(one) for one in answers)
    with asking(lookups, data) as who:
        _try(channel, files, wanted, given, config, who, watch=watch, events=events, as_json=as_json)


def _try(
    channel: str,
    files: tuple[Path, ...],
    wanted: list[tuple[str, str]],
    answers: dict[str, Path],
    config: Path,
    who: Asking | None,
    *,
    watch: bool,
    events: bool,
    as_json: bool,
) -> None:
    def once() -> bool:
        traces = list(_traces(channel, files, wanted, answers, config, who))
        if as_json:
            click.echo(msgspec.json.encode([trace for _, trace in traces]).decode())
        else:
            for file, trace in traces:
                show(trace, file.name, events=events)
        return any(trace.state == MessageState.ERROR for _, trace in traces)

    if not watch:
        sys.exit(1 if once() else 0)
    for _ in saves([*files, *answers.values(), config]):
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


def _answer(given: str) -> tuple[str, Path]:
    name, _, file = given.partition("=")
    if not file or not Path(file).is_file():
        raise click.BadParameter(f"{given!r}: write DESTINATION=FILE", param_hint="--answer")
    return name, Path(file)


def _replies(tracer: Tracer, answers: dict[str, Path]) -> Iterator[tuple[str, Any]]:
    """The answers as `channels.answering` takes them."""
    routes = {route.name: route for route in tracer.pipeline.routes}
    for name, file in answers.items():
        given: Any = file.read_bytes()
        if name in routes and routes[name].response and routes[name].response.format.name == "json":
            with suppress(msgspec.DecodeError):
                given = msgspec.json.decode(given)
        elif not given.endswith(b"\r"):
            given = given.decode("utf-8", "replace")
        wrong = form(routes.get(name), given)
        if wrong:
            raise click.BadParameter(f"{name}: {wrong}", param_hint="--answer")
        yield name, given


def _traces(
    channel: str,
    files: Iterable[Path],
    changes: list[tuple[str, str]],
    answers: dict[str, Path],
    config: Path,
    who: Asking | None,
) -> Iterator[tuple[Path, Trace]]:
    configuration = checked(config)
    if channel not in configuration.channels:
        raise click.UsageError(
            f"there is no channel {channel!r}. {did_you_mean(channel, configuration.channels)}"
        )
    tracer = Tracer(configuration, channel, who)
    tracer.answers = dict(_replies(tracer, answers))
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
