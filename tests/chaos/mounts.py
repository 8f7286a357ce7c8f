"""Small file systems to fill and to break. Tests that need them are skipped where mounting is not permitted."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest


def sh(*words: object) -> str:
    """Run a command; its error is the test's."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@contextmanager
def mounted(folder: Path, *options: str):
    """A file system on `folder`, for as long as the block."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        sh("mount", *options, folder)
    except (AssertionError, OSError) as error:
        pytest.skip(f"mounting is not permitted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def tmpfs(folder: Path, size: str):
    """In memory, of that size."""
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size},mode=700", "none")


def small_ext4(image: Path, megabytes: int = 24) -> Path:
    """A new file system, in a file, for `mounted(folder, "-o", "loop", image)`."""
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    sh("mkfs.ext4", "-q", "-F", image)
    return image


def resize(folder: Path, options: str) -> None:
    """`size=32m`, `ro`, `rw`."""
    sh("mount", "-o", f"remount,{options}", folder)


def fill(folder: Path) -> Path:
    """Another program takes all the room that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for block in (65536, 4096):
            try:
                while True:
                    file.write(bytes(block))
            except OSError:
                pass
    return ballast
