"""Every target, by name."""

from __future__ import annotations

from . import wire

TARGETS = [*wire.TARGETS]
