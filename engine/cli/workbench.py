"""What the console asks of a configuration: one question as JSON on standard input, one answer on standard output.

A process of its own for each question, with limits, so that a text that is being typed can neither block nor crash
the console, nor read its sessions. Guarantees: nothing is sent; only `write`, `restore` and `rollback` change files.
An error of ours is an answer, too. Not a verb: `console.workbench` starts it.
"""

from __future__ import annotations

import base64
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from channels import census, editing, tablework, versions
from channels.impact import stored
from channels.tracer import Tracer
from channels.veil import veiled
from channels.wording import told
from engine.cli import access
from engine.cli.foresee import wait_for
from engine.cli.lint import linted
from engine.cli.plan import effects, states
from engine.clock import now
from engine.errors import ConfigError, IsthmusError
from engine.spec.channel import Configuration, load
from engine.spec.document import did_you_mean
from engine.store import versions as kept

LIMITS = {
    resource.RLIMIT_CPU: 30,  # seconds
    resource.RLIMIT_AS: 4 << 30,  # bytes
    resource.RLIMIT_FSIZE: 256 << 20,
    resource.RLIMIT_CORE: 0,
}
SAMPLES = ("samples", "tests/samples")
MOST_SAMPLES = 500
LARGEST_SAMPLE = 1 << 20  # bytes
TRIED = 20  # messages of one sample that are traced


class Question(msgspec.Struct):
    """What is asked. `edits`: texts that are not saved yet; `allowed`: the channels that they may change, None: all."""

    do: str
    config: str
    data: str
    edits: dict[str, str | None] = {}
    allowed: list[str] | None = None
    seen: str = ""
    channel: str = ""
    sample: str = ""
    messages: list[bytes] = []  # base64 in JSON
    before: str = ""
    after: str = ""
    last: int = 200
    table: str = ""
    files: dict[str, str | None] = {}  # base64
    channels: list[str] = []
    code: str = ""
    row: dict[str, str] | None = None
    force: bool = False

    @property
    def path(self) -> Path:
        """The configuration."""
        return Path(self.config)


def look(asked: Question) -> dict[str, Any]:
    """The files as they are now, what is in them, and their ETag."""
    configuration = load(asked.path)
    linted(configuration)  # finds what the channels read
    files = editing.contents(configuration)
    main = versions.name_of(editing.absolute(asked.path), configuration.files.root)
    return {
        "etag": editing.etag(files),
        "version": configuration.files.version,
        "main": main if main in files else "",
        "files": [_file(name, data) for name, data in sorted(files.items(), key=lambda one: one[0] != main)],
        "channels": sorted(configuration.channels),
        "tables": sorted(configuration.tables),
        "samples": [name for name, _ in _samples(asked.path)],
    }


def _file(name: str, data: bytes) -> dict[str, Any]:
    try:
        text = (
            veiled(data.decode("utf-8-sig")) if name.endswith((".yaml", ".yml")) else data.decode("utf-8-sig")
        )
    except UnicodeDecodeError:
        text = None
    return {"name": name, "text": text, "editable": text is not None and not name.startswith("/")}


def _samples(path: Path) -> list[tuple[str, Path]]:
    root = editing.root_of(path)
    folders = [root / name for name in SAMPLES]
    found = [file for folder in folders if folder.is_dir() for file in sorted(folder.iterdir())]
    small = [one for one in found if one.is_file() and one.stat().st_size <= LARGEST_SAMPLE]
    return [(file.relative_to(root).as_posix(), file) for file in small[:MOST_SAMPLES]]


def sample(asked: Question) -> dict[str, Any]:
    """The text of a sample message."""
    file = dict(_samples(asked.path)).get(asked.sample)
    if file is None:
        raise ConfigError("there is no such sample", code="config.sample")
    return {"text": file.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")}


def _edited(asked: Question) -> tuple[dict[str, bytes], dict[str, bytes]]:
    before = editing.now(asked.path, linted)
    after = editing.edited(before, asked.edits)
    editing.permit(before, after, asked.allowed)
    return before, after


def _with(asked: Question, work: Callable[[Configuration, Callable[[str], str]], Any]) -> Any:
    """Do something with the configuration as it would be."""
    before, after = _edited(asked)
    with editing.staged(asked.path, after, before) as (place, ours):
        return work(load(place), ours)


def lint(asked: Question) -> dict[str, Any]:
    """Every problem of the configuration as it would be."""
    found = _with(asked, lambda made, ours: [editing.told(one, ours) for one in linted(made)])
    return {"problems": [_problem(one) for one in found]}


def _problem(one: Any) -> dict[str, Any]:
    mark = one.mark
    return {
        "file": mark.file, "line": mark.line, "column": mark.column, "severity": one.severity, "code": one.code,
        "text": one.text, "hint": one.hint,
    }  # fmt: skip


def trace(asked: Question) -> dict[str, Any]:
    """What the channel would do to each message."""

    def work(made: Configuration, ours: Callable[[str], str]) -> Any:
        _runs(made, asked.channel, ours)
        tracer = Tracer(made, asked.channel)
        parts = [raw for one in asked.messages for raw in tracer.format.parts(one)]
        traces = [tracer.trace(raw, now()) for raw in parts[:TRIED]]
        return msgspec.json.decode(ours(msgspec.json.encode(traces).decode()))

    return {"traces": _with(asked, work)}


def plan(asked: Question) -> dict[str, Any]:
    """What the messages would change in the destinations."""
    from channels.build import Builder
    from channels.preview import Previewer
    from engine.cli.reactor import steady

    reactor = steady()

    def work(made: Configuration, ours: Callable[[str], str]) -> Any:
        _runs(made, asked.channel, ours)
        form = Builder(made).format(made.channels[asked.channel])
        parts = [raw for one in asked.messages for raw in form.parts(one)][:TRIED]
        with tempfile.TemporaryDirectory() as nothing_yet:  # a sandbox without a data folder is empty
            data = Path(asked.data)
            with states(made.channels[asked.channel], data) as read:
                previewer = Previewer(made, data if data.exists() else Path(nothing_yet), reactor, read=read)
                return wait_for(effects(previewer, asked.channel, form, parts), reactor)

    return {"effects": msgspec.to_builtins(_with(asked, work), enc_hook=str)}


def _runs(made: Configuration, channel: str, ours: Callable[[str], str]) -> None:
    if made.errors:
        problems = [editing.told(one, ours) for one in made.errors]
        raise editing.Refusal("the configuration has errors", "config.errors", problems)
    if channel not in made.channels:
        raise ConfigError(
            f"there is no channel {channel!r}",
            code="channel.unknown",
            todo=did_you_mean(channel, made.channels),
        )


def diff(asked: Question) -> dict[str, Any]:
    """Two versions, or what runs and the edits, in plain words and line by line; values of secrets are hidden."""
    with access.reading(Path(asked.data)) as tx:
        last = kept.latest(tx)
        name = asked.before or (last.version if last else "")
        old = versions.version_of(tx, name)[1] if name else {}
        new = versions.version_of(tx, asked.after)[1] if asked.after else _edited(asked)[1]
    shown = [{one: _shown(one, data) for one, data in side.items()} for side in (old, new)]
    return {"words": told(old, new), "lines": list(versions.unified(*shown))}


def _shown(name: str, data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return (veiled(text) if name.endswith((".yaml", ".yml")) else text).encode()


def show(asked: Question) -> dict[str, Any]:
    """The files of a version."""
    with access.reading(Path(asked.data)) as tx:
        entry, files = versions.version_of(tx, asked.before)
    return {
        "entry": msgspec.to_builtins(entry),
        "files": {name: _shown(name, data).decode() for name, data in sorted(files.items())},
    }


def tables(asked: Question) -> dict[str, Any]:
    """The code tables, and the ETag of the files that they were read from."""
    configuration = load(asked.path)
    linted(configuration)
    files = editing.contents(configuration)
    return {"etag": editing.etag(files), "tables": msgspec.to_builtins(census.tables(configuration))}


def counted(asked: Question) -> dict[str, Any]:
    """What the last messages of some channels asked the tables for."""
    made = load(asked.path)
    if made.errors:
        raise editing.Refusal("the configuration has errors", "config.errors", made.errors)
    with access.reading(Path(asked.data)) as tx:
        known = [name for name in asked.channels if name in made.channels]
        found = census.census(made, ((name, stored(tx, name, asked.last)) for name in known))
    return {name: msgspec.to_builtins(seen) for name, seen in found.items()}


def code(asked: Question) -> dict[str, Any]:
    """Write one code of a table, or take it away."""
    with editing.locked(Path(asked.data)):
        configuration = load(asked.path)
        if asked.table not in configuration.tables:
            raise ConfigError(f"there is no table {asked.table!r}", code="table.unknown")
        name, keys = census.home(configuration, asked.table, asked.code)
        text = editing.now(asked.path, linted)[name].decode("utf-8-sig").replace("\r\n", "\n")
        edit = tablework.changed(text, name, keys, asked.code, asked.row)
        before, changed = editing.write(asked.path, {name: edit}, asked.seen, asked.allowed, linted)
        return {**_written(asked, changed), "before": _packed(before)}


def schema(asked: Question) -> dict[str, Any]:
    """The JSON Schema of channel files."""
    from channels.build import CONNECTIONS
    from engine.spec.schema import schema as made

    return made(CONNECTIONS)


def write(asked: Question) -> dict[str, Any]:
    """Write the edits, when they could run."""
    with editing.locked(Path(asked.data)):
        before, changed = editing.write(asked.path, asked.edits, asked.seen, asked.allowed, linted)
        return {**_written(asked, changed), "before": _packed(before)}


def restore(asked: Question) -> dict[str, Any]:
    """Put back what stood there before a write that the engine did not take, if nobody has written since."""
    files = {name: None if text is None else base64.b64decode(text) for name, text in asked.files.items()}
    with editing.locked(Path(asked.data)):
        editing.fresh(editing.now(asked.path, linted), asked.seen)
        versions.put(editing.root_of(asked.path), files)
        return _written(asked, sorted(files))


def rollback(asked: Question) -> dict[str, Any]:
    """Write the files of a version back."""
    path = asked.path
    with editing.locked(Path(asked.data)), access.reading(Path(asked.data)) as tx:
        entry, wanted = versions.version_of(tx, asked.before)
        now_there = editing.now(path, linted)
        editing.fresh(now_there, asked.seen)
        editing.permit(now_there, wanted, asked.allowed)
        changed = versions.roll_back(tx, path, wanted, force=asked.force)
        before = {name: now_there.get(name) for name in changed}
        return {**_written(asked, changed), "before": _packed(before), "back_to": entry.version}


def _packed(files: dict[str, bytes | None]) -> dict[str, str | None]:
    return {name: None if data is None else base64.b64encode(data).decode() for name, data in files.items()}


def _written(asked: Question, changed: list[str]) -> dict[str, Any]:
    configuration = load(asked.path)
    problems = linted(configuration)
    files = editing.contents(configuration)
    return {
        "changed": changed,
        "etag": editing.etag(files),
        "version": configuration.files.version,
        "problems": [_problem(one) for one in problems],
        "files": _packed(dict(files)),
    }


ACTS: dict[str, Callable[[Question], dict[str, Any]]] = {
    act.__name__: act
    for act in (
        look,
        sample,
        lint,
        trace,
        plan,
        diff,
        show,
        tables,
        counted,
        code,
        schema,
        write,
        restore,
        rollback,
    )
}


def answered(line: bytes) -> dict[str, Any]:
    """The answer to one question."""
    try:
        asked = msgspec.json.decode(line, type=Question)
        return {"ok": ACTS[asked.do](asked)}
    except IsthmusError as error:
        problems = [_problem(one) for one in getattr(error, "problems", [])]
        return {
            "error": {
                "code": error.code, "what": f"{error.where}: {error.what}" if error.where else error.what,
                "todo": error.todo, "problems": problems,
            }
        }  # fmt: skip
    except OSError as error:
        what = f"the configuration cannot be read or written: {error.strerror}"
        return {"error": {"code": "config.files", "what": what, "todo": "", "problems": []}}


def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Where it happened, and not what it says: that may be patient data, and this goes into the console's log."""
    places = ", ".join(f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(trace)[-5:])
    sys.stderr.write(f"workbench: {kind.__name__} at {places}\n")


def main() -> None:
    """Answer one question."""
    sys.excepthook = crashed
    for what, most in LIMITS.items():
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))
    line = sys.stdin.buffer.read()
    out, sys.stdout = sys.stdout, sys.stderr  # what a module of the configuration prints is no answer
    if line.strip():
        out.write(msgspec.json.encode(answered(line), enc_hook=str).decode())
        out.flush()
