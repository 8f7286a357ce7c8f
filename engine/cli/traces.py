"""A trace as text for a terminal: the steps in their order, then what comes out with where it is from."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from channels.trace import Destination, Operation, Place, Reply, Row, Step, Trace, Value
from engine.cli.showing import COLORS, console

LONGEST = 120  # characters of a value
NAMED = 4  # sources that are told with their names; more are told by their paths alone
OUTCOMES = {"passed": "green", "changed": "yellow", "filtered": "magenta", "error": "red"}


def show(trace: Trace, title: str, *, events: bool = False, out: Console = console) -> None:
    """Print one trace; with `events` every value of the canonical events, too."""
    out.print(
        Text.assemble((f"{title}  {trace.type}  {trace.control_id}", "bold"), f" → channel {trace.channel}")
    )
    for step in trace.steps:
        _step(step, out)
    for value in trace.variables:
        _value(value, out, len(value.field))
    for event in trace.events:
        out.print(Text.assemble("  event ", (event.type, "bold"), f"  {event.subject}"))
        if events:
            width = max((len(value.field) for value in event.values), default=0)
            for value in event.values:
                _value(value, out, width)
    for destination in trace.destinations:
        _destination(destination, out)
    why = f": {trace.why}" if trace.why else ""
    out.print(Text.assemble("  ", (trace.state, COLORS.get(trace.state, "")), why))
    if trace.because and trace.state != "TRANSFORMED":
        out.print(Text(f"      because of {_places(trace.because)}", "dim"))
    if trace.partial:
        out.print(
            Text("      the message is long: not every field was tried, sources may be missing", "yellow")
        )
    for answer in trace.answers or ["no answer"]:
        lines = answer.strip().split("\r")
        out.print(Text("  ACK   " + "\n        ".join(lines)))


def _step(step: Step, out: Console) -> None:
    out.print(
        Text.assemble(
            f"  {step.label:<32} ",
            (f"{step.outcome:<10}", OUTCOMES.get(step.outcome, "dim")),
            (f" {step.where}", "dim"),
        )
    )
    if step.reason:
        out.print(Text(f"      {step.reason}", "magenta"))
    for place in step.saw:
        out.print(Text.assemble(("      saw      ", "dim"), f"{_named(place)} = {_shown(place.value)}"))
    for row in step.rows:
        out.print(Text.assemble(("      table    ", "dim"), *_row(row)))
    for change in step.changed:
        name = f"{change.path} {change.name}".strip()
        told = f"{name}: {_shown(change.old)} → {_shown(change.new)}"
        out.print(Text.assemble(("      changed  ", "dim"), (told, "yellow")))


def _destination(destination: Destination, out: Console) -> None:
    for step in destination.steps:
        _step(step, out)
    out.print(Text.assemble(f"  to {destination.name}", (f"  {destination.where}", "dim")))
    if destination.skipped:
        out.print(Text(f"      nothing: {destination.skipped}", "dim"))
    for line in (
        destination.payload.replace("\r", "\n").strip("\n").split("\n") if destination.payload else ()
    ):
        out.print(Text(f"      {line}"))
    for operation in destination.operations:
        _operation(operation, out)
    if destination.reply is not None:
        _reply(destination.reply, out)


def _reply(reply: Reply, out: Console) -> None:
    """What the answer makes of the delivery."""
    out.print(Text("    on this answer"))
    for step in reply.steps:
        _step(step, out)
    for passed in reply.forwarded:
        text = passed.message if isinstance(passed.message, str) else json.dumps(passed.message)
        out.print(Text.assemble("    to channel ", (passed.channel, "bold"), f"  {text}"))
    why = f": {reply.place} {reply.text} [{reply.code}]".replace(":  ", ": ") if reply.code else ""
    out.print(Text.assemble("    ", (reply.state, COLORS.get(reply.state, "")), why))


def _operation(operation: Operation, out: Console) -> None:
    out.print(
        Text.assemble(
            "    ",
            (operation.op, "bold"),
            f" {operation.model}  {operation.key}",
            (f"  {operation.where}", "dim"),
        )
    )
    if operation.because:
        out.print(Text(f"        there because of {_places(operation.because)}", "dim"))
    width = max((len(value.field) for value in operation.values), default=0)
    for value in operation.values:
        _value(
            value, out, width, nothing='""'
        )  # what is absent is not in an operation: this field is emptied


def _value(value: Value, out: Console, width: int, nothing: str = "(absent)") -> None:
    told = (nothing if value.value is None else _shown(value.value), "bold")
    out.print(Text.assemble(f"      {value.field:<{width}}  ", told, (f"  {value.where}", "dim")))
    through = ", ".join(place.path for place in value.read if place.path.startswith("event."))
    chain = [part for part in (through, _places(value.sources)) if part]
    if chain:
        out.print(Text(f"      {'':<{width}}  ← {' ← '.join(chain)}", "cyan"))
    for row in value.rows:
        out.print(Text.assemble(f"      {'':<{width}}  ", ("← table ", "cyan"), *_row(row)))


def _row(row: Row) -> tuple[Any, ...]:
    told = f"{row.table}: {row.code} → {_shown(row.value)}"
    return told, (f"  {row.where or '(not in the table)'}", "dim")


def _places(places: list[Place]) -> str:
    if len(places) > NAMED:
        return ", ".join(place.path for place in places)
    return ", ".join(_named(place) for place in places)


def _named(place: Place) -> str:
    return f"{place.path} {place.name}".strip()


def _shown(value: Any) -> str:
    if value is None:
        return "(absent)"
    text = " ".join(str(value).split()) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
