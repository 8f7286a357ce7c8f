"""Runs one message through a channel and tells all of it: what each step saw and changed, what came of it and why.

Guarantees: the channel's own steps run, nothing is stored or sent; the result is plain data for the terminal, the
console or a program. For every value that Odoo would get it tells the places of the message that it depends on
(found by experiment: `channels.influence`), the leaf of the template, what that leaf read, and the rows of code
tables. Refuses nothing: a message that cannot be read is a trace that says so.
It is slow (some hundred runs of the channel) and made for people; a running channel does not know of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from channels import answering, foretell, recording
from channels.asking import Asking
from channels.influence import STATE, UNTOUCHED, Facts, Influence, Key, flatten
from channels.past import Past
from channels.pipeline import Pipeline, Rendered
from channels.spying import Ran, Spy, spied
from channels.trace import (
    Changed,
    Destination,
    Event,
    Operation,
    Place,
    Reply,
    Row,
    Step,
    Trace,
    Value,
    path_text,
    shown,
)
from engine.errors import HL7Error
from engine.hl7 import names
from engine.hl7.charset import decode
from engine.hl7.er7 import Message
from engine.model import ABSENT, Meta
from engine.spec import structure
from engine.spec.channel import Configuration
from engine.spec.document import Document
from engine.spec.template import Made
from engine.states import MessageState

META = {"type": "MSH-9", "control_id": "MSH-10", "sender": "MSH-3, MSH-4", "received_at": "", "peer": ""}


class Tracer:
    """Traces messages through one channel; made once, used for many."""

    def __init__(self, configuration: Configuration, channel: str, asking: Asking | None = None) -> None:
        """With `asking`, lookups are answered by the other side; without, a message that needs one is ERROR."""
        self._configuration = configuration
        self._spec = configuration.channels[channel]
        self._asking = asking
        self._builder = (
            recording.RecordingBuilder(configuration, asking.reactor, asking.data_dir)
            if asking is not None
            else recording.RecordingBuilder(configuration)
        )
        self._watched = self._builder.pipeline(self._spec)
        self._builder.watching = False
        self._plain = self._builder.pipeline(self._spec)
        if asking is not None:
            asking.join(self._plain, self._watched)
        self.format = self._plain.format
        self._past = Past()  # the messages traced before
        self._before = self._past.states  # and what is known before the one that is traced
        self.answers: dict[str, Any] = {}  # what destinations answer, as channels.answering takes it
        self._marks = {label: str(configuration.document.mark(bound.where)) for label, bound in self._bound()}

    def _bound(self) -> Iterator[tuple[str, Any]]:
        for bound in (*self._spec.filters, *self._spec.transformers):
            yield bound.label, bound
        for item in self._spec.destinations:
            for bound in (*item.filters, *item.transformers, *item.response):
                yield f"destinations.{item.name}.{bound.label}", bound

    def trace(self, raw: bytes, received_at: int) -> Trace:
        """The trace of one message. `received_at`: microseconds since the epoch."""
        told = Trace(self._spec.name)
        try:
            header = self.format.peek(raw)
            meta = self._past.meta(self._plain, raw, received_at, "try")
        except HL7Error as error:
            told.why = f"{error} [{error.code}]"
            told.answers = [decode(one).text for one in foretell.refusal(self.format, error, received_at)]
            return told
        told.type, told.control_id = meta.type, meta.control_id
        self._before = self._past.states.fork()
        self._ask(raw, meta)
        for environment in self._builder.environments:
            environment.forget()
        self._builder.notes.take()
        spy = Spy(self._builder.notes)
        result = self._past.run(
            spied(self._watched, spy), raw, meta, lambda known: recording.Known(known, self._builder.notes)
        )
        told.state, told.why = result.state, why(result)
        answers = foretell.answers(self.format, self._spec.options, header, result, received_at)
        told.answers = [decode(answer).text for answer in answers]
        _Telling(self, told, raw, received_at, header).tell(spy, result)
        for one in told.destinations:
            if one.name in self.answers and one.name in dict(result.payloads):
                one.reply = self._reply(one.name, raw, meta)
        return told

    def _reply(self, destination: str, raw: bytes, meta: Any) -> Reply:
        """What becomes of a delivery that is answered as `answers` says."""
        route = next(route for route in self._watched.routes if route.name == destination)
        prefix = f"destinations.{destination}."
        marks = {label.removeprefix(prefix): mark for label, mark in self._marks.items()}
        return answering.reply(route, self.answers[destination], raw, meta, Spy(self._builder.notes), marks)

    @property
    def pipeline(self) -> Pipeline:
        """The channel, not watched."""
        return self._plain

    @property
    def tables(self) -> dict[str, recording.RecordedTable]:
        """The code tables of the configuration."""
        return self._builder.recorded

    def notes(self, raw: bytes, received_at: int) -> tuple[str, recording.Notes]:
        """The state that a message would have, and all that is read and looked up for it. Raises HL7Error."""
        for environment in self._builder.environments:
            environment.forget()
        meta = self._plain.meta(raw, received_at, "try")
        self._ask(raw, meta)
        spy = Spy(self._builder.notes)
        state = spied(self._watched, spy).process(raw, meta).state
        taken = [
            *(ran.notes for ran in spy.ran),
            *(output.notes for output in spy.rendered.values()),
            spy.take(),
        ]
        reads = [read for notes in taken for read in notes.reads]
        return state, recording.Notes(reads, [item for notes in taken for item in notes.lookups])

    def _ask(self, raw: bytes, meta: Meta) -> None:
        """Have the lookups of a message answered; what an experiment asks beyond that is not there."""
        if self._asking is not None:
            self._asking.answer(self._plain, [(raw, meta)], self._before)
            for lookup in self._plain.lookups:
                lookup.closed = True

    def facts(self, raw: bytes, received_at: int) -> Facts:
        """What comes of bytes, taken apart."""
        found: Facts = {}
        try:
            meta = self._plain.meta(raw, received_at, "try")
        except HL7Error as error:
            return {STATE: (MessageState.ERROR, error.code)}
        spy = Spy()
        pipeline = spied(self._plain, spy)
        result = pipeline.process(raw, meta, run=self._before.fork().alone(pipeline))
        found[STATE] = (result.state, result.reason or result.code)
        for name, value in spy.variables.items():
            flatten(value, ("variable", name), found)
        for number, event in enumerate(spy.events()):
            found["event", number, "made"] = event.type
            data = msgspec.to_builtins(event)
            flatten({n: v for n, v in data.items() if n not in UNTOUCHED}, ("event", number), found)
        for name, rendered in spy.rendered.items():
            for key, made in numbered(rendered.made):
                found["operation", name, key, "made"] = True
                flatten(made.operation, ("operation", name, key), found)
            if rendered.payload is not None and not rendered.made:
                found["payload", name] = rendered.payload
        return found


def why(result: Rendered) -> str:
    """Why a message ended as it did."""
    if result.state == MessageState.ERROR:
        return f"{result.place}: {result.text} [{result.code}]"
    return result.reason


def numbered(made: list[Made]) -> Iterator[tuple[Key, Made]]:
    """Operations, each with a name that stays when another one is not made."""
    seen: dict[Key, int] = {}
    for one in made:
        key = (one.number, one.event)
        seen[key] = count = seen.get(key, 0) + 1
        yield (*key, count), one


class _Telling:
    """Puts one trace together."""

    def __init__(self, tracer: Tracer, told: Trace, raw: bytes, received_at: int, header: Any) -> None:
        self.tracer = tracer
        self.told = told
        self.version = getattr(header, "version", "")
        self.message = tracer._plain.parse(raw)
        self.rows: dict[tuple[str, str], Row] = {}
        self.influence = Influence(raw, lambda data: tracer.facts(data, received_at), tracer._plain.parse)

    def tell(self, spy: Spy, result: Rendered) -> Trace:
        told = self.told
        told.steps = [self._step(ran) for ran in spy.ran if not ran.destination]
        for output in spy.rendered.values():
            self._looked_up(output.notes)
        self._experiments()
        told.partial = not self.influence.left
        if self.influence.base[STATE][0] == result.state:  # else it is what came before
            told.because = self._from(STATE)["sources"]
        told.variables = [self._value(key, ".".join(map(str, key[1:]))) for key in self._keys("variable")]
        for number, event in enumerate(spy.events()):
            values = [self._value(key, path_text(key[2:])) for key in self._keys("event", number)]
            told.events.append(Event(event.type, event.subject, values))
        skipped = dict(result.skipped)
        for item in self.tracer._spec.destinations:
            one = Destination(item.name, str(self.tracer._configuration.document.mark(item.bound.where)))
            one.steps = [self._step(ran) for ran in spy.ran if ran.destination == item.name]
            one.skipped = skipped.get(item.name, "")
            rendered = spy.rendered.get(item.name)
            gone = result.state == MessageState.FILTERED or item.name in skipped
            if rendered is not None and not gone:
                if rendered.payload is not None and not rendered.made:
                    one.payload = rendered.payload.decode("utf-8", "replace")
                for key, made in numbered(rendered.made):
                    one.operations.append(self._operation(item, rendered, key, made))
            told.destinations.append(one)
        return told

    def _experiments(self) -> None:
        influence, tables = self.influence, self.tracer._builder.recorded
        influence.places(self.message.leaves())
        for (table, code), row in self.rows.items():

            def again(table: str = table, code: str = code, row: Row = row) -> Iterator[Facts]:
                for value in (ABSENT, f"{row.value or ''}~"):
                    tables[table].instead[code] = value
                    try:
                        yield influence._run(influence._raw)
                    finally:
                        tables[table].instead.clear()

            influence.also(row, again)

    def _step(self, ran: Ran) -> Step:
        self._looked_up(ran.notes)
        return Step(
            ran.label,
            self.tracer._marks.get(ran.label, ""),
            ran.outcome,
            ran.reason,
            saw=self._saw(ran.notes.reads),
            changed=[
                *self._message_changes(ran),
                *(Changed(name, "", *map(shown, pair)) for name, pair in ran.variables()),
            ],
            rows=[self._row(item) for item in ran.notes.lookups],
        )

    def _saw(self, reads: list[recording.Read]) -> list[Place]:
        found = {item.path: Place(item.path, self._name(item.path), shown(item.value)) for item in reads}
        return list(found.values())

    def _message_changes(self, ran: Ran) -> Iterator[Changed]:
        if ran.before == ran.after:
            return
        parse = self.tracer._plain.parse
        old, new = parse(ran.before), parse(ran.after)
        for path, value in old.leaves():
            if (now := shown(new[path])) != shown(value):
                yield Changed(path, self._name(path), shown(value), now)
        for path, value in new.leaves():
            if shown(old[path]) is None:
                yield Changed(path, self._name(path), None, shown(value))

    def _looked_up(self, notes: recording.Notes) -> None:
        for item in notes.lookups:
            row = self._row(item)
            self.rows[row.table, row.code] = row

    def _row(self, item: recording.Lookup) -> Row:
        mark = self.tracer._builder.tables[item.table].place(item.code)
        return Row(item.table, item.code, shown(item.value), str(mark or ""))

    def _keys(self, *start: Any) -> list[Key]:
        size = len(start)
        return [key for key in self.influence.base if key[:size] == start and key[-1] != "made"]

    def _value(self, key: Key, field: str) -> Value:
        return Value(field, shown(self.influence.base[key]), **self._from(key))

    def _from(self, key: Key) -> dict[str, Any]:
        found = self.influence.found.get(key, [])
        return {
            "sources": self._places([one for one in found if isinstance(one, str)]),
            "rows": [one for one in found if isinstance(one, Row)],
        }

    def _operation(self, item: Any, rendered: Any, key: Key, made: Made) -> Operation:
        template = rendered.template
        place, leaves, where = None, {}, ""
        if template is not None and isinstance(made.number, int):
            spec = template.specs[made.number]
            inline = (*item.bound.where, item.bound.component.name, "operations")
            place = Places(self.tracer._configuration.document, template.file, rendered.file, inline)
            leaves = {leaf.path: leaf for leaf in structure.leaves(spec, template.file)}
            where = place.of(spec.where, (made.number,))
        values = []
        for fact in self._keys("operation", item.name, key):
            path = fact[3:]
            if path[0] in ("op", "model"):
                continue
            value = self._value(fact, path_text(path[1:] if path[0] == "values" else path))
            leaf = leaf_of(path, leaves)
            if leaf is not None and place is not None:
                value.where, value.text = place.of(leaf.where, (made.number, *leaf.path)), leaf.text
                if "{{" not in leaf.text and "{%" not in leaf.text:
                    value.sources, value.rows = [], []  # written down; only whether it is there depends
                value.read = self._saw([one for one in rendered.notes.reads if one.leaf == leaf.where])
            values.append(value)
        because = self._from(("operation", item.name, key, "made"))["sources"]
        operation = made.operation
        return Operation(
            operation["op"],
            operation["model"],
            operation["key"],
            where,
            values,
            because,
        )

    def _places(self, paths: list[str]) -> list[Place]:
        return [Place(path, self._name(path), shown(self.message[path])) for path in paths]

    def _name(self, path: str) -> str:
        if not isinstance(self.message, Message):
            return ""
        if path.startswith("message."):
            return META.get(path.partition(".")[2], "")
        return names.label(path, self.version)


class Places:
    """Turns the places of a template into those of its file, or of the configuration that it is written in."""

    def __init__(self, document: Document, name: str, file: Path | None, inline: Key) -> None:
        self._document = document
        self._name = name
        self._file = file
        self._inline = inline  # where the operations of a template without a file stand

    def of(self, where: str, path: Key) -> str:
        """The place of what a template calls `where`; `path` is its way from the list of operations."""
        if self._file is not None:
            return where.replace(self._name, near(self._file), 1)
        return str(self._document.mark((*self._inline, *path)))


def leaf_of(path: Key, leaves: dict[Key, structure.Leaf]) -> structure.Leaf | None:
    """The leaf that made a value: its own, or that of the list or mapping that it is in, or one of its parts."""
    for size in range(len(path), 0, -1):
        if path[:size] in leaves:
            return leaves[path[:size]]
    return next((leaf for key, leaf in leaves.items() if key[: len(path)] == path), None)


def near(file: Path) -> str:
    """A file as people name it: from the working folder when it is below it."""
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
