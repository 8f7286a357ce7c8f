"""Which lines of the channels the tests exercise: steps, operations, values and rows of code tables.

Guarantees: a line counts as exercised when it did what it is there for: a filter when it let something pass and when
it stopped something (two things), a transformer when it ran, an operation when it was made, a value of a template
when it gave something, a row when its code was looked up. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from channels.recording import RecordingBuilder
from channels.spying import Spy
from channels.trace import path_text
from channels.tracer import Places, leaf_of
from engine.spec import structure
from engine.spec.channel import ChannelSpec, Configuration
from engine.spec.template import Template

VALUES = ("values", "key", "retired", "args", "kwargs", "unless")


class Coverage:
    """What is to be exercised, by its place, and what was."""

    def __init__(self, configuration: Configuration) -> None:
        self._document = configuration.document
        self._channels = configuration.channels
        self._tables = configuration.tables
        self.all: dict[tuple[str, str], bool] = {}  # (file:line:column, what): exercised
        self._templates: dict[tuple[str, str], tuple[Template, Places, list[list[structure.Leaf]]]] = {}
        builder = RecordingBuilder(configuration)
        for name, spec in configuration.channels.items():
            for label, what in self._steps(spec):
                self.all[label, what] = False
            for route in builder.pipeline(spec).routes:
                self._template(name, spec, route)
        for table in self._tables.values():
            for code, _ in table.rows.items():
                self.all[str(table.place(code)), f"table {table.name}: code {code}"] = False

    def _steps(self, spec: ChannelSpec) -> Iterator[tuple[str, str]]:
        mark = self._document.mark
        for prefix, owner in _owners(spec):
            for bound in owner.filters:
                for did in ("lets pass", "stops"):
                    yield str(mark(bound.where)), f"{spec.name} {prefix}{bound.label} {did}"
            for bound in owner.transformers:
                yield str(mark(bound.where)), f"{spec.name} {prefix}{bound.label}"

        for item in spec.destinations:
            for bound in item.response:
                for did in (" lets pass", " stops") if bound.component.kind == "filter" else ("",):
                    yield str(mark(bound.where)), f"{spec.name} destinations.{item.name}.{bound.label}{did}"

    def responded(self, channel: str, destination: str, spy: Spy) -> None:
        """What one answer exercised."""
        spec = next(one for one in self._channels[channel].destinations if one.name == destination)
        marks = {bound.label: str(self._document.mark(bound.where)) for bound in spec.response}
        for ran in spy.ran:
            did = {"passed": " lets pass", "filtered": " stops"}.get(ran.outcome, "")
            self._did(marks[ran.label], f"{channel} destinations.{destination}.{ran.label}{did}")
            self._looked_up(ran.notes)

    def _template(self, channel: str, spec: Any, route: Any) -> None:
        if not hasattr(route.destination, "explain"):
            return
        template, file = route.destination.template, route.destination.template_file
        bound = next(one.bound for one in spec.destinations if one.name == route.name)
        places = Places(
            self._document, template.file, file, (*bound.where, bound.component.name, "operations")
        )
        found = [structure.leaves(one, template.file) for one in template.specs]
        self._templates[channel, route.name] = (template, places, found)
        for number, (one, leaves) in enumerate(zip(template.specs, found, strict=True)):
            self.all.setdefault((places.of(one.where, (number,)), _operation(one)), False)
            for leaf in leaves:
                if leaf.path[0] in VALUES and "{" in leaf.text:
                    place = places.of(leaf.where, (number, *leaf.path))
                    self.all.setdefault((place, _value(one, leaf)), False)

    def note(self, channel: str, spy: Spy) -> None:
        """What one message exercised."""
        marks = {}
        spec = self._channels[channel]
        for prefix, owner in _owners(spec):
            for bound in (*owner.filters, *owner.transformers):
                marks[f"{prefix}{bound.label}"] = str(self._document.mark(bound.where))
        for ran in spy.ran:
            did = {"passed": " lets pass", "filtered": " stops"}.get(ran.outcome, "")
            self._did(marks[ran.label], f"{channel} {ran.label}{did}")
            self._looked_up(ran.notes)
        for name, output in spy.rendered.items():
            self._looked_up(output.notes)
            if (channel, name) in self._templates:
                self._made(*self._templates[channel, name], output.made)

    def _made(self, template: Template, places: Any, found: Any, made: Any) -> None:
        for one in made:
            spec, leaves = template.specs[one.number], {leaf.path: leaf for leaf in found[one.number]}
            self._did(places.of(spec.where, (one.number,)), _operation(spec))
            for path in _paths(one.operation):
                leaf = leaf_of(path, leaves)
                if leaf is not None:
                    self._did(places.of(leaf.where, (one.number, *leaf.path)), _value(spec, leaf))

    def _looked_up(self, notes: Any) -> None:
        for item in notes.lookups:
            table = self._tables[item.table]
            mark = table.place(item.code)
            for code in table.rows if mark is not None else ():
                if table.place(code) == mark:
                    self._did(str(mark), f"table {table.name}: code {code}")

    def _did(self, place: str, what: str) -> None:
        if (place, what) in self.all:
            self.all[place, what] = True

    @property
    def missing(self) -> list[tuple[str, str]]:
        """What was never exercised: place and what, in the order of the files."""
        return sorted((key for key, done in self.all.items() if not done), key=lambda key: _order(key[0]))

    @property
    def share(self) -> float:
        """How much was exercised, 0 to 1."""
        return sum(self.all.values()) / len(self.all) if self.all else 1.0


def _owners(spec: ChannelSpec) -> list[tuple[str, Any]]:
    """Who has steps, and how their labels begin: the channel and its destinations."""
    return [("", spec), *((f"destinations.{one.name}.", one) for one in spec.destinations)]


def _order(place: str) -> tuple[str, int, int]:
    file, *numbers = place.rsplit(":", 2)
    return (file, *map(int, numbers)) if len(numbers) == 2 else (place, 0, 0)  # type: ignore[return-value]


def _operation(spec: structure.Spec) -> str:
    return f"{spec.verb} {spec.model}"


def _value(spec: structure.Spec, leaf: structure.Leaf) -> str:
    path = leaf.path[1:] if leaf.path[0] == "values" else leaf.path
    return f"{spec.verb} {spec.model}: {path_text(path)}"


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _paths(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _paths(item, (*path, index))
    else:
        yield path
