"""`messages`: what an admin needs at three in the morning."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec

from engine.cli import access
from engine.cli.options import data_option, json_option
from engine.cli.showing import body, error_table, listing, message_view
from engine.states import DeliveryState, MessageState
from engine.store import causes, search

ALL = 1_000_000


@click.group("messages")
def command() -> None:
    """List, show, replay, resend and discard messages."""


def selection(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filters by which messages are chosen; all must hold."""
    options = [
        click.argument("ids", nargs=-1, type=int),
        click.option("--channel", help="Of this channel."),
        click.option("--state", type=click.Choice(list(MessageState)), help="In this state."),
        click.option(
            "--delivery", type=click.Choice(list(DeliveryState)),
            help="With a delivery in this state.",
        ),
        click.option("--destination", help="To this destination."),
        click.option("--code", help="With this error code."),
        click.option("--since", help="Received since: 2026-11-22T03:00, 90m, 24h, 7d."),
        click.option("--until", help="Received before."),
        click.option("--control-id", help="With this MSH-10."),
        click.option("--mrn", help="Of this patient (PID-3.1)."),
        click.option("--visit", help="Of this visit (PV1-19)."),
        click.option("--type", "kind", help="Of this type: ADT, or ADT^A01."),
    ]  # fmt: skip

    @wraps(function)
    def chosen(
        ids: tuple[int, ...], channel: str | None, state: str | None, delivery: str | None, destination: str | None,
        code: str | None, since: str | None, until: str | None, control_id: str | None, mrn: str | None,
        visit: str | None, kind: str | None, **rest: Any,
    ) -> Any:  # fmt: skip
        filters = {
            "ids": ids or None, "channel": channel, "state": state, "delivery_state": delivery,
            "destination": destination, "error_code": code, "since": access.moment(since),
            "until": access.moment(until), "control_id": control_id, "mrn": mrn, "visit": visit, "type": kind,
        }  # fmt: skip
        return function(filters=filters, **rest)

    result: Callable[..., Any] = chosen
    for option in reversed(options):
        result = option(result)
    return result


@command.command("list")
@selection
@click.option("--limit", default=50, show_default=True, help="Newest so many.")
@data_option
@json_option
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
def show(id: int, raw: bool, data: Path, as_json: bool) -> None:
    """One message: its states with their times, the ACK, operations, requests and answers.

    Example: isthmus messages show 42
    """
    with access.reading(data) as tx:
        shown = search.show(tx, id)
    if shown is None:
        click.echo(f"There is no message {id}.", err=True)
        sys.exit(1)
    if raw:
        sys.stdout.buffer.write(shown["raw"] or b"")
    elif as_json:
        click.echo(_json(shown))
    else:
        message_view(shown)


def _json(shown: dict[str, Any]) -> str:
    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return body(value) if isinstance(value, bytes) else value

    return msgspec.json.encode(plain(shown)).decode()


@command.command("errors")
@click.option("--channel", help="Of this channel.")
@data_option
@json_option
def errors(channel: str | None, data: Path, as_json: bool) -> None:
    """Errors grouped by their cause: how many, which, where.

    Example: isthmus messages errors
    """
    with access.reading(data) as tx:
        groups = causes.error_groups(tx, channel)
    if as_json:
        click.echo(msgspec.json.encode(groups).decode())
    else:
        error_table(groups)


def _chosen(data: Path, filters: dict[str, Any]) -> list[int]:
    if not any(value is not None for value in filters.values()):
        raise click.UsageError("Name messages by id, or choose them with a filter such as --state ERROR.")
    with access.reading(data) as tx:
        return sorted(row.id for row in search.find(tx, **filters, limit=ALL))


def _report(verb: str, done: list[Any], wanted: int, by_engine: bool) -> None:
    click.echo(f"{verb}: {len(done)} (of {wanted} chosen).")
    if not by_engine:
        click.echo("No engine is running on this store: it goes on when one starts.", err=True)
    sys.exit(0 if done or not wanted else 1)


@command.command("replay")
@selection
@data_option
@json_option
def replay(filters: dict[str, Any], data: Path, as_json: bool) -> None:
    """Run messages again through today's channel: each becomes a new message that names its parent.

    Example: isthmus messages replay --state ERROR --code patient.no_identifier
    """
    ids = _chosen(data, filters)
    result, by_engine = access.act(data, "replay", ids)
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    _report("Replayed", result["replayed"], len(ids), by_engine)


@command.command("resend")
@selection
@data_option
@json_option
def resend(filters: dict[str, Any], data: Path, as_json: bool) -> None:
    """Send the same rendered deliveries again: given up ones, and ones that were sent.

    Example: isthmus messages resend --delivery ERROR --destination clinic
    """
    ids = _chosen(data, filters)
    result, by_engine = access.act(data, "resend", ids, destination=filters["destination"])
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    _report("Resent", result["resent"], len(ids), by_engine)


@command.command("discard")
@selection
@click.option("--note", default="", help="Why (kept with the delivery; no patient data).")
@data_option
@json_option
def discard(filters: dict[str, Any], note: str, data: Path, as_json: bool) -> None:
    """Decide that deliveries need not be sent; what waited for them goes on.

    Example: isthmus messages discard 42 --note "entered by hand"
    """
    ids = _chosen(data, filters)
    result, by_engine = access.act(data, "discard", ids, destination=filters["destination"], note=note)
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
        return
    _report("Discarded", result["discarded"], len(ids), by_engine)
