"""A configuration that somebody edits: what it is now, what it would be, whose it is to change, and the write.

Guarantees: an edit is looked at in a folder of its own, made of links to everything else, so that paths mean the same
there and nothing of it runs before it is written; a write is refused unless the files are what the editor saw (their
ETag), under a lock, and all of it or nothing; a file can only be edited or made where the configuration reads it,
below its folder, so that no name leads elsewhere.
Refuses (ConfigError): `config.stale` files that changed meanwhile, `config.name` a file that is not to be edited,
`config.rights` what is not theirs to change, `config.errors` a configuration that could not run.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from channels.veil import VEIL, unveiled
from channels.versions import name_of, put
from channels.wording import is_channels, sections
from engine.errors import ConfigError
from engine.spec.channel import Configuration, load
from engine.spec.document import Problem
from engine.spec.files import absolute

Contents = Mapping[str, bytes]
Edits = Mapping[str, str | None]
Lint = Callable[[Configuration], list[Problem]]
LOCK = "configuration.lock"
SUFFIXES = (".yaml", ".yml", ".csv", ".j2", ".txt", ".py", ".json")
_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Refusal(ConfigError):
    """An edit that is not taken, with every problem of it."""

    def __init__(self, what: str, code: str, problems: list[Problem] | None = None, todo: str = "") -> None:
        super().__init__(what, code=code, todo=todo)
        self.problems = problems or []


def root_of(path: Path) -> Path:
    """The folder of a configuration."""
    return absolute(path if path.is_dir() else path.parent)


def contents(configuration: Configuration) -> dict[str, bytes]:
    """Everything that takes part, by name: relative to the configuration's folder, else absolute."""
    files = configuration.files
    return {name_of(path, files.root): data for path, data in files.contents.items()}


def now(path: Path, lint: Lint) -> dict[str, bytes]:
    """The contents as they are in the files; looked at by `lint`, which finds what the channels read."""
    configuration = load(path)
    lint(configuration)
    return contents(configuration)


def etag(files: Contents) -> str:
    """A name of exactly these contents."""
    found = hashlib.blake2b(digest_size=12)
    for name, data in sorted(files.items()):
        found.update(f"{len(name)}:{name}{len(data)}:".encode())
        found.update(data)
    return found.hexdigest()


def edited(before: Contents, edits: Edits) -> dict[str, bytes]:
    """The files with the edits, hidden values put back. Line ends are those of Unix."""
    after = dict(before)
    for name, text in edits.items():
        if name not in before and not (_NAME.fullmatch(name) and name.endswith(SUFFIXES)):
            raise ConfigError(
                f"{name!r} cannot be the name of a file of the configuration", code="config.name",
                todo=f"letters, digits, . _ - and folders; it ends with {', '.join(SUFFIXES)}",
            )  # fmt: skip
        if name.startswith("/"):
            raise ConfigError(f"{name} is not below the configuration's folder", code="config.name")
        if text is None:
            after.pop(name, None)
            continue
        old = before.get(name, b"").decode("utf-8", "replace")
        new = unveiled(text.replace("\r\n", "\n"), old)
        after[name] = new.encode()
        if "\r\n" in old:  # as the file was written
            after[name] = new.replace("\n", "\r\n").encode()
    return after


def touched(before: Contents, after: Contents) -> tuple[set[str], list[str]]:
    """The channels whose own text differs, and everything else that does."""
    old, new = sections(before), sections(after)
    mine, theirs = old.get("channels") or {}, new.get("channels") or {}
    names: set[str] = set()
    others = [one for one in sorted({*old, *new} - {"channels"}) if old.get(one) != new.get(one)]
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = {str(name) for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)}
    else:
        others.append("channels")
    others += [
        name
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name) and not is_channels(name, before, after)
    ]
    return names, others


def permit(before: Contents, after: Contents, allowed: Collection[str] | None) -> None:
    """Refuse what changes more than the channels `allowed` (None: all, and everything else)."""
    if allowed is None:
        return
    names, others = touched(before, after)
    over = sorted(names - set(allowed))
    if over or others:
        told = [*(f"channel {name}" for name in over), *others]
        raise Refusal(
            f"this changes what is not yours to change: {', '.join(told)}", "config.rights",
            todo=f"you may change {', '.join(f'channel {name}' for name in sorted(allowed)) or 'nothing'}",
        )  # fmt: skip


@contextmanager
def staged(path: Path, files: Contents, before: Contents) -> Iterator[tuple[Path, Callable[[str], str]]]:
    """The configuration with other contents, in a folder of links; also gives what turns its paths into ours."""
    place, root = absolute(path), root_of(path)
    changed = {
        name: files.get(name)
        for name in {*before, *files}
        if files.get(name) != before.get(name) and not name.startswith("/")
    }
    with tempfile.TemporaryDirectory(prefix="isthmus-edit-") as folder:
        top = Path(folder).resolve() / "files"
        here, there = Path(root.anchor), top
        for part in root.parts[1:]:
            _mirror(here, there, {part: ...})
            here, there = here / part, there / part
        _mirror(here, there, dict(changed))
        prefix = str(top)

        def ours(text: str) -> str:
            return text.replace(f"{prefix}{root}/", "").replace(prefix, "")

        yield top.joinpath(*place.parts[1:]), ours


def _mirror(source: Path, target: Path, own: Mapping[str, Any]) -> None:
    """Links to everything in a folder but what is `own`; own files are written, `...` is left to the caller."""
    target.mkdir(parents=True, exist_ok=True)
    heads = {name.split("/", 1)[0] for name in own}
    try:
        entries = list(source.iterdir())
    except OSError:
        entries = []
    for entry in entries:
        if entry.name not in heads:
            (target / entry.name).symlink_to(entry)
    for head in heads:
        inside = {name.split("/", 1)[1]: data for name, data in own.items() if name.startswith(f"{head}/")}
        if inside:
            _mirror(source / head, target / head, inside)
        elif own[head] not in (None, ...):
            (target / head).write_bytes(own[head])


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """One write at a time, whichever process does it."""
    with (data / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fresh(before: Contents, seen: str) -> None:
    """Refuse an edit of files that are not those that the editor saw."""
    if etag(before) != seen:
        raise Refusal(
            "somebody else changed the configuration meanwhile", "config.stale",
            todo="load it again; your text can be copied from this page",
        )  # fmt: skip


def write(
    path: Path,
    edits: Edits,
    seen: str,
    allowed: Collection[str] | None,
    lint: Lint,
) -> tuple[dict[str, bytes | None], list[str]]:
    """Write edits, if the files are what was seen and the result could run. Gives what stood there before, and the
    names of what changed."""
    before = now(path, lint)
    fresh(before, seen)
    after = edited(before, edits)
    permit(before, after, allowed)
    with staged(path, after, before) as (place, ours):
        configuration = load(place)
        problems = [told(problem, ours) for problem in lint(configuration)]
        wrong = [problem for problem in problems if problem.severity == "error"]
        if wrong:
            count = f"{len(wrong)} error{'s' if len(wrong) > 1 else ''}"
            raise Refusal(f"the configuration has {count}: nothing was written", "config.errors", problems)
        takes_part = contents(configuration)
    stray = sorted(name for name in after if name not in takes_part and name not in before)
    if stray:
        raise ConfigError(
            f"nothing reads {', '.join(stray)}",
            code="config.name",
            todo="include it, or name it where it is used",
        )
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    for name in changed:
        if VEIL.encode() in after.get(name, b"") and VEIL.encode() not in before.get(name, b""):
            raise ConfigError(
                f"{VEIL} would be written into {name}", code="config.veil", todo="write the value"
            )
    root = root_of(path)
    for name in changed:
        if name not in before and not (root / name).resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"{name} is not below the configuration's folder", code="config.name")
    put(root, {name: after.get(name) for name in changed})
    return {name: before.get(name) for name in changed}, changed


def told(problem: Problem, ours: Callable[[str], str]) -> Problem:
    """A problem in the words of the real place."""
    mark = type(problem.mark)(ours(problem.mark.file), problem.mark.line, problem.mark.column)
    return Problem(problem.code, mark, ours(problem.text), ours(problem.hint), problem.severity)
