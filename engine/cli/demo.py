"""`demo`: the shipped channels on the Odoo sandbox, with real messages over real MLLP and HTTP."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from destinations.mllp import MllpClient, endpoint
from engine.cli.options import checked, config_option, console_options, data_option
from engine.cli.reactor import steady
from engine.cli.run import both, logging_to_stderr, serve
from engine.cli.send import LARGEST, frames, notify_all, send_all
from engine.cli.showing import console, listing
from engine.errors import ConfigError
from engine.model import Meta
from engine.odoo.connection import SANDBOX, SANDBOX_FILE
from engine.odoo.sandbox import Sandbox
from engine.states import MessageState
from engine.store import search
from engine.webclient import WebClient

PATIENCE = 60.0  # seconds until everything must be delivered
PICTURE_WIDTH = 116  # columns


@click.command("demo")
@config_option
@data_option
@console_options
@click.option(
    "--once", is_flag=True, default=bool(os.environ.get("DEMO_ONCE")), help="Stop after the summary."
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Save what is shown as SVG.")
def command(
    config: Path, data: Path, once: bool, picture: Path | None, listen: str, no_console: bool
) -> None:
    """Start the channels on the Odoo sandbox, send the samples, show what became of them, and go on running.

    With a console it keeps both running, as `run` does; an engine that is started again sends no samples.

    Exit (with --once) 0 when everything was delivered, 1 otherwise.

    Example: isthmus demo --once
    """
    if not (no_console or once):
        sending = ["demo", "--config", str(config), "--data", str(data), "--no-console"]
        shown = ["--picture", str(picture)] if picture is not None else []
        sys.exit(both(config, data, "warning", False, listen, [*sending, *shown]))
    configuration = checked(config)
    if picture is not None:
        console.record, console.width = True, PICTURE_WIDTH
    logging_to_stderr("warning")
    from engine.app import Engine

    reactor = steady()
    engine = Engine(configuration, data, reactor)
    folder = configuration.folder / "samples"
    samples, broken = _messages(folder), _messages(folder / "broken")
    if not samples:
        raise click.UsageError(f"there are no samples in {configuration.folder / 'samples'}")

    @inlineCallbacks
    def show(engine: Any, stop: Any) -> Any:
        before = newest(engine)
        console.print("Sending over MLLP and HTTP:", style="bold")
        refused = yield send(engine, samples, reactor)
        yield settled(engine, reactor)
        well = summary(engine, before) and not refused
        if picture is not None:
            drawn = console.export_svg(title="make demo")
            picture.write_text(
                re.sub(r"@font-face\s*\{[^}]*\}\s*", "", drawn), encoding="utf-8"
            )  # no web fonts
        if once:
            stop(0 if well else 1)
            return
        if broken:
            console.print("\nBroken on purpose, to be mended and replayed in the console:", style="bold")
            yield send(engine, broken, reactor)
        for name, channel in engine.channels.items():
            console.print(f"{name} listens on {channel.status()['address']}")
        beside = Path(sys.executable).with_name("isthmus")  # of an environment that nobody activated
        named = beside.name if shutil.which(beside.name) else os.path.relpath(beside)
        console.print(
            f"Try:  {named} messages list · {named} messages show 1 · {named} status.  Ctrl-C stops."
        )

    sys.exit(serve(engine, reactor, show))


def _messages(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*") if file.suffix in (".hl7", ".json"))


@inlineCallbacks
def send(engine: Any, samples: list[Path], reactor: Any) -> Any:
    """Send each sample to the channel that wants it, in the order of their names."""
    failed: list[str] = []
    clients: dict[str, MllpClient] = {}
    web = WebClient(reactor, PATIENCE, LARGEST)
    for file in samples:
        if file.suffix == ".json":
            yield notify_all(web, notified(engine, file), [file], failed)
            continue
        for raw in frames(file):
            name = wanted_by(engine, raw)
            if name is None:
                console.print(f"{file.name}: no channel takes HL7 over MLLP, it was not sent")
                failed.append(f"{file.name}: nobody takes it")
                break
            if name not in clients:
                address = address_of(engine, name)
                clients[name] = MllpClient(reactor, endpoint(reactor, address.host, address.port))
            yield send_all(clients[name], [(file, raw)], failed)
    return failed


def address_of(engine: Any, name: str) -> Any:
    """Where a channel that samples go to listens; ConfigError when it does not."""
    channel = engine.channels[name]
    if not channel.listening:
        raise ConfigError(f"{name}: {channel.why}", code="demo.port")
    return channel.address


def notified(engine: Any, file: Path) -> str:
    """The address of the channel that takes FHIR notifications."""
    for name, spec in engine.builder.configuration.channels.items():
        if spec.listener.component.name == "fhir_subscription" and name in engine.channels:
            address = address_of(engine, name)
            return f"http://{address.host}:{address.port}{spec.listener.settings.path}"
    raise click.UsageError(f"there is no channel with a fhir_subscription for {file.name}")


def wanted_by(engine: Any, raw: bytes) -> str | None:
    """The first HL7 channel on MLLP that does not filter the message, else the first one; None without any."""
    specs = engine.builder.configuration.channels
    pipelines = {
        name: channel.router.pipelines[name]
        for name, channel in engine.channels.items()
        if specs[name].listener.component.name == "mllp"
    }
    hl7 = {name: pipeline for name, pipeline in pipelines.items() if pipeline.format.name == "hl7v2"}
    for name, pipeline in hl7.items():
        if pipeline.process(raw, Meta(channel=name)).state != MessageState.FILTERED:
            return str(name)
    return next(iter(hl7), None)


@inlineCallbacks
def settled(engine: Any, reactor: Any) -> Any:
    """Wait until nothing is open, at most `PATIENCE`."""
    until = reactor.seconds() + PATIENCE
    while any(channel.open for channel in engine.channels.values()) and reactor.seconds() < until:
        yield deferLater(reactor, 0.05)


def newest(engine: Any) -> int:
    """The id of the last message before the demo."""
    rows = search.find(engine.store.reader, limit=1)
    return rows[0].id if rows else 0


def summary(engine: Any, before: int) -> bool:
    """Print what became of the samples, and which records exist. True when all is well."""
    rows = [row for row in search.find(engine.store.reader, limit=1000) if row.id > before][::-1]
    console.print("\nWhat became of them:", style="bold")
    listing(rows)
    delivered = sum(state == "SENT" for row in rows for state in row.deliveries.values())
    asked = sum(len(row.deliveries) for row in rows)
    filtered = sum(row.state == MessageState.FILTERED for row in rows)
    errors = sum(row.state == MessageState.ERROR for row in rows)
    console.print(
        f"\nReceived {len(rows)}, filtered {filtered}, in error {errors}, deliveries {delivered} of {asked} sent.",
        style="bold",
    )
    for connection in engine.builder.connections.values():
        if connection.url == SANDBOX:
            console.print("\nRecords in the Odoo sandbox now:", style="bold")
            records(Sandbox(engine.data_dir / SANDBOX_FILE).summary())
    return bool(rows) and errors == 0 and delivered == asked


def records(found: dict[str, list[dict[str, Any]]]) -> None:
    """A table for each model."""
    for model in ("res.partner", "calendar.event"):
        table = Table(box=None, pad_edge=False, header_style="bold", title=model, title_justify="left")
        columns = ("name", "ref", "phone") if model == "res.partner" else ("name", "start", "stop", "active")
        for name in ("id", *columns, "external ids"):
            table.add_column(name, no_wrap=True)
        for record in reversed(found.get(model, [])):
            cells = [
                str(record[name]) if record[name] is not False or name == "active" else "" for name in columns
            ]
            names = ", ".join(text.partition("/")[2] for text in record["xml_ids"])
            table.add_row(str(record["id"]), *cells, names)
        console.print(table)
