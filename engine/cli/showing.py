"""Messages as text for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click
import msgspec
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.clock import iso
from engine.store import audit
from engine.store.causes import ErrorGroup
from engine.store.exporting import body
from engine.store.jobs import Job
from engine.store.messages import PART
from engine.store.search import Row
from engine.store.tokens import Token
from engine.store.users import User

COLORS = {"SENT": "green", "TRANSFORMED": "green", "ERROR": "red", "FILTERED": "dim", "QUEUED": "yellow"}
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def _state(state: str) -> Text:
    return Text(state, style=COLORS.get(state, ""))


def listing(rows: list[Row]) -> None:
    """One line a message."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "received", "channel", "type", "control id", "state", "deliveries", "error"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        deliveries = Text(", ").join(
            Text(f"{name} ") + _state(state) for name, state in row.deliveries.items()
        )
        table.add_row(
            str(row.id), iso(row.received_at), row.channel,
            " ".join([row.type, *(f"{name}={value}" for name, value in row.columns.items())]),
            row.control_id, _state(row.state), deliveries,
            f"{row.error_code or ''}{' (dealt with)' if row.dismissed else ''}",
        )  # fmt: skip
    console.print(table if rows else "No messages.")


def error_table(groups: list[ErrorGroup]) -> None:
    """One line a cause, and below it what was wrong and what to do."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("cause", "count", "channel", "destination", "code", "place", "first", "last", "sample"):
        table.add_column(name, no_wrap=True)
    for group in groups:
        table.add_row(
            group.cause, str(group.count), group.channel, group.destination, group.code, group.place,
            iso(group.first_at), iso(group.last_at), str(group.last_id),
        )  # fmt: skip
    console.print(table if groups else "No errors.")
    for group in groups:
        console.print(Text.assemble("\n", (group.cause, "bold"), f"  {group.text or 'no text was kept'}"))


def job_table(found: list[Job]) -> None:
    """One line a job."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("job", "asked for", "by", "act", "state", "done", "changed", "failed", "rate"):
        table.add_column(name, no_wrap=True)
    for job in found:
        rate = f"{job.args['rate']:g}/s" if job.args.get("rate") else ""
        table.add_row(
            str(job.id), iso(job.at), job.actor, job.verb, job.state, f"{job.done} of {job.total}",
            str(job.changed), str(job.failed or ""), rate,
        )  # fmt: skip
    console.print(table if found else "No jobs.")


def job_view(job: Job) -> None:
    """Everything about one job."""
    console.print(f"Job {job.id}  {job.verb}  {job.state}", style="bold")
    _line("asked for", f"{iso(job.at)} by {job.actor}")
    for name, value in job.args.items():
        _line(name, f"{value:g}/s" if name == "rate" else str(value))
    _line("done", f"{job.done} of {job.total} messages, {job.changed} changed, {job.failed} failed")
    if job.finished_at:
        _line("finished", iso(job.finished_at))


def message_view(shown: dict[str, Any]) -> None:
    """Everything about one message, in the order in which it happened."""
    head = f"Message {shown['id']}  {shown['channel']}  {shown['type']}  control id {shown['control_id'] or '(none)'}"
    console.print(head, style="bold")
    _line("from", f"{shown['sender'].replace('|', ' at ')}, {shown['peer']}")
    if shown["parent_id"]:
        of = "part, or answer, of it" if shown["flags"] & PART else "replay"
        _line("made of", f"{shown['parent_id']} ({of})")
    if shown["children"]:
        _line("replayed as", ", ".join(map(str, shown["children"])))
    if shown["parts"]:
        _line("gave", ", ".join(map(str, shown["parts"])))
    _line(
        iso(shown["received_at"]),
        f"RECEIVED, {shown['size']} bytes, answered {shown['ack'] or 'nothing yet'}",
    )
    if shown["routed_at"]:
        _line(iso(shown["routed_at"]), Text.assemble(_state(shown["state"]), _why(shown)))
    for delivery in shown["deliveries"]:
        _delivery(delivery)
    for event in shown["events"]:
        where = f" {event['destination']}" if event["destination"] else ""
        _line(iso(event["at"]), f"{event['kind']}{where} by {event['actor']} {event['detail'] or ''}")
    _block("Message", body(shown["raw"]) if shown["raw"] is not None else "(content not kept)")
    _block("ACK", body(shown["answer"]))
    for delivery in shown["deliveries"]:
        for name in ("payload", "request", "response"):
            if delivery[name]:
                _block(
                    f"{delivery['destination']}: {'operations' if name == 'payload' else name}",
                    pretty(delivery[name]),
                )


def _why(item: dict[str, Any]) -> str:
    if item.get("reason"):
        return f" ({item['reason']})"
    if item.get("error_code"):
        place = f" at {item['error_place']}" if item["error_place"] else ""
        return f" {item['error_text']}{place} [{item['error_code']}]"
    return ""


def _delivery(item: dict[str, Any]) -> None:
    when = iso(item["finished_at"]) if item["finished_at"] else ""
    if not when and item["next_at"]:
        when = f"next {iso(item['next_at'])}"
    record = f" {item['record']}" if item["record"] else ""
    attempts = f", attempts {item['attempts']}" if item["attempts"] != 1 else ""
    note = f", {item['note']}" if item["note"] else ""
    _line(
        when or "-",
        Text.assemble(
            f"{item['destination']} ", _state(item["state"]), f"{record}{attempts}{note}{_why(item)}"
        ),
    )


def _line(left: str, right: str | Text) -> None:
    console.print(Text.assemble((f"  {left:<26}", "dim"), right))


def _block(title: str, text: str) -> None:
    console.print(f"\n{title}", style="bold")
    for line in text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n"):
        console.print(Text(f"  {line}"))


def pretty(data: bytes) -> str:
    """JSON indented, anything else as text."""
    try:
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        return body(data)


def user_table(found: Sequence[User]) -> None:
    """Users and what they may do."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "role", "channels", "patient data", "second factor", "state"):
        table.add_column(name)
    for one in found:
        for grant in one.grants:
            table.add_row(
                one.name, grant.role, ", ".join(grant.channels) or "all", "may see" if one.reveal else "masked",
                "on" if one.has_totp else "off", "disabled" if one.disabled else "active",
            )  # fmt: skip
    console.print(table)


def token_list(found: Sequence[Token]) -> None:
    """Tokens, a line each."""
    for one in found:
        state = "revoked" if one.revoked_at else f"until {iso(one.expires_at)}"
        used = iso(one.used_at) if one.used_at else "never"
        click.echo(f"{one.id}  {one.name}  of {one.user}  {state}  used {used}")


def audit_log(rows: Sequence[audit.Entry], fhir: bool, as_json: bool) -> None:
    """Entries of the audit log: a line each, as AuditEvent resources, or as JSON."""
    if fhir:
        for row in rows:
            click.echo(msgspec.json.encode(audit.as_fhir(row)).decode())
    elif as_json:
        click.echo(msgspec.json.encode(rows).decode())
    else:
        for row in rows:
            click.echo(f"{iso(row.at)}  {row.actor}  {row.action}  {row.object}  {row.outcome}  {row.detail}")
