"""The filters by which messages are chosen, for every verb that takes many."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import click

from engine.cli import access
from engine.states import DeliveryState, MessageState
from engine.store import search

ALL = 10_000_000
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def selection(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filters by which messages are chosen; all must hold."""
    options = [
        click.argument("ids", nargs=-1, type=int),
        click.option("--channel", help="Of this channel."),
        click.option("--state", type=click.Choice(list(MessageState)), help="In this state."),
        click.option(
            "--delivery", type=click.Choice(list(DeliveryState)), help="With a delivery in this state."
        ),
        click.option("--destination", help="To this destination."),
        click.option("--cause", help="With this cause, as `messages errors` names it."),
        click.option("--code", help="With this error code."),
        click.option("--since", help="Received since: 2026-11-22T03:00, 90m, 24h, 7d."),
        click.option("--until", help="Received before."),
        click.option("--control-id", help="With this MSH-10."),
        click.option("--mrn", help="Of this patient (PID-3.1)."),
        click.option("--visit", help="Of this visit (PV1-19)."),
        click.option(
            "--column",
            "columns",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_columns,
            help="With this value in a searchable column (`search` of the channel); several times if needed.",
        ),
        click.option("--type", "kind", help="Of this type: ADT, or ADT^A01."),
    ]

    @wraps(function)
    def chosen(
        ids: tuple[int, ...], channel: str | None, state: str | None, delivery: str | None, destination: str | None,
        cause: str | None, code: str | None, since: str | None, until: str | None, control_id: str | None,
        mrn: str | None, visit: str | None, columns: dict[str, str], kind: str | None, **rest: Any,
    ) -> Any:  # fmt: skip
        filters = {
            "ids": ids or None, "channel": channel, "state": state, "delivery_state": delivery,
            "destination": destination, "cause": cause and cause.lower(), "error_code": code,
            "since": access.moment(since), "until": access.moment(until), "control_id": control_id, "mrn": mrn,
            "visit": visit, "columns": columns or None, "type": kind,
        }  # fmt: skip
        return function(filters=filters, **rest)

    result: Callable[..., Any] = chosen
    for option in reversed(options):
        result = option(result)
    return result


def _columns(_context: Any, _option: Any, given: tuple[str, ...]) -> dict[str, str]:
    """`ward=ICU`, several times."""
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"{one!r}: write ward=ICU")
        found[name] = value
    return found


def chosen_ids(data: Path, filters: dict[str, Any], limit: int | None = None) -> list[int]:
    """The messages to act on, in order of receipt, the first `limit` of them.

    Errors that somebody has dealt with are chosen only by their ids.
    """
    refuse_all(filters)
    dismissed = None if filters["ids"] else False
    with access.reading(data) as tx:
        return search.ids(lambda: nullcontext(tx), limit or ALL, **filters, dismissed=dismissed)


def refuse_all(filters: dict[str, Any]) -> None:
    """UsageError unless a filter is given."""
    if not any(value is not None for value in filters.values()):
        raise click.UsageError("Name messages by id, or choose them with a filter such as --state ERROR.")


def narrowing(filters: dict[str, Any]) -> dict[str, Any]:
    """What of a chosen message is meant: deliveries to that destination, in that state, with that error."""
    return {
        "destination": filters["destination"],
        "state": filters["delivery_state"],
        "code": filters["error_code"],
        "cause": filters["cause"],
    }


def rate(_context: Any, _option: Any, text: str | None) -> float | None:
    """`50`, `50/s`, `100/m`: messages a second."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smh]))?", text)
    if found is None or not float(found[1]):
        raise click.BadParameter("write 50/s, or 100/m for a hundred a minute")
    return float(found[1]) / _UNITS[found[2] or ""]
