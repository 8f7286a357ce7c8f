"""`--dry-run`: what a replay or resend would change, shown to who asks and to nobody else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from engine.change import kinds, named
from engine.cli import access, saying
from engine.cli.options import checked
from engine.cli.selecting import chosen_ids, narrowing

if TYPE_CHECKING:  # other verbs of messages start without what is needed for a preview
    from channels.preview import Effect
    from console.preview import Foreseen

LONGEST = 200  # characters of a value
SIGNS = {"created": "+", "changed": "~", "archived": "-", "merged": "&", "untouched": "="}
COLORS = {"+": "green", "~": "yellow", "-": "red", "&": "magenta"}


def foresee(
    verb: str,
    data: Path,
    config: Path,
    filters: dict[str, Any],
    limit: int | None,
    as_json: bool,
    brief: bool = False,
) -> None:
    """Print the effects; with `brief` nothing is asked of destinations.

    Exit 0, or 1 when a message would be in ERROR or would fail."""
    from channels.preview import Previewer
    from engine.cli.reactor import steady

    ids = chosen_ids(data, filters, limit)
    only = {} if verb == "replay" else narrowing(filters)
    configuration = checked(config)
    reactor = steady()
    if not brief:
        access.saw(data, ids, "preview")
    with access.reading(data) as tx:
        previewer = Previewer(configuration, data, reactor, tx, brief=brief)
        effects: list[Effect] = wait_for(previewer.preview(verb, ids, **only), reactor)
    told(effects, len(ids), as_json)


def told(effects: list[Effect], messages: int, as_json: bool) -> None:
    """Print effects, and exit 0, or 1 when a message would be in ERROR or would fail."""
    named = [kind for effect in effects for kind, _ in kinds(effect.changes)]
    _told(effects, [line for effect in effects for line in lines(effect)], total(named, messages), as_json)


def told_there(effects: list[Foreseen], messages: int, as_json: bool) -> NoReturn:
    """The same of what a console foresees."""
    named = [record.kind for effect in effects for record in effect.records]
    text = [line for effect in effects for line in lines_there(effect)]
    _told(effects, text, total(named, messages), as_json)


def _told(effects: Sequence[Effect | Foreseen], text: list[str], total: str, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(msgspec.json.encode(effects).decode())
    else:
        for line in text:
            click.secho(line, fg=COLORS.get(line[2:3]))
        click.secho(total, bold=True)
    failing = any(effect.state == "ERROR" or effect.why.startswith("it would fail") for effect in effects)
    sys.exit(1 if failing else 0)


def wait_for(work: Any, reactor: Any) -> Any:
    """Run a coroutine on the reactor; gives its result or raises its error."""
    outcome: list[Any] = []

    def done(result: Any) -> None:
        outcome.append(result)
        reactor.callLater(0, reactor.stop)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work).addBoth(done))
    reactor.run()
    if not outcome:
        raise click.Abort
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def lines(effect: Effect) -> list[str]:
    """One message and destination as text."""
    text = [_heading(effect)]
    for kind, record in kinds(effect.changes):
        first = record[0]
        text.append(f"  {SIGNS.get(kind, ' ')} {named(first.model, first.record)}  {first.key}  {kind}")
        text += [
            f"      {one.field}: {shown(one.new)}"
            if kind == "created"
            else f"      {one.field}: {shown(one.old, one.new)} → {shown(one.new)}"
            for one in record
            if one.field
        ]
        if first.op == "merge" and first.old:
            text.append(f"      {', '.join(map(str, first.old))} → {first.new}")
    return text


def lines_there(effect: Foreseen) -> list[str]:
    """The same of what a console foresees: values are text there, masked for who may not see them."""
    text = [_heading(effect)]
    for record in effect.records:
        text.append(f"  {SIGNS.get(record.kind, ' ')} {record.name}  {record.key}  {record.kind}")
        text += [
            f"      {one.name}: {shown(one.new)}"
            if record.kind == "created"
            else f"      {one.name}: {shown(one.old)} → {shown(one.new)}"
            for one in record.fields
        ]
    return text


def _heading(effect: Effect | Foreseen) -> str:
    where = f" → {effect.destination}" if effect.destination else ""
    why = f": {effect.why}" if effect.why else ""
    return f"Message {effect.message_id}  {effect.channel}{where}  {effect.state}{why}"


def shown(value: Any, other: Any = None) -> str:
    """A value of a field on one line; `other` is what a truth value is compared with."""
    if isinstance(value, bool) and other in ("0", "1"):
        return str(int(value))
    text = "(empty)" if value in (None, "", False, []) else " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def total(named: list[str], chosen: int) -> str:
    """How many records of each kind, the usual kinds first."""
    counts = dict.fromkeys(SIGNS, 0)
    for kind in named:
        counts[kind] = counts.get(kind, 0) + 1
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or "no record"
    return f"{saying.counted(chosen, 'message')}: {told}. Nothing was done."
