"""`messages edit`: an edited copy of a message through today's channel, looked at before or run by the engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from engine.cli import access, elsewhere, saying
from engine.cli.bulk import warning
from engine.cli.foresee import told, wait_for
from engine.cli.options import checked, config_option, data_option, json_option
from engine.cli.remote import served
from engine.model import Meta
from engine.store.messages import raw
from engine.store.stale import keys_of, stale

if TYPE_CHECKING:  # other verbs of messages start without what is needed for a preview
    from channels.preview import Effect


@click.command("edit")
@click.argument("id", type=int)
@click.argument("file", type=click.File("rb"))
@click.option("--dry-run", is_flag=True, help="Only show what would change, field by field.")
@click.option("--force", is_flag=True, help="Put older data over newer, too.")
@click.option("--note", default="", help="Why (kept with it; no patient data).")
@config_option
@data_option
@json_option
@served(elsewhere.messages_edit)
def command(
    id: int, file: BinaryIO, dry_run: bool, force: bool, note: str, config: Path, data: Path, as_json: bool
) -> None:
    """Run FILE (`-`: standard input) as an edited copy of message ID, which stays as it is and becomes its parent.

    What the old message could not deliver is discarded with it. Needs a running engine. Refuses (exit 1) to put older
    data over what was delivered since, unless --force says so.

    FILE begins as `isthmus messages show ID --raw`.

    Example: isthmus messages edit 42 edited.hl7 --dry-run
    """
    content = file.read()
    with access.reading(data) as tx:
        rows = tx.rows(
            "SELECT id, channel, received_at, control_id, type, sender, peer FROM message WHERE id = ?", (id,)
        )
        old = raw(tx, id)
        if not rows or old is None:
            click.echo(saying.no_content(id), err=True)
            sys.exit(1)
        older = stale(tx, "replay", [id], more={id: keys_of(tx, rows[0][1], content)})
    if dry_run:
        _foresee(content, Meta(*rows[0]), config, data, as_json)
    if content == old:
        raise click.UsageError(saying.UNCHANGED)
    if older and not force:
        click.echo(warning(older, 1), err=True)
        sys.exit(1)
    done = access.ask(
        data, "edit", {"id": id, "note": note}, content, action="messages.edit", object=str(id), detail=note
    )
    click.echo(saying.edited(done["id"], id, as_json))


def _foresee(content: bytes, old: Meta, config: Path, data: Path, as_json: bool) -> None:
    """Print the effects; ends the process."""
    from channels.preview import Previewer
    from engine.cli.reactor import steady

    configuration = checked(config)
    reactor = steady()
    access.saw(data, [old.id], "preview of edit")
    found: list[Effect] = wait_for(Previewer(configuration, data, reactor).edited(content, old), reactor)
    told(found, 1, as_json)
