"""`lint`: everything that is wrong with a configuration, before it runs.

Guarantees: each finding has file:line:column, a stable code, plain words and a hint; what is wrong with the text
of the files is told first and alone, because the rest would be guesswork; an expression, a template and a path
are each looked at once, however many channels share them. `# lint: allow CODE` on the line of a finding, or alone
on the line before, silences what is a judgement: every code of `ALLOWED`. Nothing is opened or run.
"""

from __future__ import annotations

import re
from typing import Any

from channels.build import Builder
from channels.lint import steps, wiring
from channels.lint.findings import Findings
from channels.lint.placing import Looker, source
from engine.errors import ConfigError
from engine.spec.channel import ChannelSpec, Configuration
from engine.spec.component import BuildContext
from engine.spec.document import Mark, Problem

ALLOWED = (
    "hl7.",
    "fhirpath.",
    "odoo.",
    "table.unused",
    "variable.unused",
    "connection.unused",
    "secret.clear",
    "channel.",
    "event.",
)
_ALLOW = re.compile(r"#\s*lint:\s*allow\s+([\w., ]+)")


class Looking(Builder):
    """Builds components to see whether they can be built: no code is made for their expressions."""

    def context(self, spec: ChannelSpec) -> BuildContext:
        """With an environment that only looks."""
        context = super().context(spec)
        context.cache["make_environment"] = Looker
        return context


def check(configuration: Configuration, snapshots: dict[str, Any] | None = None) -> list[Problem]:
    """The problems of a configuration, in file order. `snapshots`: what Odoo has, by connection."""
    told = list(configuration.problems)
    if configuration.errors:
        return told
    findings = Findings(configuration)
    try:
        builder = Looking(configuration)
    except ConfigError as error:
        return [*told, problem(error, configuration)]
    reader = steps.Reader(builder, findings, snapshots or {})
    for spec in configuration.channels.values():
        try:
            reader.channel(spec)
        except ConfigError as error:
            findings.add(problem(error, configuration))
    wiring.check(configuration, reader, findings)
    found = [one for one in dict.fromkeys([*told, *findings.problems]) if not _allowed(one, configuration)]
    return sorted(found, key=lambda one: (one.mark.file, one.mark.line, one.mark.column, one.code))


def problem(error: ConfigError, configuration: Configuration) -> Problem:
    """A finding of what a component refuses."""
    return Problem(error.code, mark(error.where, configuration), error.what, sentence(error.todo))


def sentence(text: str) -> str:
    """A hint begins with a capital and ends with a stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('?', '.')) else '.'}" if text else ""


def mark(where: str, configuration: Configuration) -> Mark:
    """The place that an error names, else the begin of the configuration."""
    parts = where.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return Mark(parts[0], int(parts[1]), int(parts[2]))
    return Mark(str(configuration.document.path), 1, 1)


def _allowed(found: Problem, configuration: Configuration) -> bool:
    if not found.code.startswith(ALLOWED):
        return False
    lines = source(configuration.files, found.mark.file)
    near = [lines[found.mark.line - 1]] if 0 < found.mark.line <= len(lines) else []
    if found.mark.line > 1 and lines and lines[found.mark.line - 2].lstrip().startswith("#"):
        near.append(lines[found.mark.line - 2])
    allowed = [code for line in near for group in _ALLOW.findall(line) for code in re.split(r"[ ,]+", group)]
    return found.code in allowed
