"""`plan`: what messages in files would change in Odoo or on a FHIR server, before anything is sent."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click

from channels.build import Builder
from channels.past import Read
from channels.preview import Effect, Previewer
from engine.cli import access
from engine.cli.foresee import told, wait_for
from engine.cli.options import checked, config_option, data_option, json_option
from engine.cli.reactor import steady
from engine.errors import HL7Error
from engine.formats.base import Format
from engine.model import Meta
from engine.spec.channel import ChannelSpec
from engine.spec.document import did_you_mean
from engine.states import MessageState
from engine.store import snapshots
from engine.store.sqlite import DATABASE


@click.command("plan")
@click.argument("channel")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@config_option
@data_option
@json_option
def command(channel: str, files: tuple[Path, ...], config: Path, data: Path, as_json: bool) -> None:
    """What the messages of FILES would do through CHANNEL: records created, changed (old → new), untouched, archived.

    Reads the Odoo (the sandbox: its file in the data folder) or FHIR server of the configuration; writes nothing and
    stores nothing. What an earlier message would write counts as the old value of a later one. Exit 0, or 1 when a
    message would be in ERROR or would fail.

    Example: isthmus plan adt config/samples/*.hl7
    """
    configuration = checked(config)
    if channel not in configuration.channels:
        raise click.UsageError(
            f"there is no channel {channel!r}. {did_you_mean(channel, configuration.channels)}"
        )
    reactor = steady()
    form = Builder(configuration).format(configuration.channels[channel])
    messages = [raw for file in files for raw in form.parts(file.read_bytes())]
    with tempfile.TemporaryDirectory() as nothing_yet:  # a sandbox without a data folder is empty
        there = data if data.exists() else Path(nothing_yet)
        with states(configuration.channels[channel], data) as read:
            previewer = Previewer(configuration, there, reactor, read=read)
            found = wait_for(effects(previewer, channel, form, messages), reactor)
    told(found, len(messages), as_json)


@contextmanager
def states(spec: ChannelSpec, data: Path) -> Iterator[Read]:
    """What the channel of a data folder, if there is one, knows of FHIR resources."""
    if not getattr(spec.listener.settings, "tells_states", False) or not (data / DATABASE).exists():
        yield lambda *_: None
        return
    with access.reading(data) as tx:
        yield partial(snapshots.get, tx)


async def effects(
    previewer: Previewer, channel: str, form: Format, messages: Iterable[bytes]
) -> list[Effect]:
    """The effects of all messages, in order, numbered from 1."""
    found: list[Effect] = []
    for number, raw in enumerate(messages, 1):
        try:
            header = form.peek(raw)
        except HL7Error as error:
            found.append(Effect(number, channel, "", MessageState.ERROR, f"{error} [{error.code}]"))
            continue
        now = time.time_ns() // 1000
        meta = Meta(number, channel, now, header.control_id, header.type, header.sender, "plan")
        found += await previewer.message(raw, meta)
    return found
