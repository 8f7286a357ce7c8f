"""Every target, by name."""

from __future__ import annotations

from . import config, headers, steps, wire

TARGETS = [*wire.TARGETS, *headers.TARGETS, *steps.TARGETS, *config.TARGETS]
