"""`messages`: what an admin needs at three in the morning."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.cli import access, edit, elsewhere, saying
from engine.cli.bulk import act
from engine.cli.export import from_store
from engine.cli.foresee import foresee
from engine.cli.options import config_option, data_option, json_option
from engine.cli.remote import served
from engine.cli.selecting import chosen_ids, rate, selection
from engine.cli.showing import error_table, listing, message_view
from engine.store import audit, causes, search
from engine.store.exporting import Form, as_text


@click.group("messages")
def command() -> None:
    """List, show, replay, resend, discard and export messages."""


@command.command("list")
@selection
@click.option("--limit", default=50, show_default=True, help="Newest so many.")
@data_option
@json_option
@served(elsewhere.messages_list)
def list_(filters: dict[str, Any], limit: int, data: Path, as_json: bool) -> None:
    """The newest messages that fit, one line each.

    Example: isthmus messages list --channel adt --state ERROR --since 24h
    """
    with access.reading(data) as tx:
        rows = search.find(tx, **filters, limit=limit)
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
    else:
        listing(rows)


@command.command("show")
@click.argument("id", type=int)
@click.option("--raw", is_flag=True, help="Only the message, byte for byte.")
@data_option
@json_option
@served(elsewhere.messages_show)
def show(id: int, raw: bool, data: Path, as_json: bool) -> None:
    """One message: its states with their times, the ACK, operations, requests and answers.

    Example: isthmus messages show 42
    """
    with access.reading(data) as tx:
        shown = search.show(tx, id)
    if shown is None:
        click.echo(f"There is no message {id}.", err=True)
        sys.exit(1)
    access.saw(data, [id])
    if raw:
        sys.stdout.buffer.write(shown["raw"] or b"")
    elif as_json:
        click.echo(as_text(shown))
    else:
        message_view(shown)


@command.command("errors")
@click.option("--channel", help="Of this channel.")
@data_option
@json_option
@served(elsewhere.messages_errors)
def errors(channel: str | None, data: Path, as_json: bool) -> None:
    """Open errors grouped by their cause: how many, where, since when, and what to do.

    The cause chooses them in `list`, `replay`, `resend`, `discard` and `export`: --cause 3f2a91bc.

    Example: isthmus messages errors
    """
    with access.reading(data) as tx:
        groups = causes.error_groups(tx, channel)
    if as_json:
        click.echo(msgspec.json.encode(groups).decode())
    else:
        error_table(groups)


command.add_command(edit.command)


def bulk_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the acts on many messages have in common."""
    for option in (
        click.option("--no-wait", is_flag=True, help="Tell the job's id and do not wait for it."),
        click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest first."),
        click.option("--rate", callback=rate, help="At most so many messages: 50/s, 100/m."),
    ):
        function = option(function)
    return function


def preview_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What the acts that send have in common."""
    for option in (
        config_option,
        click.option("--force", is_flag=True, help="Put older data over newer, too."),
        click.option("--dry-run", is_flag=True, help="Only show what would change, field by field."),
    ):
        function = option(function)
    return function


@command.command("replay")
@selection
@bulk_options
@preview_options
@click.option(
    "--brief", is_flag=True, help="With --dry-run: only whether each would pass; no destination is asked."
)
@data_option
@json_option
@served(partial(elsewhere.messages_act, "replay"))
def replay(
    filters: dict[str, Any], rate: float | None, limit: int | None, no_wait: bool, dry_run: bool, force: bool,
    brief: bool, config: Path, data: Path, as_json: bool,
) -> None:  # fmt: skip
    """Run messages again through today's channel: each becomes a new message that names its parent.

    What the old message could not deliver is discarded with it. Refuses (exit 1) to put older data over what was
    delivered since, unless --force says so.

    Example: isthmus messages replay --cause 3f2a91bc --dry-run
    """
    if dry_run:
        foresee("replay", data, config, filters, limit, as_json, brief=brief)
    act("replay", data, filters, rate=rate, limit=limit, wait=not no_wait, force=force, as_json=as_json)


@command.command("resend")
@selection
@bulk_options
@preview_options
@data_option
@json_option
@served(partial(elsewhere.messages_act, "resend"))
def resend(
    filters: dict[str, Any], rate: float | None, limit: int | None, no_wait: bool, dry_run: bool, force: bool,
    config: Path, data: Path, as_json: bool,
) -> None:  # fmt: skip
    """Send the same rendered deliveries again: given up ones, and ones that were sent.

    With --delivery, --cause, --code or --destination only the deliveries that fit. Refuses (exit 1) to put older
    data over what was delivered since, unless --force says so.

    Example: isthmus messages resend --delivery ERROR --destination clinic --rate 50/s
    """
    if dry_run:
        foresee("resend", data, config, filters, limit, as_json)
    act("resend", data, filters, rate=rate, limit=limit, wait=not no_wait, force=force, as_json=as_json)


@command.command("discard")
@selection
@bulk_options
@click.option("--note", default="", help="Why (kept with the delivery; no patient data).")
@data_option
@json_option
@served(partial(elsewhere.messages_act, "discard"))
def discard(
    filters: dict[str, Any], rate: float | None, limit: int | None, no_wait: bool, note: str, data: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Decide that deliveries need not be sent, and that errors are dealt with; what waited for them goes on.

    A message in ERROR keeps its state and is not counted as an open error any more.

    Example: isthmus messages discard 42 --note "entered by hand"
    """
    act(
        "discard", data, filters, rate=rate, limit=limit, wait=not no_wait, force=True, as_json=as_json, note=note
    )  # fmt: skip


@command.command("export")
@selection
@click.option(
    "--format",
    "form",
    type=click.Choice(["hl7", "json", "csv"]),
    default="hl7",
    show_default=True,
    help="The messages byte for byte, everything about them, or a table without content.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="A new file, `-` for standard output, or an existing folder: a file each.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many, the oldest first.")
@data_option
@served(elsewhere.messages_export)
def export(filters: dict[str, Any], form: Form, output: Path, limit: int | None, data: Path) -> None:
    """Write messages to a file: they hold patient data, so only you can read it, and it is kept who did it.

    Example: isthmus messages export --cause 3f2a91bc --format hl7 -o failed.hl7
    """
    ids = chosen_ids(data, filters, limit)
    access.audited(data, "messages.export", audit.span(ids), lambda tx: None, form)
    sys.exit(saying.exported(from_store(data, ids, form, output), len(ids)))
