"""Every problem of a configuration: of its text and of building it. `lint`, `run` and a reload ask here.

Guarantees: all problems, never only the first, each with its place; nothing is opened and nobody is asked.
"""

from __future__ import annotations

from channels.build import Builder
from engine.errors import ConfigError
from engine.spec.channel import Configuration
from engine.spec.document import Mark, Problem


def check(configuration: Configuration) -> list[Problem]:
    """The problems of a configuration: of its text and, when that is right, of building it."""
    problems = list(configuration.problems)
    if configuration.errors:
        return problems
    try:
        builder = Builder(configuration)
    except ConfigError as error:
        return [*problems, _problem(error, configuration)]
    for spec in configuration.channels.values():
        context = builder.context(spec)
        for bound in spec.components:
            try:
                builder.build(bound, context)
            except ConfigError as error:
                problems.append(_problem(error, configuration))
        try:
            builder.canonical(spec)
        except ConfigError as error:
            problems.append(_problem(error, configuration))
    return problems


def _problem(error: ConfigError, configuration: Configuration) -> Problem:
    return Problem(error.code, _mark(error.where, configuration), error.what, error.todo)


def _mark(where: str, configuration: Configuration) -> Mark:
    parts = where.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return Mark(parts[0], int(parts[1]), int(parts[2]))
    return Mark(str(configuration.document.path), 1, 1)
