"""What each part of a channel is made of, so that two configurations can be told apart part by part.

Guarantees: a part that could behave differently is different: its settings, the files that it reads, the code
tables and connections that it names, shared macros and modules. A table whose name is made at run time counts
as every table.
Refuses nothing. Parts may be found different that behave the same: they are made anew, which does no harm.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from channels.build import Builder
from engine.spec.channel import Bound, ChannelSpec

CONFIGURATION = {".yaml", ".yml", ".csv"}
"""Files of these kinds that no component reads are channel files and tables: they count by what is in them."""
_MADE_AT_RUN_TIME = re.compile(r"\btable\(\s*(?!['\"][^'\"]*['\"]\s*[,)])")


class Ingredients(NamedTuple):
    """Of one channel; equal parts may stay as they are."""

    listener: Any
    steps: Any
    options: Any
    destinations: dict[str, Any]


def ingredients(builder: Builder) -> dict[str, Ingredients]:
    """What each channel of a configuration is made of."""
    contents = builder.configuration.files.contents
    read = {path for paths in builder.reads.values() for path in paths}
    shared = {
        path: data for path, data in contents.items() if path not in read and path.suffix not in CONFIGURATION
    }
    return {name: _channel(builder, spec, shared) for name, spec in builder.configuration.channels.items()}


def _channel(builder: Builder, spec: ChannelSpec, shared: dict[Path, bytes]) -> Ingredients:
    steps = [*spec.filters, *spec.transformers]
    for item in spec.destinations:
        steps += [*item.filters, *item.transformers, *item.response]
    rendering = (spec.options.timezone, spec.options.charset, spec.format)
    source = _connection(builder, spec.listener)
    return Ingredients(
        (_parts(builder, [spec.listener], {}), source),
        (_parts(builder, steps, shared), source, [_connection(builder, bound) for bound in steps]),
        (spec.options, spec.format),
        {
            item.name: (
                rendering,
                _parts(builder, [item.bound], shared),
                _connection(builder, item.bound),
            )
            for item in spec.destinations
        },
    )


def _connection(builder: Builder, bound: Bound) -> Any:
    """What a component connects to, and the certificates for it."""
    name = getattr(bound.settings, "connection", "")
    return builder.configuration.connections.get(name), builder.guards.get(name)


def _parts(builder: Builder, parts: list[Bound], shared: dict[Path, bytes]) -> Any:
    """Settings, files and tables of some components."""
    contents = builder.configuration.files.contents
    files = {
        path: contents[path] for bound in parts for path in builder.reads[bound.where] if path in contents
    }
    texts = [repr(bound.settings) for bound in parts]
    texts += [data.decode("utf-8", "replace") for data in (*files.values(), *shared.values())]
    text = "\n".join(texts)
    every = _MADE_AT_RUN_TIME.search(text)
    tables = builder.configuration.tables.items()
    guarded = [builder.guards[bound.where] for bound in parts]
    return (
        parts,
        files,
        guarded,
        shared,
        {name: table_of(table) for name, table in tables if every or name in text},
    )


def table_of(table: Any) -> Any:
    """What a code table says, wherever it is written."""
    return table.rows, table.columns, table.otherwise, table.default, table.ignore_case
