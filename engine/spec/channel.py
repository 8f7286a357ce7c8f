"""The configuration as declared: connections, code tables and channels, each component bound to its settings.

`load(path)` reads a file or a folder, with all that it includes, and gives a `Configuration` with every problem
found, never only the first. Nothing is opened here: what runs is built from it by `channels.build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.spec.checking import unknown_key, validated
from engine.spec.component import ON_ANSWERS, Component, Kind, Settings, registry
from engine.spec.compose import compose
from engine.spec.document import Document, Problem, Where, did_you_mean
from engine.spec.expressions import check_macros
from engine.spec.files import Files
from engine.spec.fragments import Fragments
from engine.spec.include import LISTS, TOP, read_all
from engine.spec.library import Library, read_library
from engine.spec.options import ChannelOptions, DestinationOptions
from engine.spec.retention import Disk
from engine.spec.tables import Table, read_table


@dataclass(frozen=True)
class Bound:
    """A component with its settings, and where it is declared."""

    component: Component
    settings: Settings
    where: Where

    @property
    def label(self) -> str:
        """`filters[0] message_type`: how errors name this step."""
        *_, place, index = ("", *self.where)
        inside = f"{place}[{index}]" if isinstance(index, int) else str(index)
        return f"{inside} {self.component.name}"


@dataclass(frozen=True)
class DestinationSpec:
    """One declared destination."""

    name: str
    bound: Bound
    options: DestinationOptions
    filters: tuple[Bound, ...] = ()
    transformers: tuple[Bound, ...] = ()
    response: tuple[Bound, ...] = ()  # steps on its answers


@dataclass(frozen=True)
class ChannelSpec:
    """One declared channel."""

    name: str
    options: ChannelOptions
    format: Bound
    listener: Bound
    filters: tuple[Bound, ...] = ()
    transformers: tuple[Bound, ...] = ()
    destinations: tuple[DestinationSpec, ...] = ()
    where: Where = ()

    @property
    def components(self) -> list[Bound]:
        """Every component that it declares, in the order of a message."""
        found = [self.format, self.listener, *self.filters, *self.transformers]
        for item in self.destinations:
            found += [*item.filters, *item.transformers, item.bound, *item.response]
        return found


@dataclass
class Configuration:
    """A read configuration: what is in it, and what is wrong with it."""

    document: Document
    channels: dict[str, ChannelSpec] = field(default_factory=dict)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    disk: Disk = field(default_factory=Disk)
    library: Library = field(default_factory=Library)
    fragments: Fragments = field(init=False)

    def __post_init__(self) -> None:
        self.fragments = Fragments(self.document)

    @property
    def files(self) -> Files:
        """Every file that took part, as it was read."""
        return self.document.files

    @property
    def folder(self) -> Path:
        """The folder that the configuration is in."""
        path = self.document.path
        return path if path.is_dir() else path.parent

    @property
    def problems(self) -> list[Problem]:
        """All findings, in file order."""
        found = dict.fromkeys(self.document.problems)  # what an alias repeats is told once
        return sorted(found, key=lambda p: (p.mark.file, p.mark.line, p.mark.column, p.code))

    @property
    def errors(self) -> list[Problem]:
        """The findings that keep the configuration from running."""
        return [problem for problem in self.problems if problem.severity == "error"]


def load(path: Path, environ: Mapping[str, str] | None = None) -> Configuration:
    """Read and check a configuration: a file, or the files of a folder."""
    document = read_all(path, environ)
    compose(document)
    configuration = Configuration(document)
    _Binder(document, configuration).bind()
    return configuration


COMPONENT_KEYS = ("format", "listener", "filters", "transformers", "destinations")


class _Binder:
    """Turns plain data into specs, reporting everything that does not fit."""

    def __init__(self, document: Document, configuration: Configuration) -> None:
        self.document = document
        self.configuration = configuration

    def bind(self) -> None:
        data = self.document.data
        if data is None and self.document.problems:
            return
        top = self.mapping(data, (), "a configuration")
        for key in top:
            if key not in TOP and not key.startswith("x-"):
                self.unknown(key, (key,), TOP)
        self.configuration.connections = self.mapping(top.get("connections"), ("connections",), "connections")
        self.mapping(top.get("fragments"), ("fragments",), "fragments")
        self.defaults(self.mapping(top.get("defaults"), ("defaults",), "defaults"))
        for key in LISTS:
            self.texts(top.get(key), (key,))
        self.configuration.library = read_library(self.document)
        for name, body in self.mapping(top.get("tables"), ("tables",), "tables").items():
            table = read_table(name, body, self.document, ("tables", name))
            if table is not None:
                self.configuration.tables[name] = table
        check_macros(self.configuration.library, self.configuration.tables, self.document)
        self.configuration.disk = self.options(Disk, top.get("disk") or {}, ("disk",), ()) or Disk()
        channels = self.mapping(top.get("channels"), ("channels",), "channels")
        if not channels and not self.document.problems:
            self.document.report(
                "channels.none", (), "there is no channel here", "Add one below `channels:`."
            )
        for name, body in channels.items():
            spec = self.channel(name, body, ("channels", name))
            if spec is not None:
                self.configuration.channels[name] = spec
        for spec in self.configuration.channels.values():
            other = spec.options.order_with
            if other and other not in channels:
                self.document.report(
                    "channel.unknown",
                    (*spec.where, "order_with"),
                    f"there is no channel {other!r}",
                    did_you_mean(other, channels),
                )

    def defaults(self, data: dict[str, Any]) -> None:
        """Check `defaults:`, which `compose` has put into the channels already."""
        kinds = {"channel": ChannelOptions, "destination": DestinationOptions, "listener": None}
        for kind, body in data.items():
            where: Where = ("defaults", kind)
            if kind not in kinds:
                self.unknown(kind, where, kinds)
                continue
            found = self.mapping(body, where, f"the defaults of {kind}s")
            model = kinds[kind]
            fields = set(model.model_fields) if model else set()
            known = fields | (set() if kind == "channel" else set(registry.names(kind)))  # type: ignore[arg-type]
            for key in found.keys() - known:
                self.unknown(key, (*where, key), known)
            if model:
                own = {key: value for key, value in found.items() if key in fields}
                validated(model, own, where, (), self.document, partial=True)
            for key in found.keys() & (known - fields):
                item = registry.get(kind, key)  # type: ignore[arg-type]
                settings = self.mapping(found[key], (*where, key), f"the defaults of {key}")
                if item is not None:
                    validated(item.settings, settings, (*where, key), (), self.document, partial=True)

    def texts(self, body: Any, where: Where) -> None:
        """Check a list of texts."""
        if body is not None and not isinstance(body, list):
            self.document.report("type.list", where, f"{where[-1]} must be a list", "Begin each with `- `.")
        for index, item in enumerate(body if isinstance(body, list) else ()):
            if not isinstance(item, str) or not item or "\0" in item:
                self.document.report("type.text", (*where, index), f"an item of {where[-1]} must be a text")

    def channel(self, name: str, body: Any, where: Where) -> ChannelSpec | None:
        data = self.mapping(body, where, f"the channel {name!r}")
        rest = {key: value for key, value in data.items() if key not in COMPONENT_KEYS}
        options = self.options(ChannelOptions, rest, where, COMPONENT_KEYS)
        if "listener" not in data:
            self.document.report(
                "listener.missing",
                where,
                f"the channel {name!r} has no listener",
                "Add `listener: {mllp: {port: 2575}}`.",
                key=True,
            )
            listener = None
        else:
            listener = self.component("listener", data["listener"], (*where, "listener"))
        form = self.component("format", data.get("format", "hl7v2"), (*where, "format"))
        filters = self.steps("filter", data.get("filters"), (*where, "filters"))
        transformers = self.steps("transformer", data.get("transformers"), (*where, "transformers"))
        declared = self.mapping(data.get("destinations"), (*where, "destinations"), "destinations")
        destinations = [
            self.destination(key, value, (*where, "destinations", key)) for key, value in declared.items()
        ]
        if options is None or listener is None or form is None:
            return None
        return ChannelSpec(
            name, options, form, listener, filters, transformers, tuple(filter(None, destinations)), where
        )

    def destination(self, name: str, body: Any, where: Where) -> DestinationSpec | None:
        data = self.mapping(body, where, f"the destination {name!r}")
        own = {*DestinationOptions.model_fields, "filters", "transformers", "response"}
        rest = {key: value for key, value in data.items() if key in DestinationOptions.model_fields}
        bound = self.component("destination", {k: v for k, v in data.items() if k not in own}, where, own)
        options = self.options(DestinationOptions, rest, where, ())
        filters = self.steps("filter", data.get("filters"), (*where, "filters"))
        transformers = self.steps("transformer", data.get("transformers"), (*where, "transformers"))
        response = self.steps("response", data.get("response"), (*where, "response"))
        if bound is None or options is None:
            return None
        if response and not bound.settings.answers:
            self.document.report(
                "response.none",
                (*where, "response"),
                f"the answers of `{bound.component.name}` cannot be read by steps",
                "Take `response` out.",
                key=True,
            )
            return None
        for one in response:
            if not one.settings.on_response:
                self.document.report(
                    "response.step",
                    (*one.where, one.component.name),
                    f"`{one.component.name}` cannot stand in `response`",
                    "Pass the answer on to a channel with `forward`, and do it there.",
                    key=True,
                )
        return DestinationSpec(name, bound, options, filters, transformers, response)

    def steps(self, kind: Kind, body: Any, where: Where) -> tuple[Bound, ...]:
        if body is None:
            return ()
        if not isinstance(body, list):
            self.document.report(
                "type.list",
                where,
                f"{where[-1]} must be a list, each item one {kind}",
                "Begin each item with `- `.",
            )
            return ()
        bound = [self.component(kind, item, (*where, index)) for index, item in enumerate(body)]
        return tuple(filter(None, bound))

    def component(self, kind: Kind, body: Any, where: Where, also: Any = ()) -> Bound | None:
        """Bind `{name: settings}`."""
        kinds = ON_ANSWERS if kind == "response" else (kind,)
        names = sorted(name for one in kinds for name in registry.names(one))
        if isinstance(body, str):
            body = {body: {}}
        if not isinstance(body, dict) or len(body) != 1:
            known = [key for key in body if key in names] if isinstance(body, dict) else []
            if isinstance(body, dict) and len(known) == 1:
                for key in body:
                    if key not in names:
                        self.unknown(key, (*where, key), {*names, *also})
                return None
            what = "has none" if not body else "has several" if isinstance(body, dict) else "is not a mapping"
            self.document.report(
                f"{kind}.type",
                where,
                f"a {kind} is one type with its settings below it; this {what}",
                f"Types: {', '.join(names)}.",
            )
            return None
        ((name, data),) = body.items()
        found = next(filter(None, (registry.get(one, name) for one in kinds)), None)
        if found is None:
            self.document.report(
                f"{kind}.unknown",
                (*where, name),
                f"there is no {kind} {name!r}",
                f"`{name}` stands in `response` of a destination."
                if registry.get("response", name)
                else did_you_mean(name, {*names, *also}),
                key=True,
            )
            return None
        settings = self.options(found.settings, {} if data is None else data, (*where, name), ())
        return None if settings is None else Bound(found, settings, where)

    def options(self, model: Any, data: Any, where: Where, also: Any) -> Any:
        """The settings, or None with everything reported that is wrong with them."""
        return validated(model, data, where, also, self.document)

    def unknown(self, key: str, where: Where, known: Any) -> None:
        unknown_key(self.document, key, where, known)

    def mapping(self, body: Any, where: Where, what: str) -> dict[str, Any]:
        if body is None:
            return {}
        if isinstance(body, dict):
            return body
        self.document.report(
            "type.mapping", where, f"{what} must be a mapping of names", "Write `name: …` lines below it."
        )
        return {}
