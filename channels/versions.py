"""The history of configurations: what ran, how two versions differ, and back to one of them."""

from __future__ import annotations

from pathlib import Path

from engine.spec.files import absolute


def name_of(path: Path, root: Path) -> str:
    """How the history calls a file: its path below the configuration's folder, else its whole path."""
    top = absolute(root)
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else str(path)
