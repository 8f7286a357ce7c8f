"""What the verbs do with `--server`: ask the API, and say it in the words of the verbs here."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NoReturn
from urllib.parse import quote

import click
import msgspec

from engine.cli import bulk, export, foresee, saying, showing
from engine.cli.remote import Answered, Broken, Remote
from engine.cli.selecting import refuse_all
from engine.store.causes import ErrorGroup
from engine.store.exporting import End, Form, Piece, as_text
from engine.store.jobs import Job
from engine.store.search import Row
from engine.store.stale import Stale
from engine.store.versions import Entry

PAGE = 500
LOOK = 0.5  # seconds between looks at a job
NAMES = {"delivery_state": "delivery", "error_code": "code"}


def _query(filters: dict[str, Any]) -> dict[str, Any]:
    found = {NAMES.get(name, name): value for name, value in filters.items() if value is not None}
    for name in ("since", "until"):
        if name in found:
            found[name] = datetime.fromtimestamp(found[name] / 1e6, UTC).isoformat()
    return found


def _json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


# Messages -------------------------------------------------------------------------------------------------


class Found(msgspec.Struct):
    """A page of a search."""

    messages: list[Row]
    next: int | None


def messages_list(remote: Remote, filters: dict[str, Any], limit: int, as_json: bool, data: Path) -> None:
    """As `messages list`."""
    rows: list[Row] = []
    after: int | None = None
    while len(rows) < limit:
        size = min(PAGE, limit - len(rows))
        below = f"&after={after}" if after else ""
        found = remote.post(f"/messages/search?limit={size}{below}", _query(filters), Found)
        rows += found.messages
        after = found.next
        if after is None:
            break
    if as_json:
        _json(rows)
    else:
        showing.listing(rows)


def messages_show(remote: Remote, id: int, raw: bool, as_json: bool, data: Path) -> None:
    """As `messages show`; needs the right to see patient data, and is audited there."""
    try:
        content = remote.ask("POST", f"/messages/{id}/record", Accept="application/msgpack")
    except Answered as error:
        if error.status != 404:
            raise
        click.echo(f"There is no message {id}.", err=True)
        sys.exit(1)
    shown = msgspec.msgpack.decode(content)
    if raw:
        sys.stdout.buffer.write(shown["raw"] or b"")
    elif as_json:
        click.echo(as_text(shown))
    else:
        showing.message_view(shown)


def messages_errors(remote: Remote, channel: str | None, as_json: bool, data: Path) -> None:
    """As `messages errors`."""
    groups = remote.get(f"/errors{f'?channel={quote(channel)}' if channel else ''}", list[ErrorGroup])
    if as_json:
        _json(groups)
    else:
        showing.error_table(groups)


class _Stream:
    """The messages of an export as they come; `chosen` is known at their end. Broken when they end before that."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.chosen: int | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for line in self._lines:
            found = msgspec.json.decode(line, type=Piece | End)
            if isinstance(found, End):
                self.chosen = found.chosen
                return
            yield found.id, found.content
        raise Broken


def messages_export(
    remote: Remote, filters: dict[str, Any], form: Form, output: Path, limit: int | None, data: Path
) -> None:
    """As `messages export`; HL7 and JSON need the right to see patient data. Audited there."""
    refuse_all(filters)
    export.refuse_existing(output)
    options = f"format={form}&dismissed=false" + (f"&limit={limit}" if limit else "")
    options += "" if form == "csv" else "&reveal=true"
    with remote.lines(f"/messages/export?{options}", _query(filters)) as lines:
        found = _Stream(lines)
        pieces = iter(found)
        first = next(pieces, None)
        if first is None and not found.chosen:
            sys.exit(saying.exported(0, 0))
        written = export.write(chain([first] if first else [], pieces), form, output)
    sys.exit(saying.exported(written, found.chosen or 0))


class Begun(msgspec.Struct):
    """A job that was made."""

    job: Job
    without_content: list[int] = []


class Weight(msgspec.Struct):
    """What stands against an act."""

    messages: int
    without_content: list[int]
    stale: list[dict[str, Any]]


def messages_act(
    verb: str, remote: Remote, filters: dict[str, Any], rate: float | None, limit: int | None, no_wait: bool,
    as_json: bool, data: Path, dry_run: bool = False, force: bool = True, config: Path | None = None, note: str = "",
    brief: bool = False,
) -> None:  # fmt: skip
    """As `messages replay`, `resend` and `discard`."""
    if brief:
        raise click.UsageError("--brief looks at the data folder here; leave it out with --server.")
    refuse_all(filters)
    query = _query(filters)
    asked = {"verb": verb, "query": query, "limit": limit, "rate": rate, "note": note, "force": force}
    if dry_run:
        _foresee(remote, asked, as_json)
    try:
        begun = remote.post("/messages/acts", asked, Begun)
    except Answered as error:
        if error.code == "query.nothing" and error.what == "no messages fit":
            sys.exit(saying.nothing(filters["ids"], as_json))
        if error.code == "stale":
            weight = remote.post("/messages/acts/weigh", asked, Weight)
            if weight.without_content:
                click.echo(saying.contentless(verb, weight.without_content), err=True)
            bulk.refused([Stale(**one) for one in weight.stale], weight.messages, as_json)
        if error.code != "query.nothing":
            raise
        click.echo(f"{error.what[:1].upper()}{error.what[1:]}. Nothing was done.", err=True)
        sys.exit(1)
    if begun.without_content:
        click.echo(saying.contentless(verb, begun.without_content), err=True)
    running = remote.get("/status", dict[str, Any])["running"]
    job = _watched(remote, begun.job) if running and not no_wait else begun.job
    if as_json:
        _json(job)
    elif no_wait or not running:
        click.echo(f"Job {job.id}: {saying.counted(job.total, 'message')}. See `isthmus job show {job.id}`.")
    else:
        click.echo(bulk.outcome(job))
    if not running:
        click.echo("No engine is running on this store: it goes on when one starts.", err=True)
    if not no_wait:
        sys.exit(0 if job.state == "done" and job.changed and not job.failed else 1)


def _foresee(remote: Remote, act: dict[str, Any], as_json: bool) -> NoReturn:
    """As `--dry-run` here, of the oldest messages. With values only for who may see patient data; audited there."""
    from console.preview import Preview

    try:
        found = remote.post("/messages/acts/preview?reveal=true", act, Preview)
    except Answered as error:
        if error.status != 403:
            raise
        found = remote.post("/messages/acts/preview", act, Preview)
    if found.looked_at < found.messages:
        click.echo(f"The oldest {found.looked_at} of {found.messages} messages:", err=True)
    foresee.told_there(found.effects, found.looked_at, as_json)


def messages_edit(
    remote: Remote, id: int, file: BinaryIO, dry_run: bool, force: bool, note: str, config: Path, data: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """As `messages edit`: byte for byte. Needs the right to see patient data; audited there."""
    asked = {"content": file.read(), "note": note, "force": force}
    try:
        if dry_run:
            _foresee_edit(remote, id, asked, as_json)
        made = remote.post(f"/messages/{id}/edit", asked, dict[str, int])
    except Answered as error:
        if error.code in ("message.unknown", "message.gone"):
            click.echo(saying.no_content(id), err=True)
        elif error.code == "edit.same":
            raise click.UsageError(saying.UNCHANGED) from None
        elif error.code == "stale":
            click.echo(bulk.warning([Stale(**one) for one in error.errors], 1), err=True)
        else:
            raise
        sys.exit(1)
    click.echo(saying.edited(made["id"], id, as_json))


def _foresee_edit(remote: Remote, id: int, asked: dict[str, Any], as_json: bool) -> NoReturn:
    from console.preview import Foreseen

    told = remote.post(f"/messages/{id}/edit/preview", asked, dict[str, Any])
    foresee.told_there(msgspec.convert(told["effects"], list[Foreseen]), 1, as_json)


def _watched(remote: Remote, job: Job) -> Job:
    said = time.monotonic()
    while not (job.over or job.state == "paused"):
        time.sleep(LOOK)
        job = remote.get(f"/jobs/{job.id}", Job)
        if time.monotonic() - said >= bulk.SAY and not job.over:
            said = time.monotonic()
            click.echo(bulk.progress(job), err=True)
    return job


# Jobs, status, channels -----------------------------------------------------------------------------------


def job_list(remote: Remote, limit: int, as_json: bool, data: Path) -> None:
    """As `job list`."""
    found = remote.get(f"/jobs?limit={min(limit, PAGE)}", list[Job])
    if as_json:
        _json(found)
    else:
        showing.job_table(found)


def job_show(remote: Remote, id: int, as_json: bool, data: Path) -> None:
    """As `job show`."""
    try:
        found = remote.get(f"/jobs/{id}", Job)
    except Answered as error:
        if error.status != 404:
            raise
        click.echo(f"There is no job {id}.", err=True)
        sys.exit(1)
    if as_json:
        _json(found)
    else:
        showing.job_view(found)


def job_move(move: str, remote: Remote, id: int, data: Path) -> None:
    """As `job pause`, `resume` and `cancel`."""
    job = remote.post(f"/jobs/{id}/{move}", None, Job)
    click.echo(bulk.outcome(job) if move == "cancel" else bulk.progress(job))


def status(remote: Remote, as_json: bool, data: Path) -> None:
    """As `status`."""
    from engine.cli.status import show, troubles

    told = remote.get("/status", dict[str, Any])
    if as_json:
        _json(told)
    else:
        show({**told, "jobs": msgspec.convert(told["jobs"], list[Job])})
    sys.exit(0 if told["running"] and not troubles(told) else 1)


def channel(remote: Remote, act: str, name: str, note: str, data: Path) -> None:
    """As `channel`."""
    if act == "reload":
        result = remote.post("/configuration/reload", {"name": name, "note": note}, dict[str, Any])
        sys.exit(saying.reloaded(result))
    if not name:
        raise click.UsageError("name the channel")
    result = remote.post(f"/channels/{quote(name, safe='')}/{act}", None, dict[str, Any])
    click.echo(f"{result['channel']}: {result['state']}")


# Configurations -------------------------------------------------------------------------------------------


class Entries(msgspec.Struct):
    """The history."""

    entries: list[Entry]


class Shown(msgspec.Struct):
    """A version and its files."""

    entry: Entry
    files: dict[str, str]


def config_history(remote: Remote, limit: int, as_json: bool, data: Path) -> None:
    """As `config history`."""
    found = remote.get(f"/configuration/history?limit={limit}", Entries).entries
    if as_json:
        _json(found)
    else:
        saying.history(found)


def config_show(remote: Remote, version: str, as_json: bool, data: Path) -> None:
    """As `config show`; passwords and keys in the files are hidden."""
    found = remote.get(f"/configuration/versions/{quote(version, safe='')}", Shown)
    if as_json:
        _json(found)
    else:
        saying.files(found.files)


def config_diff(
    remote: Remote, before: str, after: str, words: bool, as_json: bool, config: Path, data: Path
) -> None:
    """As `config diff`; the files as they are now are those there."""
    found = remote.post(
        "/configuration/diff", {"edits": {}, "before": before, "after": after}, dict[str, list[str]]
    )
    sys.exit(saying.difference(found["words"], found["lines"], words, as_json))


def config_rollback(
    remote: Remote, version: str, note: str, force: bool, moved: bool, dry_run: bool, config: Path, data: Path
) -> None:
    """As `config rollback`."""
    if moved or dry_run:
        raise click.UsageError("--moved and --dry-run look at the files here: use them without --server")
    etag = remote.get("/configuration", dict[str, Any])["etag"]
    kept = remote.get(f"/configuration/versions/{quote(version, safe='')}", Shown).files
    body = {"version": version, "note": note, "force": force}
    try:
        done = remote.post("/configuration/rollback", body, dict[str, Any], **{"If-Match": f'"{etag}"'})
    except Answered as error:
        if error.status != 409 or error.code != "server.answer":
            raise
        click.echo("The engine did not take it: the files are as they were.", err=True)
        sys.exit(1)
    for name in done["changed"]:
        click.echo(f"{name} {'written' if name in kept else 'removed'}")
    if done["taken"] is None:
        click.echo(f"Version {done['version']} is what the next engine starts with.")
        sys.exit(0)
    sys.exit(saying.reloaded({"taken": True, "changes": done["changes"], "version": done["version"]}))
