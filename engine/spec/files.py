"""The files that a configuration is made of: channel files, templates, tables, macros, Python modules.

Guarantees: each is read once, so what runs is what was looked at, whatever happens to the file meanwhile; the
version is a name of exactly these contents and of the values of the environment variables that they mention.
Refuses nothing: who reads a file handles `OSError`. Secrets are read elsewhere and are no part of it; of their files
and of those of certificates only digests are known (`guard`), so that a change is seen.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path


def absolute(path: Path) -> Path:
    """The path from the top, `..` worked out and links kept: mounted configurations are links to dated folders."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def digest(path: Path) -> str:
    """The digest of a file; "" when it cannot be read."""
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return ""


@dataclass
class Files:
    """What was read, by absolute path."""

    root: Path = field(default_factory=Path)
    """Folder of the configuration: below it, files are known by their relative path."""
    contents: dict[Path, bytes] = field(default_factory=dict)
    _lines: dict[Path, list[str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    """Environment variables that the configuration mentions, with the values it took."""
    guarded: dict[Path, str] = field(default_factory=dict)
    """Digests of secrets, certificates and keys: looked at for changes, kept nowhere, no part of the version."""

    def read(self, path: Path) -> bytes:
        """The bytes of a file. OSError."""
        known = absolute(path)
        if known not in self.contents:
            self.contents[known] = known.read_bytes()
        return self.contents[known]

    def text(self, path: Path) -> str:
        """The text of a file, without a byte order mark. OSError, UnicodeDecodeError."""
        return self.read(path).decode("utf-8-sig").replace("\r\n", "\n")

    def lines(self, path: Path) -> list[str]:
        """The lines of a file, cut once. OSError, UnicodeDecodeError."""
        known = absolute(path)
        if known not in self._lines:
            self._lines[known] = self.text(path).split("\n")
        return self._lines[known]

    def note(self, path: Path) -> None:
        """Let a file take part in the version; one that cannot be read is told by who needs it."""
        try:
            self.read(path)
        except OSError:
            return

    def guard(self, path: Path) -> str:
        """Look for changes of a file whose contents must not be kept. Gives its digest; "" when it cannot be read."""
        known = absolute(path)
        if known not in self.guarded:
            self.guarded[known] = digest(known)
        return self.guarded[known]

    def name(self, path: Path) -> str:
        """How a file is called: its path below the root, else its bare name."""
        top = absolute(self.root)
        return path.relative_to(top).as_posix() if path.is_relative_to(top) else path.name

    @property
    def digests(self) -> list[tuple[str, str]]:
        """Name and BLAKE2b digest of every file, sorted: the same on every machine."""
        return sorted(
            (self.name(path), hashlib.blake2b(data, digest_size=16).hexdigest())
            for path, data in self.contents.items()
        )

    @property
    def version(self) -> str:
        """A short name of all of it; empty when nothing was read."""
        if not self.contents:
            return ""
        parts = [*self.digests, *sorted(self.variables.items())]
        return hashlib.blake2b(repr(parts).encode(), digest_size=5).hexdigest()
