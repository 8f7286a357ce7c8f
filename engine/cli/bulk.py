"""Acts on many messages: looked at before, done as a job, watched until it is over."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
import msgspec

from engine.cli import access, saying
from engine.cli.selecting import chosen_ids, narrowing
from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.store import audit, jobs, operate
from engine.store.stale import Stale, stale
from engine.store.store import Store, open_store
from engine.store.tx import Tx

SHOWN = 20  # stale messages in the warning
LOOK = 0.1  # seconds between looks at a job
SAY = 2.0  # seconds between lines of progress where there is no terminal
DONE = {"replay": "Replayed", "resend": "Resent", "discard": "Discarded"}
DOING = {"replay": "Replaying", "resend": "Resending", "discard": "Discarding"}


def act(
    verb: str, data: Path, filters: dict[str, Any], *, rate: float | None, limit: int | None, wait: bool,
    force: bool, as_json: bool, note: str = "",
) -> None:  # fmt: skip
    """Choose, warn, submit, watch; ends the process with the exit status."""
    ids = chosen_ids(data, filters, limit)
    only = {} if verb == "replay" else narrowing(filters)
    if verb != "discard":
        ids = with_content(verb, data, ids)
    if not force:
        refuse_stale(verb, data, ids, only, as_json)
    if not ids:
        sys.exit(saying.nothing(filters["ids"], as_json))
    job, by_engine = _submit(data, verb, ids, wait, rate=rate, note=note, **only)
    if as_json:
        click.echo(msgspec.json.encode(job).decode())
    elif not wait:
        click.echo(f"Job {job.id}: {saying.counted(job.total, 'message')}. See `isthmus job show {job.id}`.")
    else:
        click.echo(outcome(job))
    if not by_engine:
        click.echo("No engine is running on this store: it goes on when one starts.", err=True)
    if wait:
        sys.exit(0 if job.state == "done" and job.changed and not job.failed else 1)


def with_content(verb: str, data: Path, ids: list[int]) -> list[int]:
    """The messages whose content is kept; says which are not. Exit 1 when none is."""
    with access.reading(data) as tx:
        gone = operate.contentless(tx, ids)
    if not gone:
        return ids
    click.echo(saying.contentless(verb, gone), err=True)
    left = sorted(set(ids) - set(gone))
    if not left:
        sys.exit(1)
    return left


def refuse_stale(verb: str, data: Path, ids: list[int], only: dict[str, Any], as_json: bool) -> None:
    """Exit 1 when older data would be put over newer."""
    with access.reading(data) as tx:
        found = stale(tx, verb, ids, **only)
    if found:
        refused(found, len(ids), as_json)


def refused(found: list[Stale], chosen: int, as_json: bool) -> NoReturn:
    """Say which are older, and exit 1."""
    if as_json:
        click.echo(msgspec.json.encode({"stale": [one._asdict() for one in found]}).decode())
    click.echo(warning(found, chosen), err=True)
    sys.exit(1)


def warning(found: list[Stale], chosen: int) -> str:
    """Which messages are older than what was delivered since."""
    count = len({one.id for one in found})
    lines = [
        f"{count} of {chosen} {'is' if count == 1 else 'are'} older than what was delivered since, or waits before"
        " them:"
    ]
    lines += [f"  {one.id} → {one.newer}  {one.destination}" for one in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"  and {len(found) - SHOWN} more")
    lines.append(
        "Nothing was done. Choose the later messages too, or add --force to put older data over newer."
    )
    return "\n".join(lines)


def _submit(data: Path, verb: str, ids: list[int], wait: bool, **args: Any) -> tuple[jobs.Job, bool]:
    """Make the job, and see it through. Gives it as it is then, and whether an engine works on it."""
    access.present(data)
    keyring = open_keyring(data)
    try:
        store = open_store(data, keyring, mode="engine")
    except StoreError as error:
        if error.code != "store.locked":
            raise
        store = open_store(data, keyring, mode="client")
        try:
            number = _audited(store, verb, ids, **args)
            return (watch(store, number) if wait else _job(store, number)), True
        finally:
            store.close()
    try:
        number = _audited(store, verb, ids, **args)
        if wait:
            jobs.drain(store.writer.call, number, jobs.BATCH[verb])
        return _job(store, number), False
    finally:
        store.close()


def _audited(store: Store, verb: str, ids: list[int], **args: Any) -> int:
    detail = msgspec.json.encode(
        {"count": len(ids), **{name: value for name, value in args.items() if value}}
    )
    store.writer.call(
        partial(
            audit.record, actor=access.actor(), action=f"messages.{verb}", object=audit.span(ids),
            detail=detail.decode(),
        )
    )  # fmt: skip
    return jobs.submit(store.writer.call, access.actor(), verb, ids, **args)


def _job(store: Store, number: int) -> jobs.Job:
    found = jobs.get(store.reader, number)
    assert found is not None
    return found


def watch(store: Store, number: int) -> jobs.Job:
    """Show the progress of a job until it is over or paused."""
    terminal = sys.stderr.isatty()
    said = time.monotonic()
    try:
        while True:
            job = _job(store, number)
            if terminal:
                click.echo(f"\r{progress(job)}\x1b[K", err=True, nl=False)
            elif time.monotonic() - said >= SAY and not job.over:
                said = time.monotonic()
                click.echo(progress(job), err=True)
            if job.over or job.state == "paused":
                return job
            if not access.running(store.reader, time.time_ns() // 1000):
                raise StoreError(
                    f"the engine does not run any more; job {number} goes on when it starts",
                    code="job.waiting",
                    todo=f"see `isthmus job show {number}`",
                )
            time.sleep(LOOK)
    except KeyboardInterrupt:
        click.echo(f"\nJob {number} goes on. `isthmus job cancel {number}` stops it.", err=True)
        sys.exit(130)
    finally:
        if terminal:
            click.echo("", err=True)


def progress(job: jobs.Job) -> str:
    """One line: what it does and how far it is."""
    share = f" ({job.done * 100 // job.total} %)" if job.total else ""
    state = "" if job.state in ("running", "done") else f", {job.state}"
    failed = f", {job.failed} failed" if job.failed else ""
    return f"Job {job.id}, {DOING[job.verb].lower()}: {job.done} of {job.total}{share}{failed}{state}"


def outcome(job: jobs.Job) -> str:
    """What came of it."""
    text = f"{DONE[job.verb]}: {job.changed} (of {job.total} chosen)."
    if job.verb == "replay" and job.done > job.changed:
        text += f" {job.done - job.changed} left out: not routed yet, or their content is not kept or cannot be read."
    elif job.verb != "replay" and job.done > job.changed + job.failed:
        text += f" {job.done - job.changed - job.failed} had nothing open" + (
            "." if job.verb == "discard" else " and no delivery that fits."
        )
    elif job.failed:
        text += f" {job.failed} failed."
    if job.state != "done":
        text += f" The job is {job.state}: {job.total - job.done} were left alone."
    return text


def change(data: Path, number: int, move: str) -> jobs.Job:
    """Pause, resume or cancel a job."""
    access.present(data)
    store = open_store(data, open_keyring(data), mode="client")
    try:
        job = jobs.get(store.reader, number)
        if job is None:
            raise StoreError(f"there is no job {number}", code="job.unknown", todo="see `isthmus job list`")

        def both(tx: Tx) -> bool:
            moved = jobs.move(tx, job_id=number, act=move, actor=access.actor())
            audit.record(tx, access.actor(), f"job.{move}", str(number), outcome="ok" if moved else "refused")
            return moved

        if not store.writer.call(both):
            raise StoreError(
                f"job {number} is {_job(store, number).state}: there is nothing to {move}", code="job.state"
            )
        return _job(store, number)
    finally:
        store.close()
