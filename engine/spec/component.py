"""A component is declared once: a pydantic model with a docstring, an example and a `build` method.

From that one declaration come validation, lint, JSON Schema, the reference page, the masking of secrets and
a runnable example. A component is one file in `listeners/`, `transforms/` or `destinations/`, or comes from
another package through the entry point group `isthmus.components` (a module that registers on import). Formats of
messages are in `engine/spec/formats/`.

    @component("filter", "message_type", example="message_type: {allow: [ADT^A01]}")
    class MessageType(Settings):
        "Lets only the named messages pass."
        allow: list[str] = Field(default=[], description="...", examples=[["ADT^A01"]])

        def build(self, context: BuildContext) -> Filter: ...

`build` runs once, when the configuration is loaded; what it returns runs per message and is pure.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from engine.errors import ConfigError
from engine.spec.document import Mark, Where
from engine.spec.files import Files
from engine.spec.fragments import Fragments

Kind = Literal["format", "listener", "filter", "transformer", "destination", "response"]
PACKAGES: dict[Kind, str] = {
    "format": "engine.spec.formats",
    "listener": "listeners",
    "filter": "transforms",
    "transformer": "transforms",
    "destination": "destinations",
    "response": "transforms",
}
ON_ANSWERS: tuple[Kind, ...] = ("response", "filter", "transformer")
"""Kinds of steps that stand in `response`."""
ENTRY_POINTS = "isthmus.components"


class Settings(BaseModel):
    """Base of every component's settings: unknown keys are errors, values never change after loading.

    `scalar` names the field that a bare value fills: with `scalar = "expression"`, `condition: "x == 1"` is
    `condition: {expression: "x == 1"}`. A bare value is anything but a mapping.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, coerce_numbers_to_str=True)
    scalar: ClassVar[str] = ""
    also_sets: ClassVar[frozenset[str]] = frozenset()
    """Variables that a step of this kind sets, besides those that its settings name."""
    offers: ClassVar[frozenset[str]] = frozenset()
    """Names that its own templates may use, besides the variables."""
    answers: ClassVar[str] = ""
    """The format of what a destination of this kind answers; "" when it answers nothing that steps could read."""
    on_response: ClassVar[bool] = True
    """Whether a step of this kind can stand in `response`."""
    sets_any: ClassVar[bool] = False
    """Whether a step of this kind may set variables of any name."""

    @model_validator(mode="before")
    @classmethod
    def _bare_value(cls, data: Any) -> Any:
        if cls.scalar and data is not None and not isinstance(data, (Mapping, BaseModel)):
            return {cls.scalar: data}
        return data

    def build(self, context: BuildContext) -> Any:
        """Make what runs: a Format, a Filter, a Transformer, a listener or a destination."""
        raise NotImplementedError

    def reads(self, context: BuildContext) -> Iterable[Path]:
        """The files besides the channel files that decide what `build` makes: part of the version."""
        return ()

    def guards(self, context: BuildContext) -> Iterable[Path]:
        """Files of certificates and keys: when one changes the component is made anew, but their contents are kept
        nowhere and are no part of the version."""
        tls: Any = getattr(self, "tls", None)
        return tls.files(context.base) if hasattr(tls, "files") else ()


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Component:
    """One registered component: its kind, its name in YAML, its settings and a runnable example."""

    kind: Kind
    name: str
    settings: type[Settings]
    example: str

    @property
    def summary(self) -> str:
        """The first line of the description."""
        return (self.settings.__doc__ or "").strip().split("\n")[0]

    @property
    def example_settings(self) -> Any:
        """The example's settings as plain data."""
        return yaml.safe_load(self.example)[self.name]


@dataclass
class BuildContext:
    """What a component may use while it is built. `reactor` is for listeners and destinations alone."""

    channel: str = ""
    label: str = ""  # of the component in its channel: `filters[0] duplicate`
    base: Path = field(default_factory=Path)  # folder of the YAML file that names the component
    place: Callable[[Where], Mark] | None = None  # where a setting is written, by its keys
    data_dir: Path | None = None  # where the engine keeps its files; None when nothing is to be run
    tables: dict[str, Any] = field(default_factory=dict)  # code tables by name
    connections: dict[str, Any] = field(default_factory=dict)  # built connections by name
    options: dict[str, Any] = field(default_factory=dict)  # channel options that a component reads
    format: Any = None  # of the channel's messages (engine.formats.base.Format); None: HL7 v2
    reactor: Any = None
    library: Any = None  # the macros and functions of the configuration (engine.spec.library)
    fragments: Fragments = field(default_factory=Fragments)  # for `use` in template files
    resources: Callable[..., list[Any]] | None = None  # canonical events → entries for a FHIR server
    files: Files = field(default_factory=Files)  # reads files so that the version covers them
    cache: dict[str, Any] = field(default_factory=dict)  # what is made once a channel: its Jinja environment

    def at(self, *setting: str | int) -> str:
        """Where a setting is written (file:line:column), for an error of it; "" when nobody knows."""
        return str(self.place(setting)) if self.place is not None else ""

    def file(self, path: Path | str, *setting: str | int) -> Path:
        """A path of a setting: it is relative to the file in which the setting is written."""
        base = Path(self.place(setting).file).parent if self.place is not None else self.base
        return base / path


class Registry:
    """All components by kind and name."""

    def __init__(self) -> None:
        self._components: dict[tuple[Kind, str], Component] = {}
        self._loaded = False

    def add(self, item: Component) -> None:
        """Register a component; a name can be taken once."""
        known = self._components.get((item.kind, item.name))
        if known is not None and known.settings.__qualname__ != item.settings.__qualname__:
            raise ConfigError(
                f"two components are called {item.name!r} ({item.kind})", code="component.twice"
            )
        self._components[item.kind, item.name] = item

    def load(self) -> Registry:
        """Import every module of the component packages and of the entry points, once."""
        if not self._loaded:
            self._loaded = True
            for package in dict.fromkeys(PACKAGES.values()):
                import_all(importlib.import_module(package))
            for entry in entry_points(group=ENTRY_POINTS):
                entry.load()
        return self

    def get(self, kind: Kind, name: str) -> Component | None:
        """The component, or None."""
        return self.load()._components.get((kind, name))

    def names(self, kind: Kind) -> list[str]:
        """The names of all components of a kind, sorted."""
        return sorted(name for known, name in self.load()._components if known == kind)

    def __iter__(self) -> Iterator[Component]:
        return iter(sorted(self.load()._components.values(), key=lambda item: (item.kind, item.name)))


registry = Registry()


def component(kind: Kind, name: str, *, example: str) -> Callable[[type[S]], type[S]]:
    """Register a settings class as the component `name` of `kind`."""

    def register(settings: type[S]) -> type[S]:
        registry.add(Component(kind, name, settings, example))
        return settings

    return register


def import_all(package: ModuleType) -> None:
    """Import the direct modules of a package, so that they register themselves."""
    for found in pkgutil.iter_modules(package.__path__):
        if not found.ispkg:
            importlib.import_module(f"{package.__name__}.{found.name}")
