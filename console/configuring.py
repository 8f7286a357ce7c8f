"""What people do to the configuration: look, check, try, compare, deploy, go back.

Guarantees: nothing is written that has errors, that changes what is not theirs, or over an edit that they have not
seen; what an engine does not take is put back, so that the files are what runs; who deployed what, with which note,
is in the history and in the audit log. Values that a plan reads in a destination are shown to who may see patient
data, and audited; a stored message is tried by them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from console.acting import RELOAD_WAIT, Desk
from console.preview import Foreseen, effect
from console.problems import Refused
from console.queries import LARGEST_ID
from console.rights import on_channel
from console.workbench import Workbench
from engine.security.roles import Role
from engine.store import commands, search, versions
from engine.store.messages import raw

Edits = dict[str, str | None]


class Sample(BaseModel):
    """A message to try: its text, the name of a sample beside the configuration, or a stored message."""

    model_config = ConfigDict(extra="forbid")
    text: str = Field(default="", max_length=1 << 20, description="The message itself.")
    sample: str = Field(default="", max_length=300, description="A file of the folder `samples`.")
    message_id: int | None = Field(default=None, ge=1, lt=LARGEST_ID, description="A stored message.")


class Outcome(msgspec.Struct):
    """What became of a deployment. `taken`: the engine runs it; None: no engine runs, the next one starts with it."""

    taken: bool | None
    version: str
    etag: str
    changed: list[str]
    changes: dict[str, list[str]]
    problems: list[str]


class Workshop:
    """Work on the configuration for one request."""

    def __init__(self, desk: Desk, bench: Workbench) -> None:
        self.desk = desk
        self.bench = bench
        channels = desk.identity.channels(Role.ANALYST)
        self.allowed = None if channels is None else list(channels)

    def look(self) -> dict[str, Any]:
        """The files, their ETag, channels, tables, samples."""
        return self.bench.ask("look")

    def history(self, limit: int = 50) -> list[versions.Entry]:
        """What ran, newest first."""
        with self.desk.stores.reading() as tx:
            return versions.history(tx, limit)

    def lint(self, edits: Edits) -> list[dict[str, Any]]:
        """Every problem of the configuration with these edits."""
        found: list[dict[str, Any]] = self.bench.ask("lint", edits=edits, allowed=self.allowed)["problems"]
        return found

    def sample(self, name: str) -> str:
        """The text of a sample."""
        return str(self.bench.ask("sample", sample=name)["text"])

    def trace(self, channel: str, sample: Sample, edits: Edits) -> list[dict[str, Any]]:
        """What the channel would do to the message, step by step."""
        on_channel(self.desk.identity, Role.ANALYST, channel)
        found = self.bench.ask(
            "trace", channel=channel, messages=self._raw(sample), edits=edits, allowed=self.allowed
        )
        traces: list[dict[str, Any]] = found["traces"]
        return traces

    def plan(self, channel: str, sample: Sample, edits: Edits, reveal: bool = False) -> list[Foreseen]:
        """What the message would change in the destinations; old values with `reveal` alone."""
        on_channel(self.desk.identity, Role.ANALYST, channel)
        if reveal and not self.desk.identity.reveal:
            raise Refused(403, "forbidden", "this needs the right to see patient data")
        found = self.bench.ask(
            "plan", channel=channel, messages=self._raw(sample), edits=edits, allowed=self.allowed
        )
        if reveal:
            self.desk.saw(channel, "plan")
        return [effect(one, reveal) for one in found["effects"]]

    def _raw(self, sample: Sample) -> Sequence[bytes]:
        if sample.message_id is not None:
            return [self._stored(sample.message_id)]
        text = sample.text or (self.sample(sample.sample) if sample.sample else "")
        if not text.strip():
            raise Refused(422, "sample.empty", "there is no message to try", "paste one, or choose a sample")
        return [text.replace("\r\n", "\n").encode()]

    def _stored(self, number: int) -> bytes:
        with self.desk.stores.reading() as tx:
            found, content = search.find(tx, ids=[number], limit=1), raw(tx, number)
        if not found or not self.desk.identity.may(Role.VIEWER, found[0].channel):
            raise Refused(404, "message.unknown", f"there is no message {number}")
        if not self.desk.identity.reveal:
            raise Refused(403, "forbidden", "to try a stored message needs the right to see patient data")
        if content is None:
            raise Refused(409, "message.content", f"the content of message {number} is not kept any more")
        self.desk.saw(str(number), "try")
        return content

    def diff(self, edits: Edits, before: str = "", after: str = "") -> dict[str, Any]:
        """Two versions, or what runs and the edits: in plain words, and line by line."""
        return self.bench.ask("diff", edits=edits, before=before, after=after, allowed=self.allowed)

    def show(self, version: str) -> dict[str, Any]:
        """The files of a version."""
        return self.bench.ask("show", before=version)

    def tables(self) -> dict[str, Any]:
        """The code tables with their rows, and the ETag of their files."""
        return self.bench.ask("tables")

    def census(self, last: int) -> dict[str, Any]:
        """By table, the codes that the last messages asked for, of the channels that they may see."""
        with self.desk.stores.reading() as tx:
            names = sorted(search.counts(tx))
        mine = [name for name in names if self.desk.identity.may(Role.VIEWER, name)]
        return self.bench.ask("counted", channels=mine, last=last)

    # Acts -------------------------------------------------------------------------------------------------

    def deploy(self, edits: Edits, seen: str, note: str) -> Outcome:
        """Write the edits and let the engine take them up."""
        return self._act("config.deploy", note, note, "write", edits=edits, seen=seen)

    def rollback(self, version: str, seen: str, note: str, force: bool = False) -> Outcome:
        """Write the files of a version back and let the engine take them up."""
        why = f"rollback to {version}" + (f": {note}" if note else "")
        return self._act("config.rollback", note, why, "rollback", before=version, seen=seen, force=force)

    def code(self, table: str, code: str, row: dict[str, str] | None, seen: str, note: str) -> Outcome:
        """Write one code of a table (None: take it away) and let the engine take it up."""
        why = note or f"table {table}: {code} " + (
            "taken away" if row is None else f"is {', '.join(row.values())}"
        )
        return self._act(
            "config.table", why[:500], why[:500], "code", table=table, code=code, row=row, seen=seen
        )

    def _act(self, action: str, note: str, why: str, do: str, **asked: Any) -> Outcome:
        try:
            done = self.bench.ask(do, allowed=self.allowed, **asked)
        except Refused as error:
            self.desk.refused(action, "", error.code)
            raise
        told = ", ".join(done["changed"]) + (f": {note}" if note else "")
        self.desk.audited(action, done["version"], lambda tx: None, told)
        with self.desk.stores.reading() as tx:
            running = commands.beating(commands.engine_status(tx), tx.now())
        if not running:
            return self._alone(done, why)
        taken = self.desk.command(
            "reload", {"name": "", "note": why}, "config.reload", done["version"], wait=RELOAD_WAIT
        )
        if taken["taken"]:
            return Outcome(True, taken["version"], done["etag"], done["changed"], taken["changes"], [])
        back = self.bench.ask("restore", files=done["before"], seen=done["etag"])
        self.desk.audited(f"{action}.undone", done["version"], lambda tx: None, "the engine did not take it")
        self.desk.command(
            "reload", {"name": "", "note": ""}, "config.reload", back["version"], wait=RELOAD_WAIT
        )
        return Outcome(False, taken["version"], back["etag"], [], {}, taken["problems"])

    def _alone(self, done: dict[str, Any], why: str) -> Outcome:
        """No engine runs: the history gets what the next one starts with."""
        files = msgspec.convert(done["files"], dict[str, bytes], strict=False)
        name = self.desk.identity.name
        if done["changed"]:
            self.desk.stores.write(lambda tx: versions.add(tx, done["version"], name, files, note=why))
        wrong = [f"{one['file']}:{one['line']}: {one['text']}" for one in done["problems"]]
        return Outcome(None, done["version"], done["etag"], done["changed"], {}, wrong)
