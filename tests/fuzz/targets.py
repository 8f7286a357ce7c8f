"""Every target, by name."""

from __future__ import annotations

from . import config, steps, wire

TARGETS = [*wire.TARGETS, *steps.TARGETS, *config.TARGETS]
