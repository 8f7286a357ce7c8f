"""Configurations of several files."""

from __future__ import annotations

import pytest

from engine.spec.channel import load


@pytest.fixture
def written(tmp_path):
    """Write files by name, load `channels.yaml`."""

    def write(files, environ=None, start="channels.yaml"):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, "utf-8")
        return load(tmp_path / start, environ or {})

    return write
