"""From a declared channel to a running one: components built, steps compiled, once.

Guarantees: everything that can fail because of the configuration fails here, with the place in the file, and
before a port is opened.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from channels.notes import Notes
from channels.pipeline import Pipeline, Route, Step
from channels.response import Response
from destinations.base import Destination
from engine.errors import ConfigError, IsthmusError
from engine.fhirserver.connection import FhirConnection
from engine.fhirserver.reading import Agreement, ResourceLookup
from engine.formats.base import Format
from engine.lookup.http import HttpConnection
from engine.lookup.sql import SqlConnection
from engine.odoo.connection import OdooConnection
from engine.spec.channel import Bound, ChannelSpec, Configuration, DestinationSpec
from engine.spec.component import BuildContext, registry
from engine.spec.document import Where
from engine.spec.files import absolute
from engine.store.columns import Column
from transforms.canonical import from_fhir, from_hl7, to_fhir

CONNECTIONS: dict[str, Any] = {
    "odoo": OdooConnection,
    "fhir": FhirConnection,
    "sql": SqlConnection,
    "http": HttpConnection,
}
"""Kinds of connections: what stands below a name in `connections:`."""
INTERPRETERS: dict[str, Any] = {"hl7v2": from_hl7.interpreter, "fhir": from_fhir.interpreter}
"""Formats whose messages give canonical events."""


class Builder:
    """Builds the channels of one configuration; connections and tables are shared by all of them."""

    def __init__(
        self,
        configuration: Configuration,
        reactor: Any = None,
        data_dir: Path | None = None,
        before: Builder | None = None,
    ) -> None:
        """Connections that are declared as in `before` are the same objects: one login, one cache."""
        self.configuration = configuration
        self.reactor = reactor
        self.data_dir = data_dir
        self.base = configuration.folder
        self.connections: dict[str, Any] = {
            name: before.connections[name]
            if before is not None and before.same_connection(name, configuration)
            else self._connection(name, body)
            for name, body in configuration.connections.items()
        }
        self.guards: dict[Where | str, dict[Path, str]] = {}
        """Digests of the certificates and keys of each component, by where it is declared, and connection, by name."""
        for name, connection in self.connections.items():
            found: list[Path] = getattr(connection, "reads", list)()
            self.guards[name] = {file: configuration.files.guard(file) for file in found}
        self.tables = configuration.tables
        self.reads: dict[Where, list[Path]] = {}
        """The files that each component reads, by where it is declared."""
        for spec in configuration.channels.values():
            context = self.context(spec)
            for bound in spec.components:
                self.reads[bound.where] = [
                    absolute(file) for file in bound.settings.reads(self._placed(bound, context))
                ]
                for file in self.reads[bound.where]:
                    configuration.files.note(file)
                guarded = bound.settings.guards(self._placed(bound, context))
                self.guards[bound.where] = {file: configuration.files.guard(file) for file in guarded}

    def same_connection(self, name: str, configuration: Configuration) -> bool:
        """Whether a connection of this name is the same there: as declared, and by its certificates."""
        same = self.configuration.connections.get(name) == configuration.connections.get(name)
        return same and all(configuration.files.guard(file) == was for file, was in self.guards[name].items())

    def context(self, spec: ChannelSpec) -> BuildContext:
        """What the components of a channel are built with."""
        options = spec.options
        context = BuildContext(
            channel=spec.name,
            base=self.base,
            data_dir=self.data_dir,
            tables=self.tables,
            connections=self.connections,
            options={
                "timezone": options.timezone,
                "charset": options.charset,
                "destinations": [item.name for item in spec.destinations],
                "formats": {
                    name: one.format.component.name for name, one in self.configuration.channels.items()
                },
            },
            reactor=self.reactor,
            library=self.configuration.library,
            fragments=self.configuration.fragments,
            resources=to_fhir.plan,
            files=self.configuration.files,
        )
        context.format = self.build(spec.format, context)
        if options.ordering_key:
            self._at((*spec.where, "ordering_key"), partial(context.format.check, options.ordering_key))
        for name, column in options.search.declared.items():
            where = (*spec.where, "search", "columns", name)
            self._at(where, partial(context.format.check, column.path))
        return context

    def format(self, spec: ChannelSpec) -> Format:
        """How the messages of a channel are read."""
        found: Format = self.context(spec).format
        return found

    def pipeline(self, spec: ChannelSpec, keep: Mapping[str, Destination] | None = None) -> Pipeline:
        """The compiled steps and destinations of a channel; those in `keep` are taken as they are."""
        kept = keep or {}
        context = self.context(spec)
        notes = self._notes(spec, context)
        return Pipeline(
            channel=spec.name,
            parse=context.format.parse,
            interpret=notes.interpreter(self.canonical(spec)) if notes else self.canonical(spec),
            filters=self._steps(spec.filters, context),
            transformers=self._steps(spec.transformers, context),
            routes=tuple(
                Route(
                    item.name,
                    kept.get(item.name) or self.build(item.bound, context),
                    self._steps(item.filters, context),
                    self._steps(item.transformers, context),
                    self.response(spec, item, context),
                )
                for item in spec.destinations
            ),
            version=self.version,
            format=context.format,
            ordering_key=spec.options.ordering_key or context.format.ordering_key,
            columns=tuple(
                Column(name, one.path, one.plain) for name, one in spec.options.search.declared.items()
            ),
            lookups=(*context.cache.get("lookups", ()), *([notes.lookup, notes.agreement] if notes else ())),
            notes=notes,
            states=getattr(spec.listener.settings, "tells_states", False),
        )

    def _notes(self, spec: ChannelSpec, context: BuildContext) -> Notes | None:
        """What reads from the FHIR server whose notifications the channel gets."""
        name = getattr(spec.listener.settings, "connection", "")
        connection = self.connections.get(name)
        if not isinstance(connection, FhirConnection):
            return None
        searched = [one.partition("?")[0] for one in getattr(spec.listener.settings, "searches", ())]
        lookup = ResourceLookup(name, connection, self.reactor)
        agreement = Agreement(name, connection, self.reactor)
        return Notes(context.format, lookup, agreement, connection.written, searched)

    def response(self, spec: ChannelSpec, item: DestinationSpec, context: BuildContext) -> Response | None:
        """The steps that run on the answers of a destination; None when it has none."""
        if not item.response:
            return None
        answers = self.answers(item, context)
        return Response(
            answers.format,
            tuple(
                (Step(bound.label, self.build(bound, answers)), bound.component.kind == "filter")
                for bound in item.response
            ),
            context.format.parse,
            self.canonical(spec),
        )

    def answers(self, item: DestinationSpec, context: BuildContext) -> BuildContext:
        """What response steps are built with: paths are those of the answer."""
        form = registry.get("format", item.bound.settings.answers)
        assert form is not None, f"{item.bound.component.name} names no format of its answers"
        kept = {key: value for key, value in context.cache.items() if key == "make_environment"}
        return replace(context, format=form.settings().build(context), cache=kept)

    def canonical(self, spec: ChannelSpec) -> Any:
        """What makes the canonical events of this channel's messages; None where the format has none."""
        options = spec.options
        settings = {"timezone": options.timezone, "mrn": options.mrn, "canonical": options.canonical}
        make = INTERPRETERS.get(spec.format.component.name, from_hl7.interpreter)
        try:
            made = make(settings)
        except ConfigError as error:  # it says which option, such as canonical.absent
            where = (*spec.where, *error.where.split("."))
            raise self._error(where, error.what, code=error.code, todo=error.todo) from error
        return made if spec.format.component.name in INTERPRETERS else None

    def listener(self, spec: ChannelSpec) -> Any:
        """The listener of a channel, not started."""
        return self.build(spec.listener, self.context(spec))

    @property
    def version(self) -> str:
        """A short name of exactly this configuration: of all files that it is made of."""
        return self.configuration.files.version

    def _steps(self, bound: tuple[Bound, ...], context: BuildContext) -> tuple[Step, ...]:
        return tuple(Step(item.label, self.build(item, context)) for item in bound)

    def build(self, bound: Bound, context: BuildContext) -> Any:
        """One component, ready to run."""
        placed = self._placed(bound, context)
        return self._at((*bound.where, bound.component.name), lambda: bound.settings.build(placed))

    def _placed(self, bound: Bound, context: BuildContext) -> BuildContext:
        """The context of one component: it knows where its settings are written."""
        mark = self.configuration.document.mark
        where = (*bound.where, bound.component.name)
        base = Path(mark(where).file).parent
        return replace(context, label=bound.label, base=base, place=lambda setting: mark((*where, *setting)))

    def _connection(self, name: str, body: Any) -> Any:
        where = ("connections", name)
        if not isinstance(body, dict) or len(body) != 1 or next(iter(body)) not in CONNECTIONS:
            known = ", ".join(CONNECTIONS)
            raise self._error(where, f"a connection is one type with its settings below it (types: {known})")
        ((kind, settings),) = body.items()
        folder = Path(self.configuration.document.mark(where).file).parent
        return self._at(
            (*where, kind),
            lambda: CONNECTIONS[kind].model_validate(settings or {}, context={"folder": folder}),
        )

    def _at(self, where: tuple[str | int, ...], make: Callable[[], Any]) -> Any:
        """Run `make`; an error of it tells the place in the file."""
        try:
            return make()
        except IsthmusError as error:
            if re.search(r":\d+:\d+$", error.where):
                raise
            raise self._error(where, error.what, code=error.code, todo=error.todo) from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = (*where, *(part for part in first["loc"] if isinstance(part, (str, int))))
            name = ".".join(map(str, first["loc"]))
            text = first["msg"].removeprefix("Value error, ")
            raise self._error(place, f"{name}: {text}", code="setting.invalid") from None
        except (ValueError, TypeError) as error:
            raise self._error(where, str(error).split("\n", maxsplit=1)[0]) from error

    def _error(
        self, where: tuple[str | int, ...], what: str, *, code: str = "config.build", todo: str = ""
    ) -> ConfigError:
        return ConfigError(what, code=code, where=str(self.configuration.document.mark(where)), todo=todo)
