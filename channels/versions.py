"""The history of configurations: what ran, how two versions differ, and back to one of them.

Guarantees: `told` compares what is written, not what it becomes: variables stay `${NAME}`, secrets are never
read, and what is called a key or password is not shown; a rollback writes every file beside its place, then renames
them, so that one cut off leaves only contents that the history has, and can be done again.
Refuses (ConfigError): a version that is not known or not unique; to write into another configuration than the one
that ran with this store; to write over an edit that no version has, unless forced: then it is kept beside as
`NAME.before-rollback`.
"""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from engine.errors import ConfigError
from engine.spec.channel import load
from engine.spec.files import absolute
from engine.store import commands, versions
from engine.store.tx import Tx

Contents = Mapping[str, bytes]
KEPT = ".before-rollback"
BESIDE = ".rollback"


def name_of(path: Path, root: Path) -> str:
    """How the history calls a file: its path below the configuration's folder, else its whole path."""
    top = absolute(root)
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path)


def version_of(tx: Tx, name: str) -> tuple[versions.Entry, dict[str, bytes]]:
    """The newest entry of a version (its name, the beginning of it, or a number of the history) and its files."""
    found = versions.find(tx, name)
    names = list(dict.fromkeys(entry.version for entry in found))
    exact = [entry for entry in found if str(entry.id) == name] or [e for e in found if e.version == name]
    if not found or (len(names) > 1 and not exact):
        what = (
            f"several versions begin with {name!r}: {', '.join(names)}"
            if found
            else f"no version {name!r} ran"
        )
        raise ConfigError(what, code="config.version", todo="See `isthmus config history`.")
    entry = (exact or found)[0]
    return entry, versions.files(tx, entry.version) or {}


def unified(before: Contents, after: Contents) -> Iterator[str]:
    """The lines of a unified diff over all files."""
    for name in sorted({*before, *after}):
        old, new = (side.get(name, b"").decode("utf-8", "replace").splitlines() for side in (before, after))
        source = f"a/{name}" if name in before else "/dev/null"
        target = f"b/{name}" if name in after else "/dev/null"
        yield from difflib.unified_diff(old, new, source, target, lineterm="")


def on_disk(path: Path, names: Iterable[str] = ()) -> dict[str, bytes]:
    """The files of a configuration as they are now; `names` are looked for besides those that it includes."""
    files = load(path).files
    found = {name_of(file, files.root): data for file, data in files.contents.items()}
    for name in names:
        file = absolute(files.root) / name
        if name not in found and file.is_file():
            found[name] = file.read_bytes()
    return found


def unsaved(tx: Tx, now: Contents, wanted: Contents) -> list[str]:
    """The files whose contents no version has."""
    left = {name for name, data in now.items() if wanted.get(name) != data}
    for version in tx.rows("SELECT DISTINCT version FROM config"):
        if not left:
            break
        known = versions.files(tx, version[0]) or {}
        left -= {name for name in left if known.get(name) == now[name]}
    return sorted(left)


def own(tx: Tx, path: Path, wanted: Contents, *, moved: bool = False) -> None:
    """Raise a ConfigError unless `path` is the configuration that ran with this store (or was `moved` there)."""
    engine = commands.engine_status(tx)
    home = str((engine["status"] if engine else {}).get("config") or "")
    if home and not moved and Path(home).resolve() != path.resolve():
        raise ConfigError(
            f"this data folder belongs to the configuration {home}, not to {absolute(path)}",
            code="config.other",
            todo="Name that one with --config; add --moved when it was moved here.",
        )
    if path.is_file() and path.name not in wanted:
        raise ConfigError(
            f"that version has no file {path.name}: {absolute(path)} is another configuration",
            code="config.other",
            todo=f"Its files are {', '.join(sorted(wanted))}.",
        )


def roll_back(
    tx: Tx, path: Path, wanted: Contents, *, force: bool = False, moved: bool = False, dry: bool = False
) -> list[str]:
    """Put the files of a version in their places, and take away those that it had not. Gives what changed, or with
    `dry` what would change."""
    own(tx, path, wanted, moved=moved)
    last = versions.latest(tx)
    names = {*wanted, *((versions.files(tx, last.version) or {}) if last else ())}
    root = absolute(path if path.is_dir() else path.parent)
    now = on_disk(path, names)
    edited = unsaved(tx, now, wanted)
    if edited and not force:
        raise ConfigError(
            f"edits in no version of the history would be lost: {', '.join(edited)}",
            code="config.edited",
            todo=f"Take them up first (`isthmus channel reload`), or add --force: they are kept as NAME{KEPT}.",
        )
    changed = sorted(name for name in {*now, *wanted} if now.get(name) != wanted.get(name))
    if not dry:
        for name in edited:
            file = root / name
            shutil.copy2(file, file.with_name(file.name + KEPT))
        put(root, {name: wanted.get(name) for name in changed})
    return changed


def put(root: Path, contents: Mapping[str, bytes | None]) -> None:
    """All beside their places first, then renamed; those without contents are taken away."""
    ready: list[tuple[Path, Path]] = []
    for name, data in contents.items():
        if data is None:
            continue
        place = (root / name).resolve()  # a link goes on being one
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}{BESIDE}")
        with beside.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        if place.exists():
            shutil.copymode(place, beside)
        ready.append((beside, place))
    for beside, place in ready:
        beside.replace(place)
    for name, data in contents.items():
        if data is None:
            (root / name).unlink(missing_ok=True)
