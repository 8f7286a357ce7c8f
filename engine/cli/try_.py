"""`try`: what a channel would do to a message, step by step. Nothing is sent, nothing is stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from channels.build import Builder
from channels.pipeline import Pipeline, Rendered
from engine.cli.options import checked, config_option, json_option
from engine.cli.showing import body, pretty
from engine.clock import now
from engine.errors import HL7Error
from engine.hl7.peek import HeaderError
from engine.model import Meta, Scope
from engine.spec.document import did_you_mean
from engine.states import MessageState


@click.command("try")
@click.argument("channel")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@config_option
@json_option
def command(channel: str, files: tuple[Path, ...], config: Path, as_json: bool) -> None:
    """Run the messages of FILES through CHANNEL: every step with what it changed, events, operations, the ACK.

    Exit 0 when every message would go through or be filtered, 1 when one would be in ERROR.

    Example: isthmus try adt config/samples/01-register.hl7
    """
    configuration = checked(config)
    spec = configuration.channels.get(channel)
    if spec is None:
        raise click.UsageError(
            f"there is no channel {channel!r}. {did_you_mean(channel, configuration.channels)}"
        )
    pipeline = Builder(configuration).pipeline(spec)
    shown = [
        attempt(pipeline, raw, file) for file in files for raw in pipeline.format.parts(file.read_bytes())
    ]
    if as_json:
        click.echo(msgspec.json.encode(shown).decode())
    else:
        for one in shown:
            show(one)
    sys.exit(1 if any(one["state"] == MessageState.ERROR for one in shown) else 0)


def attempt(pipeline: Pipeline, raw: bytes, file: Path) -> dict[str, Any]:
    """Everything that one message goes through, as plain data."""
    told: dict[str, Any] = {"file": file.name, "steps": [], "events": [], "destinations": {}}
    try:
        header = pipeline.format.peek(raw)
    except HL7Error as error:
        answer = pipeline.format.acknowledge(None, error.ack, error, "TRY", now())
        seen = error.header.type if isinstance(error, HeaderError) and error.header else "?"
        return told | {
            "type": seen, "state": MessageState.ERROR, "why": f"{error} [{error.code}]", "ack": body(answer)
        }  # fmt: skip
    meta = Meta(0, pipeline.channel, now(), header.control_id, header.type, header.sender, "try")
    watcher = _Watcher(raw)
    result = pipeline.process(raw, meta, watcher)
    told |= {"type": header.type, "state": result.state, "why": _why(result), "steps": watcher.steps}
    told["events"] = [f"{event.type} ({event.subject})" for event in watcher.events()]
    told["destinations"] = {name: msgspec.Raw(payload) for name, payload in result.payloads}
    told["skipped"] = [f"{name}: {why}" for name, why in result.skipped]
    told["ack"] = body(pipeline.format.acknowledge(header, "AA", None, "TRY", meta.received_at))
    return told


def _why(result: Rendered) -> str:
    if result.state == MessageState.ERROR:
        return f"{result.place}: {result.text} [{result.code}]"
    return result.reason


class _Watcher:
    """Notes what each step changed."""

    def __init__(self, raw: bytes) -> None:
        self.before = body(raw).split("\r")
        self.vars: dict[str, Any] = {}
        self.steps: list[dict[str, Any]] = []
        self.scope: Scope | None = None

    def __call__(self, label: str, scope: Scope, reason: str | None) -> None:
        self.scope = scope
        after = body(bytes(scope.msg)).split("\r")
        changed = [f"{old} -> {new}" for old, new in zip(self.before, after, strict=False) if old != new]
        changed += [f"+ {line}" for line in after[len(self.before) :]]
        changed += [
            f"{name} = {value!r}" for name, value in scope.vars.items() if self.vars.get(name) != value
        ]
        self.before, self.vars = after, dict(scope.vars)
        self.steps.append({"step": label, "filtered": reason, "changed": changed})

    def events(self) -> list[Any]:
        """The canonical events after the last step; none when they cannot be made."""
        if self.scope is None:
            return []
        try:
            return self.scope.events
        except Exception:
            return []  # the message is in ERROR because of it, and says so


def show(told: dict[str, Any]) -> None:
    """One message as text."""
    click.secho(f"{told['file']}: {told['type']}", bold=True)
    for step in told["steps"]:
        outcome = f"filtered: {step['filtered']}" if step["filtered"] is not None else "passed"
        click.echo(f"  {step['step']}: {outcome if not step['changed'] else 'changed'}")
        for line in step["changed"]:
            click.echo(f"      {line}")
    for event in told["events"]:
        click.echo(f"  event {event}")
    for name, payload in told["destinations"].items():
        click.echo(f"  to {name}:")
        for line in pretty(bytes(payload)).split("\n"):
            click.echo(f"      {line}")
    for line in told.get("skipped", []):
        click.echo(f"  not to {line}")
    click.secho(
        f"  {told['state']}{': ' if told['why'] else ''}{told['why']}",
        fg="red" if told["state"] == "ERROR" else "green",
    )
    click.echo("  ACK " + told["ack"].strip().replace("\r", "\n      "))
