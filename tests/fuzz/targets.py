"""Every target, by name."""

from __future__ import annotations

from . import steps, wire

TARGETS = [*wire.TARGETS, *steps.TARGETS]
