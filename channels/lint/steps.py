"""Each component of each channel: its expressions, paths, tables and variables, then whether it can be built.

Guarantees: a variable is known after the step that sets it and not before; a destination knows what its channel
set; a component whose texts are wrong is not built as well, so that nothing is told twice. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from channels.build import Builder
from channels.lint import names, odoo
from channels.lint.findings import Findings
from channels.lint.placing import Looker, Offsets, Written
from channels.lint.reaching import Operations, Reach
from channels.lint.reading import AS_TEXT, Fault, Reading, Spot, looks_like_code, read
from channels.lint.templates import Sheet, sheet_of_data, sheet_of_file
from channels.response import OFFERS
from engine.errors import ConfigError, IsthmusError
from engine.spec import presets
from engine.spec.channel import Bound, ChannelSpec
from engine.spec.document import Mark, Problem, did_you_mean
from engine.spec.expressions import environment
from engine.spec.meaning import Meant, found_in
from engine.spec.template import find, shipped_folder


@dataclass
class Known:
    """What is known at one step of a channel."""

    names: set[str] = field(default_factory=set)
    anything: bool = False  # a step before may have set any name

    def copy(self) -> Known:
        """For a destination: what it sets is its own."""
        return Known(set(self.names), self.anything)

    def with_names(self, names: frozenset[str]) -> Known:
        """With what a component offers to its own templates."""
        return Known(self.names | names, self.anything) if names else self


class Reader:
    """Goes through the channels of one configuration."""

    def __init__(self, builder: Builder, findings: Findings, snapshots: dict[str, Any]) -> None:
        self.builder = builder
        self.findings = findings
        self.snapshots = snapshots
        self.files = builder.configuration.files
        self.tables: set[str] = set()
        self.any_table = False
        self.connections: set[str] = set()
        self.models: dict[str, set[str]] = {}  # named in templates, by connection
        self._readings: dict[tuple[str, bool], Reading] = {}
        self._sheets: dict[str, Sheet] = {}
        self.reach: Reach | None = None  # what comes to the step that is looked at
        self.operations = Operations()
        self._set: dict[str, Mark] = {}  # variables of the channel, and where they are set
        self._read: set[str] = set()  # names that its expressions read
        self._env: Offsets | None = None
        self._built: set[tuple[str, ...]] = set()

    def channel(self, spec: ChannelSpec) -> None:
        """Everything that one channel declares."""
        context = self.builder.context(spec)
        self.spec, self.context = spec, context
        self.env.trees.clear()
        options = Bound(spec.listener.component, spec.options, spec.where)  # type: ignore[arg-type]
        for meant in found_in(spec.options):
            self.meant(meant, options, spec.where, Known())
        known = Known()
        errors = self.findings.errors
        self._set.clear()
        self._read.clear()
        self.reach = Reach(self.findings) if spec.format.component.name == "hl7v2" else None
        for bound in (spec.format, spec.listener, *spec.filters, *spec.transformers):
            self.step(bound, known)
        common = self.reach
        for item in spec.destinations:
            mine, self.reach = known.copy(), common.copy() if common is not None else None
            for bound in (*item.filters, *item.transformers, item.bound):
                self.step(bound, mine)
        for item in spec.destinations:
            if item.response:
                self.reach = None  # answers are other messages
                self.context = self.builder.answers(item, context)
                answers = Known(set(OFFERS))
                for bound in item.response:
                    self.step(bound, answers)
        self.context = context
        if self.findings.errors == errors:  # else a mistake may be why nobody reads it
            self.unused(spec)
        try:
            self.builder.canonical(spec)
        except ConfigError as error:
            self.refused(error)

    def unused(self, spec: ChannelSpec) -> None:
        """Variables that nobody reads; a Python function, and who asks for `vars`, may read any."""
        if "vars" in self._read or any(bound.settings.sets_any for bound in spec.components):
            return
        for name, mark in self._set.items():
            if name not in self._read:
                hint = "Delete it, or read it in a later step or a template."
                self.findings.tell(
                    "variable.unused", mark, f"nobody reads the variable {name!r}", hint, "warning"
                )

    def step(self, bound: Bound, known: Known) -> None:
        """One component."""
        before = self.findings.errors
        where = (*bound.where, bound.component.name)
        gives: list[str] = []
        for meant in sorted(found_in(bound.settings), key=lambda one: one.what != "expression"):
            if meant.what == "variable":
                gives.append(meant.value)
                if meant.value:
                    place = self.findings.mark((*where, *meant.where), key=meant.key)
                    self._set.setdefault(meant.value, place)
                continue
            known.names.update(gives[:-1] if meant.where[-1:] == tuple(gives[-1:]) else gives)
            self.meant(meant, bound, where, known.with_names(bound.settings.offers))
        known.names.update(gives, bound.settings.also_sets)
        known.anything = known.anything or bound.settings.sets_any
        if self.findings.errors == before:
            self.build(bound)
            if self.reach is not None:
                self.reach.step(bound)

    def build(self, bound: Bound) -> None:
        """Build it, once for all channels that declare the same with the same surroundings."""
        base = self.findings.mark(bound.where).file
        zone, form = self.spec.options.timezone, f"{self.context.format.name} {self.spec.format.settings!r}"
        key = (bound.component.kind, bound.component.name, repr(bound.settings), base, zone, form)
        if key in self._built:
            return
        try:
            self.builder.build(bound, self.context)
            self._built.add(key)
        except ConfigError as error:
            self.refused(error)

    def refused(self, error: IsthmusError) -> None:
        """What a component says of itself."""
        from channels.lint import mark, sentence

        place = mark(error.where, self.builder.configuration)
        self.findings.add(Problem(error.code, place, error.what, sentence(error.todo)))

    def meant(self, meant: Meant, bound: Bound, where: tuple[str | int, ...], known: Known) -> None:
        """One marked text."""
        place = (*where, *meant.where)
        mark = self.findings.mark(place, key=meant.key)
        if not meant.key and place not in self.builder.configuration.document.marks:
            mark = self.findings.mark((*where, *meant.where[1:]))  # a bare value
        what, value = meant.what, meant.value
        if what in ("expression", "text"):
            self.expression(Written(str(value), mark, self.files), what == "text", known)
        elif what == "value":
            self.value(value, place, known)
        elif what == "path" and value:
            self.path(Written(str(value), mark, self.files))
        elif what == "fhirpath":
            self.found(names.fhirpath(value, (), "R4"), Written(str(value), mark, self.files))
        elif what == "message_type":
            self.found(names.message_type(str(value)), Written(str(value), mark, self.files))
        elif what == "table":
            self.table(str(value), lambda: mark)
        elif what == "connection":
            self.connections.add(str(value))
        elif what == "template" and value:
            self.template(str(value), mark, bound, known)
        elif what == "operations" and value:
            sheet = sheet_of_data(self.env, self.builder.configuration, place, value)
            self.sheet(sheet, known, bound)

    @property
    def env(self) -> Offsets:
        """The channel's environment, for looking."""
        real = environment(self.context)
        if self._env is None:
            self._env = Offsets()
        self._env.filters, self._env.tests = real.filters, real.tests
        own = (
            real.library.names if real.library is not None else ()
        )  # none: a channel that could not be built
        if isinstance(real, Looker):
            real.trees = self._env.trees
        self._env.globals = {**real.globals, **dict.fromkeys(own)}
        return self._env

    def expression(self, written: Written, text: bool, known: Known) -> None:
        """An expression or a text template in the channel file."""
        key = (written.text, text)
        if key not in self._readings:
            self._readings[key] = read(self.env, written.text, text=text)
        self.reading(self._readings[key], written, known)

    def reading(self, reading: Reading, written: Written, known: Known) -> None:
        """What one text mentions."""
        self._read |= reading.loads
        self.found(reading.faults, written)
        for path in reading.paths:
            self.path(written, path)
        for table in reading.tables:
            self.table(table.text, lambda table=table: written.at(table.offset))  # type: ignore[misc]
        self.any_table = self.any_table or reading.any_table
        for name in reading.names:
            if name.text not in known.names and not known.anything:
                self.name(name.text, written.at(name.offset), known)

    def name(self, name: str, mark: Mark, known: Known) -> None:
        """A name that must have been set."""
        options = known.names | {"msg", "event", "events", "message", "vars"}
        hint = did_you_mean(name, options)
        hint = (
            hint if hint.startswith("Did") else "Set it in a `set` step before, or write `name is defined`."
        )
        if name in ("null", "NULL", "nil", "undefined"):
            hint = "Write `is absent` for what a message has not, `is clear` for what it clears."
        self.findings.tell("variable.unset", mark, f"nobody sets {name!r}", hint)

    def value(self, value: Any, place: tuple[str | int, ...], known: Known) -> None:
        """Data with Jinja in its leaves."""
        if isinstance(value, dict):
            for key, item in value.items():
                self.value(item, (*place, key), known)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.value(item, (*place, index), known)
        elif isinstance(value, str) and ("{{" in value or "{%" in value):
            self.expression(Written(value, self.findings.mark(place), self.files), True, known)
        elif isinstance(value, str) and looks_like_code(value):
            hint = f'Write "{{{{ {value} }}}}".'
            self.findings.tell("expression.text", self.findings.mark(place), AS_TEXT, hint, "warning")

    def path(self, written: Written, inside: Spot | None = None) -> None:
        """A path, or one inside an expression."""
        text, offset = (written.text, 0) if inside is None else inside
        types = _resource_types(self.spec)
        self.found(names.path(text, self.context.format, self.spec.format.settings, types), written, offset)

    def found(self, found: Iterable[Fault], written: Written, offset: int = 0) -> None:
        """What is wrong with a text, or with a name that stands at `offset` in it."""
        for one in found:
            self.findings.tell(one.code, written.at(offset + one.offset), one.text, one.hint, one.severity)

    def table(self, name: str, mark: Callable[[], Mark]) -> None:
        """The name of a code table."""
        self.tables.add(name)
        if name not in self.builder.tables:
            hint = did_you_mean(name, self.builder.tables) or "Declare it under `tables:`."
            self.findings.tell("table.unknown", mark(), f"there is no code table {name!r}", hint)

    def template(self, name: str, mark: Mark, bound: Bound, known: Known) -> None:
        """A template file."""
        chosen = getattr(bound.settings, "preset", "")
        place = self.findings.mark((*bound.where, bound.component.name, "preset")) if chosen else mark
        context = self.builder._placed(bound, self.context)
        try:
            path, preset = find(name, context, str(mark)), presets.find(chosen, context, str(place))
        except ConfigError as error:
            self.refused(error)
            return
        own = context.file(f"{name}.yaml", "template")
        if path.is_relative_to(shipped_folder()) and own.is_file():
            told = f"the template {name!r} is the shipped one, and {own.name} beside the channel file is not used"
            hint = f"Write `template: {name}.yaml` to use it."
            self.findings.tell("template.beside", mark, told, hint, "warning")
        key = f"{path} {preset or ''}"
        if key not in self._sheets:
            self._sheets[key] = sheet_of_file(self.env, self.builder.configuration, path, preset)
            self._sheets[key].shared = path.is_relative_to(shipped_folder())
        change = None
        if preset is not None and not self._sheets[key].problems:
            change = odoo.Chosen(presets.read(self.files.text(preset), preset.name), place)
        self.sheet(self._sheets[key], known, bound, change)

    def sheet(self, sheet: Sheet, known: Known, bound: Bound, preset: odoo.Chosen | None = None) -> None:
        """A template: what is wrong with it, what it takes from outside, and what Odoo says to it."""
        for problem in sheet.problems:
            self.findings.add(problem)
        for written, reading in sheet.readings:
            self.reading(reading, written, known)
        self.operations.seen(sheet, self.reach)
        connection = getattr(bound.settings, "connection", "")
        models = {one.model for one in sheet.operations if one.verb and "{" not in one.model}
        self.models.setdefault(connection, set()).update(models)
        snapshot = self.snapshots.get(connection)
        if snapshot is not None:
            odoo.check(sheet, snapshot, self.findings, preset)


def _resource_types(spec: ChannelSpec) -> tuple[str, ...]:
    """The FHIR resources that a `message_type` filter lets pass; a deletion (`Patient.deleted`) is a Bundle."""
    for bound in spec.filters:
        if bound.component.name == "message_type":
            named = [name for name in getattr(bound.settings, "allow", ()) if "^" not in name]
            return tuple(name for name in named if "." not in name) or (("Bundle",) if named else ())
    return ()
