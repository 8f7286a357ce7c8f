"""The configuration as declared: connections, code tables and channels, each component bound to its settings.

`load(path)` reads a file and gives a `Configuration` with every problem found, never only the first. Nothing
is opened here: what runs is built from it by `channels.build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.spec.component import Component, Kind, Settings, registry
from engine.spec.document import Document, Problem, Where, did_you_mean, read
from engine.spec.retention import Disk, Retention, Storage

OnError = Literal["hold_key", "hold_lane", "skip"]
AckLevel = Literal["stored", "routed", "delivered"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Duplicates(_Options):
    """What happens to a message whose sender and MSH-10 were seen before."""

    window: int = Field(
        default=7 * 86400, ge=0, description="How long a control id is remembered, in seconds."
    )
    other_bytes: Literal["accept", "reject"] = Field(
        default="accept",
        description="The same control id with other content: accept and flag it, or reject it (AR with ERR).",
    )


class Retry(_Options):
    """Waiting times between attempts: exponential, with jitter, kept in the store."""

    initial: float = Field(default=1.0, gt=0, description="First wait, in seconds.")
    factor: float = Field(default=2.0, ge=1, description="Each wait is this much longer than the one before.")
    max: float = Field(default=300.0, gt=0, description="Longest wait, in seconds.")
    jitter: float = Field(default=0.2, ge=0, le=1, description="Random part of a wait, as a share of it.")
    attempts: int = Field(default=0, ge=0, description="Give up (ERROR) after so many attempts; 0: never.")


class Backlog(_Options):
    """Marks of work that is stored but not done, per channel, in messages."""

    pause: int = Field(default=200_000, gt=0, description="Stop reading from the listener at this many.")
    refuse: int = Field(default=250_000, gt=0, description="Answer AR 207 at this many.")


class ChannelOptions(_Options):
    """Everything on a channel that is not a component."""

    description: str = Field(default="", description="What this channel is for.")
    enabled: bool = Field(default=True, description="Whether `run` starts it.")
    ordering_key: str = Field(
        default="PID-3.1",
        description="Path of the value whose messages stay in order. A message without it waits for nobody.",
    )
    lanes: int = Field(
        default=64, ge=1, le=4096, description="Number of lanes: hash(ordering key) mod lanes."
    )
    order_with: str = Field(
        default="", description="Another channel whose messages of the same key are kept in order with these."
    )
    ack: AckLevel | dict[str, AckLevel] = Field(
        default="stored", description="When the ACK goes out; also per message type, with `otherwise`."
    )
    ack_deadline: float = Field(
        default=30.0, gt=0, description="Seconds until a routed or delivered ACK falls back to an honest AE."
    )
    ack_mode: Literal["original", "enhanced"] = Field(
        default="original",
        description="`enhanced` obeys MSH-15 and MSH-16: CA, CE or CR now, the application ACK later. `original`"
        " answers every message once with AA, AE or AR, whatever MSH-15 and MSH-16 say.",
    )
    ack_to: str = Field(
        default="",
        description="Where application ACKs of enhanced mode go: `mllp://host:port`; empty: the same connection.",
    )
    duplicates: Duplicates = Field(default=Duplicates(), description="Duplicate messages.")
    backlog: Backlog = Field(default=Backlog(), description="Back-pressure.")
    retention: Retention = Field(default=Retention(), description="How long content and messages are kept.")
    storage: Storage = Field(
        default="full",
        description="What is kept of a finished message: `full` everything, `no-content` no bodies but the ACK,"
        " `metadata` neither bodies nor texts, only codes.",
    )
    charset: str = Field(
        default="", description="Character set of the messages, when MSH-18 lies or is missing."
    )
    timezone: str = Field(default="UTC", description="Time zone of times without an offset (IANA name).")
    mrn: dict[str, Any] = Field(
        default={}, description="Which PID-3 repetition is the MRN: `authority` (PID-3.4), `type` (PID-3.5)."
    )
    canonical: dict[str, Any] = Field(
        default={}, description="Options of the canonical adapter (default_authority, default_duration …)."
    )

    @model_validator(mode="after")
    def _remembers(self) -> ChannelOptions:
        kept = self.retention.messages
        if kept is not None and kept < self.duplicates.window:
            raise ValueError(
                f"retention.messages ({kept} s) is shorter than duplicates.window ({self.duplicates.window} s):"
                " a message sent again would be taken for a new one"
            )
        return self


class DestinationOptions(_Options):
    """Everything on a destination that is not its component."""

    on_error: OnError = Field(
        default="hold_key",
        description="After ERROR, what waits: later messages of the same key, of the same lane, or nothing.",
    )
    retry: Retry = Field(default=Retry(), description="Retry policy.")


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


@dataclass(frozen=True)
class ChannelSpec:
    """One declared channel."""

    name: str
    options: ChannelOptions
    listener: Bound
    filters: tuple[Bound, ...] = ()
    transformers: tuple[Bound, ...] = ()
    destinations: tuple[DestinationSpec, ...] = ()
    where: Where = ()

    @property
    def components(self) -> list[Bound]:
        """Every component that it declares, in the order of a message."""
        found = [self.listener, *self.filters, *self.transformers]
        for item in self.destinations:
            found += [*item.filters, *item.transformers, item.bound]
        return found


@dataclass
class Configuration:
    """A read configuration: what is in it, and what is wrong with it."""

    document: Document
    channels: dict[str, ChannelSpec] = field(default_factory=dict)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    disk: Disk = field(default_factory=Disk)

    @property
    def problems(self) -> list[Problem]:
        """All findings, in file order."""
        return sorted(self.document.problems, key=lambda p: (p.mark.file, p.mark.line, p.mark.column, p.code))

    @property
    def errors(self) -> list[Problem]:
        """The findings that keep the configuration from running."""
        return [problem for problem in self.problems if problem.severity == "error"]


def load(path: Path, environ: Mapping[str, str] | None = None) -> Configuration:
    """Read and check a configuration file."""
    document = read(path, environ)
    configuration = Configuration(document)
    _Binder(document, configuration).bind()
    return configuration


TOP = ("channels", "connections", "tables", "disk")
COMPONENT_KEYS = ("listener", "filters", "transformers", "destinations")


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
        self.configuration.tables = self.mapping(top.get("tables"), ("tables",), "tables")
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
        filters = self.steps("filter", data.get("filters"), (*where, "filters"))
        transformers = self.steps("transformer", data.get("transformers"), (*where, "transformers"))
        declared = self.mapping(data.get("destinations"), (*where, "destinations"), "destinations")
        destinations = [
            self.destination(key, value, (*where, "destinations", key)) for key, value in declared.items()
        ]
        if options is None or listener is None:
            return None
        return ChannelSpec(
            name, options, listener, filters, transformers, tuple(filter(None, destinations)), where
        )

    def destination(self, name: str, body: Any, where: Where) -> DestinationSpec | None:
        data = self.mapping(body, where, f"the destination {name!r}")
        own = {*DestinationOptions.model_fields, "filters", "transformers"}
        rest = {key: value for key, value in data.items() if key in DestinationOptions.model_fields}
        bound = self.component("destination", {k: v for k, v in data.items() if k not in own}, where, own)
        options = self.options(DestinationOptions, rest, where, ())
        filters = self.steps("filter", data.get("filters"), (*where, "filters"))
        transformers = self.steps("transformer", data.get("transformers"), (*where, "transformers"))
        if bound is None or options is None:
            return None
        return DestinationSpec(name, bound, options, filters, transformers)

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
        names = registry.names(kind)
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
        found = registry.get(kind, name)
        if found is None:
            self.document.report(
                f"{kind}.unknown",
                (*where, name),
                f"there is no {kind} {name!r}",
                did_you_mean(name, {*names, *also}),
                key=True,
            )
            return None
        settings = self.options(found.settings, {} if data is None else data, (*where, name), ())
        return None if settings is None else Bound(found, settings, where)

    def options(self, model: Any, data: Any, where: Where, also: Any) -> Any:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for item in error.errors(include_url=False):
                self.invalid(model, item, where, also)
            return None

    def invalid(self, model: Any, item: Any, where: Where, also: Any) -> None:
        place = (*where, *item["loc"])
        while place and place not in self.document.marks and len(place) > len(where):
            place = place[:-1]  # pydantic adds the names of union members and validators
        if item["type"] == "extra_forbidden":
            inner = _model_at(model, item["loc"][:-1])
            known = {*inner.model_fields, *(also if inner is model else ())} if inner else set(also)
            self.unknown(str(item["loc"][-1]), place, known)
        elif item["type"] == "missing":
            self.document.report(
                "setting.missing",
                where,
                f"the setting {item['loc'][-1]!r} is missing",
                _described(model, item["loc"]),
                key=True,
            )
        else:
            name = ".".join(str(part) for part in item["loc"]) or str(where[-1] if where else "value")
            text = str(item["msg"]).removeprefix("Value error, ")
            self.document.report(
                "setting.invalid",
                place,
                f"{name}: {text[:1].lower()}{text[1:]}",
                _described(model, item["loc"]),
            )

    def unknown(self, key: str, where: Where, known: Any) -> None:
        self.document.report("key.unknown", where, f"unknown key {key!r}", did_you_mean(key, known), key=True)

    def mapping(self, body: Any, where: Where, what: str) -> dict[str, Any]:
        if body is None:
            return {}
        if isinstance(body, dict):
            return body
        self.document.report(
            "type.mapping", where, f"{what} must be a mapping of names", "Write `name: …` lines below it."
        )
        return {}


def _model_at(model: Any, loc: Any) -> Any:
    for part in loc:
        found = model.model_fields.get(part) if hasattr(model, "model_fields") else None
        if found is None:
            return None
        inner = [found.annotation, *get_args(found.annotation)]
        model = next((item for item in inner if hasattr(item, "model_fields")), None)
        if model is None:
            return None
    return model


def _described(model: Any, loc: Any) -> str:
    inner = _model_at(model, loc[:-1]) if loc else None
    found = inner.model_fields.get(loc[-1]) if inner is not None and loc else None
    return found.description or "" if found is not None else ""
