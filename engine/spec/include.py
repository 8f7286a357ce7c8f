"""`include:`: one configuration in several files.

    include: [channels/*.yaml, ../shared/tables.yaml]

Guarantees: paths are relative to the file that names them; a pattern gives its files sorted; a file that is
reached twice is taken once; every value keeps the place in the file where it is written. A directory stands
for the YAML files that are directly in it. Reports: a file that is not there, a pattern that finds nothing (a
warning), files that include each other, a name that two files define, with the places of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.spec.document import Document, Mark, Sources, Where, did_you_mean, read
from engine.spec.files import absolute

MAX_FILES = 2_000
SUFFIXES = (".yaml", ".yml")
NAMES = {"channels": 1, "connections": 1, "tables": 1, "fragments": 1, "disk": 1, "defaults": 2}
"""Sections that are mappings, and how deep their names are put together."""
LISTS = ("macros", "functions")
TOP = ("include", "defaults", *[name for name in NAMES if name != "defaults"], *LISTS)


def read_all(path: Path, environ: Mapping[str, str] | None = None) -> Document:
    """Read a file, or a directory, with all that it includes, into one document."""
    if path.is_dir():
        document = Document(path, {})
        document.marks[()] = Mark(str(path), 1, 1)
        sources = Sources(environ, path)
        document.files = sources.files
        reader = _Reader(document, sources)
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not files:
            document.report(
                "include.missing", (), "this folder has no YAML file", "Name a file, or put one into it."
            )
        for file in files:
            reader.take(file, ())
        return document
    sources = Sources(environ, path.parent)
    document = read(path, sources)
    reader = _Reader(document, sources)
    reader.chain.append(absolute(path))
    if isinstance(document.data, dict):
        _listed(document)
        reader.follow(document)
    return document


def _listed(document: Document) -> None:
    """Make a list of a bare `macros: file.j2`."""
    for key in LISTS:
        if isinstance(document.data.get(key), str):
            document.data[key] = [document.data[key]]
            document.marks[key, 0] = document.mark((key,))


def graft(source: Document, src: Where, target: Document, dst: Where, value: Any) -> None:
    """Copy the marks of `value` and of all below it."""
    if src in source.marks:
        target.marks[dst] = source.marks[src]
    if src in source.key_marks:
        target.key_marks[dst] = source.key_marks[src]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        graft(source, (*src, key), target, (*dst, key), item)


class _Reader:
    """Puts files together into `root`."""

    def __init__(self, root: Document, sources: Sources) -> None:
        self.root = root
        self.sources = sources
        self.done: set[Path] = {absolute(root.path)}
        self.chain: list[Path] = []

    def follow(self, document: Document) -> None:
        """Read what `document` includes."""
        listed = document.data.get("include")
        entries = [listed] if isinstance(listed, str) else [] if listed is None else listed
        if not isinstance(entries, list):
            document.report("type.list", ("include",), "include must be a list of files", "Write [a.yaml].")
            return
        for index, entry in enumerate(entries):
            where: Where = ("include",) if entries is not listed else ("include", index)
            if not isinstance(entry, str) or not entry or "\0" in entry:
                document.report("include.path", where, "this must be the path of a file")
                continue
            for file in self.files(document, entry, where):
                self.take(file, where, document)

    def files(self, document: Document, entry: str, where: Where) -> Iterator[Path]:
        """The files of one entry."""
        base = document.path.parent
        if not any(char in entry for char in "*?["):
            yield base / entry
            return
        try:
            found = sorted(base.glob(entry)) if not Path(entry).is_absolute() else []
        except (ValueError, NotImplementedError, OSError):
            found = []
        found = [file for file in found if file.is_file() and absolute(file) not in self.chain]
        if not found:
            hint = "Check the pattern: it is relative to this file."
            document.report("include.none", where, f"no file is {entry}", hint, severity="warning")
        yield from found

    def take(self, file: Path, where: Where, by: Document | None = None) -> None:
        """Read one file, what it includes, and merge both into the root."""
        told = by or self.root
        known = absolute(file)
        if known in self.chain:
            chain = " → ".join(item.name for item in [*self.chain[self.chain.index(known) :], known])
            told.report("include.cycle", where, f"these files include each other: {chain}", "Remove one.")
            return
        if known in self.done:
            return
        if len(self.done) >= MAX_FILES:
            told.report("include.many", where, f"more than {MAX_FILES} files are included")
            return
        self.done.add(known)
        if by is not None and not file.is_file():
            beside = [item.name for item in file.parent.glob("*") if item.suffix in SUFFIXES]
            hint = did_you_mean(file.name, beside) or "The path is relative to this file."
            told.report("include.missing", where, f"there is no file {file}", hint)
            return
        document = read(file, self.sources)
        self.chain.append(known)
        if isinstance(document.data, dict):
            _listed(document)
            self.merge(document)
            self.follow(document)
        elif document.data is not None:
            document.report(
                "type.mapping",
                (),
                "an included file must be a configuration: a mapping with channels, tables …",
                "Templates, tables and tests belong into folders of their own.",
            )
        self.chain.pop()
        if document is not told:
            self.root.problems += document.problems

    def merge(self, document: Document) -> None:
        """Put the sections of `document` into the root."""
        for key, value in document.data.items():
            if key == "include" or key.startswith("x-") or value is None:
                continue
            if key in LISTS and isinstance(value, list) and isinstance(self.root.data.get(key, []), list):
                self.append(document, key, value)
            elif key in NAMES and isinstance(value, dict):
                self.names(document, (key,), self.root.data, key, value, NAMES[key])
            elif key not in TOP:
                hint = did_you_mean(key, TOP)
                document.report("key.unknown", (key,), f"unknown key {key!r}", hint, key=True)
            elif key in NAMES:
                document.report("type.mapping", (key,), f"{key} must be a mapping of names")
            else:
                document.report("type.list", (key,), f"{key} must be a list")

    def append(self, document: Document, key: str, value: list[Any]) -> None:
        found = self.root.data.setdefault(key, [])
        for index, item in enumerate(value):
            graft(document, (key, index), self.root, (key, len(found)), item)
            found.append(item)

    def names(
        self, document: Document, where: Where, target: dict[Any, Any], key: str, value: Any, depth: int
    ) -> None:
        """Put the names of one mapping into the root's mapping of the same place."""
        if target.get(key) is None:
            target[key] = {}
            self.root.marks[where] = document.mark(where)
            self.root.key_marks[where] = document.mark(where, key=True)
        mine = target[key]
        if not isinstance(mine, dict):
            return  # told where it is written
        for name, body in value.items():
            place = (*where, name)
            if name not in mine:
                mine[name] = body
                graft(document, place, self.root, place, body)
            elif depth > 1 and isinstance(body, dict) and isinstance(mine[name], dict):
                self.names(document, place, mine, name, body, depth - 1)
            else:
                first = self.root.mark(place, key=True)
                what = f"{'.'.join(map(str, place))} is defined twice; first at {first}"
                document.report("include.twice", place, what, "Rename or delete one.", key=True)
