"""What one channel does to one message, as a pure function: the same code runs live, in `try` and in tests.

    raw bytes -> parse -> filters -> transformers -> for each destination: its filters, its transformers, render

Guarantees: no I/O, no clock, no state; the same message and configuration give the same result; a step that
fails gives ERROR with its code, its step and never the data. Refuses nothing: every input has a result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from channels.notes import Notes
from destinations.base import Destination
from engine.clock import Micros
from engine.errors import IsthmusError, StepTimeout
from engine.formats.base import Format, Identity, plain, reading
from engine.hl7.format import Hl7v2
from engine.model import Divided, Filter, Meta, Once, Scope, Transformer
from engine.spec.lookups import Lookup, Wanted, fetch_all
from engine.states import MessageState
from engine.store.columns import Column, Found
from engine.store.snapshots import Snapshot

Parse = Callable[[bytes], Any]
Interpret = Callable[[Any, Meta], list[Any]]
Run = Callable[[bytes, Meta], "Rendered"]
Watch = Callable[[str, Scope, str | None], None] | None


@dataclass(frozen=True)
class Step:
    """A filter or transformer that is ready to run, with the name that errors give it."""

    label: str
    run: Any


@dataclass(frozen=True)
class Route:
    """The way to one destination."""

    name: str
    destination: Destination
    filters: tuple[Step, ...] = ()
    transformers: tuple[Step, ...] = ()
    response: Any = None  # channels.response.Response, when steps run on its answers


class Part(NamedTuple):
    """A message that a `split` made of another."""

    raw: bytes
    control_id: str
    type: str
    identity: Identity


class Rendered(msgspec.Struct):
    """What became of a message: its state and why, and a payload for each destination that wants it."""

    state: MessageState
    reason: str = ""  # FILTERED: what the filter said
    code: str = ""  # ERROR: stable code
    text: str = ""
    place: str = ""  # ERROR: the step or the HL7 position
    payloads: list[tuple[str, bytes]] = []
    skipped: list[tuple[str, str]] = []  # destination, why
    version: str = ""  # of the configuration that made this
    parts: list[Part] = []  # of a message that was split
    part_ids: list[int] = []  # and their ids, once C2 is committed
    once: list[tuple[str, Once]] = []  # destination or "", what may pass once: C2 decides
    snapshot: Snapshot | None = None  # what it told of a resource: stored with C2
    met: list[str] = []  # resources that were read because it refers to them
    columns: list[
        Found
    ] = []  # searchable, of the message as it was received; what cannot be read is left out


@dataclass(frozen=True)
class Pipeline:
    """The compiled steps of one channel."""

    channel: str
    parse: Parse
    interpret: Interpret | None = None
    filters: tuple[Step, ...] = ()
    transformers: tuple[Step, ...] = ()
    routes: tuple[Route, ...] = ()
    version: str = ""  # of the configuration that it was built from
    format: Format = field(default_factory=Hl7v2)
    ordering_key: str = "PID-3.1"
    lookups: tuple[Lookup, ...] = ()
    columns: tuple[Column, ...] = ()
    notes: Notes | None = None  # reads what a FHIR server only names
    states: bool = False  # its messages are states of resources: channels.states

    @property
    def empty(self) -> bool:
        """Nothing is done with a message: it is received, stored and acknowledged."""
        return not (self.filters or self.transformers or self.routes or self.columns or self.states)

    def meta(self, raw: bytes, at: Micros = 0, peer: str = "") -> Meta:
        """What is known of a message that is not stored. Raises HL7Error when it cannot be read."""
        header = self.format.peek(raw)
        return Meta(0, self.channel, at, header.control_id, header.type, header.sender, peer)

    def process(self, raw: bytes, meta: Meta, run: Run | None = None) -> Rendered:
        """`run` without anybody who could fetch: a lookup that has not its value is an error."""
        try:
            return (run or self.run)(raw, meta)
        except Wanted as wanted:
            text = "a value must be looked up, and nothing is asked here (with `--lookups ask` it is)"
            place = f"lookup {wanted.lookup.label}"
            return Rendered(MessageState.ERROR, code="lookup.offline", text=text, place=place)

    async def fetched(self, raw: bytes, meta: Meta, now: float, run: Run | None = None) -> Rendered:
        """`run`, with all lookups fetched. Raises LookupDown."""
        for lookup in self.lookups:
            lookup.begin(now)
        while True:
            try:
                return (run or self.run)(raw, meta)
            except Wanted as wanted:
                await fetch_all([wanted], now)

    def run(self, raw: bytes, meta: Meta, watch: Watch = None) -> Rendered:
        """Run everything on one message; `watch(label, scope, reason)` sees each step that went well.

        Raises Wanted when a lookup has not its value yet: fetch it, then run again.
        """
        once: list[tuple[str, Once]] = []
        columns: list[Found] = []
        if self.notes is not None:
            self.notes.met.clear()
        rendered = self._run(raw, meta, watch, once, columns)
        if self.notes is not None and rendered.state == MessageState.TRANSFORMED:
            rendered.met = sorted(self.notes.met)
        rendered.once, rendered.columns = once, columns
        return rendered

    def _run(
        self, raw: bytes, meta: Meta, watch: Watch, once: list[tuple[str, Once]], columns: list[Found]
    ) -> Rendered:
        label = "parse"
        try:
            if self.notes is not None and (read := self.notes.read(raw, meta)) is not None:
                return self.followed(read.reason, [(read.raw, "")] if read.raw else [])
            scope = Scope(self.parse(raw), meta, self.interpret)
            for column in self.columns:
                label = f"search.columns.{column.name}"
                if value := plain(reading(scope.msg, column.path)):
                    columns.append(Found(column.name, value, column.plain))
            for step in self.filters:
                label = step.label
                reason = step.run(scope)
                if watch is not None:
                    watch(label, scope, reason)
                if reason is not None:
                    return Rendered(MessageState.FILTERED, reason=f"{label}: {reason}")
            once += [("", one) for one in scope.once]
            for step in self.transformers:
                label = step.label
                step.run(scope)
                if watch is not None:
                    watch(label, scope, None)
            result = Rendered(MessageState.TRANSFORMED)
            chosen = scope.chosen
            for route in self.routes:
                if chosen is not None and route.name not in chosen:
                    result.skipped.append((route.name, "not chosen by `route`"))
                    continue
                label = route.name
                payload, why = self._render(route, scope, watch, once)
                if payload is None:
                    result.skipped.append((route.name, why))
                else:
                    result.payloads.append((route.name, payload))
        except _StepFailed as step:
            return failed(step.cause, step.label)
        except Divided as divided:
            reason = f"{label}: split into {len(divided.parts)}; they follow"
            return self.followed(reason, divided.parts, label)
        except (Exception, StepTimeout) as error:
            return failed(error, label)
        if self.routes and not result.payloads:
            reasons = "; ".join(f"{name}: {why}" for name, why in result.skipped)
            return Rendered(MessageState.FILTERED, reason=reasons, skipped=result.skipped)
        return result

    def followed(self, reason: str, made: list[tuple[bytes, str]], label: str = "read") -> Rendered:
        """What takes the place of a message, and the end of the message itself."""
        parts = []
        try:
            for raw, control_id in made:
                header = self.format.peek(raw)
                identity = self.format.identify(raw, header, self.ordering_key)
                parts.append(Part(raw, control_id or header.control_id, header.type, identity))
        except (Exception, StepTimeout) as error:
            return failed(error, label)
        return Rendered(MessageState.FILTERED, reason=reason, parts=parts)

    def _render(
        self, route: Route, shared: Scope, watch: Watch, once: list[tuple[str, Once]]
    ) -> tuple[bytes | None, str]:
        label = f"destinations.{route.name}"
        scope = shared
        try:
            if route.filters or route.transformers:
                scope = shared.fork()
            if route.transformers:  # they may change the message: they get their own
                scope.msg = self.parse(bytes(shared.msg))
                scope.events = None
            for step in route.filters:
                label = f"destinations.{route.name}.{step.label}"
                reason = step.run(scope)
                if watch is not None:
                    watch(label, scope, reason)
                if reason is not None:
                    return None, f"{step.label}: {reason}"
            for step in route.transformers:
                label = f"destinations.{route.name}.{step.label}"
                step.run(scope)
                if watch is not None:
                    watch(label, scope, None)
            label = f"destinations.{route.name}"
            payload = route.destination.render(scope)
            if payload is not None and scope is not shared:
                once += [(route.name, one) for one in scope.once]
            return payload, "nothing to do for this message"
        except (Exception, StepTimeout) as error:
            raise _StepFailed(error, label) from error


class _StepFailed(Exception):
    def __init__(self, cause: Exception | StepTimeout, label: str) -> None:
        super().__init__(label)
        self.cause = cause
        self.label = label


def failed(error: BaseException, label: str) -> Rendered:
    """ERROR: our own errors speak for themselves; of any other only its type is told (it may quote data)."""
    if isinstance(error, IsthmusError):
        place = f"{label}: {error.where}" if error.where and error.where != label else label
        text = f"{error.what} ({error.todo})" if error.todo else error.what
        return Rendered(MessageState.ERROR, code=error.code, text=text, place=place)
    if isinstance(error, StepTimeout):
        text = "the step took too long (look for a loop that does not end)"
        return Rendered(MessageState.ERROR, code="step.timeout", text=text, place=label)
    if isinstance(error, MemoryError):
        text = "the step used too much memory"
        return Rendered(MessageState.ERROR, code="step.memory", text=text, place=label)
    kind = type(error).__name__
    return Rendered(
        MessageState.ERROR,
        code="step.crashed",
        text=f"the step raised {kind} (see `try` for the line)",
        place=label,
    )


def steps(bound: Any, context: Any) -> tuple[Step, ...]:
    """Build the bound filters or transformers of a channel or destination."""
    return tuple(Step(item.label, item.settings.build(context)) for item in bound)


__all__ = ["Filter", "Pipeline", "Rendered", "Route", "Step", "Transformer", "steps"]
