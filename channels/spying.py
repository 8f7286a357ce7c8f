"""A pipeline with somebody who looks over the shoulder of each step: the same steps, in the same order.

Guarantees: what the pipeline gives is what it gives without a spy; a spy keeps what each step noted, and the message
and the variables before and after it. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from channels.expecting import decoded, is_operations
from channels.pipeline import Pipeline, Route, Step
from channels.recording import Message, Notes, plain
from engine.model import Scope
from engine.spec.lookups import Wanted
from engine.spec.template import Made, Template
from engine.spec.units import age_text


@dataclass
class Ran:
    """One step that ran. `destination` is "" for the steps of the channel."""

    label: str
    destination: str
    before: bytes = b""
    after: bytes = b""
    old: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Any] = field(default_factory=dict)
    outcome: str = "error"
    reason: str = ""
    notes: Notes = field(default_factory=Notes)

    def variables(self) -> Iterator[tuple[str, tuple[Any, Any]]]:
        """Variables that got another value: name, old, new."""
        for name, value in self.new.items():
            if name not in self.old or self.old[name] != value:
                yield f"vars.{name}", (self.old.get(name), value)


@dataclass
class Output:
    """What one destination made of the message."""

    payload: bytes | None
    made: list[Made] = field(default_factory=list)
    template: Template | None = None
    file: Path | None = None
    notes: Notes = field(default_factory=Notes)


class Spy:
    """What happened to one message. With `notes` (of a recorded pipeline) each step is looked at closely."""

    def __init__(self, notes: Notes | None = None) -> None:
        self.notes = notes
        self.ran: list[Ran] = []
        self.rendered: dict[str, Output] = {}
        self.scope: Scope | None = None

    def take(self) -> Notes:
        """What was noted since the last time."""
        return self.notes.take() if self.notes is not None else Notes()

    def step(self, step: Step, kind: str, destination: str, scope: Scope) -> Any:
        """Run a step."""
        if not destination:
            self.scope = scope
        if self.notes is None:
            return step.run(scope)
        self.take()
        label = f"destinations.{destination}.{step.label}" if destination else step.label
        ran = Ran(label, destination, bytes(scope.msg), old=dict(scope.vars))
        text, asked = scope.text, len(scope.once)
        self.ran.append(ran)
        try:
            reason = step.run(scope)
            changed = bytes(scope.msg) != ran.before or scope.vars != ran.old or scope.text != text
            ran.outcome = "changed" if changed else "unchanged"
            if kind == "filter":
                ran.outcome, ran.reason = ("passed", "") if reason is None else ("filtered", reason)
                for one in scope.once[asked:] if reason is None else ():
                    window = age_text(one.window // 1_000_000)
                    ran.reason = f"unless the same {one.what} came in the {window} before"
        finally:
            ran.after, ran.new, ran.notes = bytes(scope.msg), dict(scope.vars), self.take()
        return reason

    def render(self, route: Route, scope: Scope) -> bytes | None:
        """Render a destination."""
        self.scope = self.scope or scope
        self.take()
        destination: Any = route.destination
        payload: bytes | None = destination.render(scope)
        output = self.rendered[route.name] = Output(payload)
        if payload is not None and hasattr(destination, "explain"):
            output.made = destination.explain(scope)
            output.template, output.file = destination.template, destination.template_file
        elif payload is not None and is_operations(told := decoded(payload)):
            output.made = [Made(one, one["model"], 0) for one in told]
        output.notes = self.take()
        return payload

    @property
    def variables(self) -> dict[str, Any]:
        """The variables after the last step of the channel."""
        return self.scope.vars if self.scope is not None else {}

    def events(self) -> list[Any]:
        """The canonical events after the last step; none when they cannot be made (the message is in ERROR, or nobody
        fetches what they need)."""
        try:
            return self.scope.events if self.scope is not None else []
        except (Exception, Wanted):
            return []


class _Rendering:
    """A destination under the eyes of a spy."""

    def __init__(self, route: Route, spy: Spy) -> None:
        self._route = route
        self._spy = spy

    def render(self, scope: Scope) -> bytes | None:
        return self._spy.render(self._route, scope)


def spied(pipeline: Pipeline, spy: Spy) -> Pipeline:
    """The pipeline, told on by `spy`."""
    notes = spy.notes

    def steps(found: tuple[Step, ...], kind: str, destination: str = "") -> tuple[Step, ...]:
        return tuple(
            Step(item.label, lambda scope, item=item: spy.step(item, kind, destination, scope))
            for item in found
        )

    def parse(raw: bytes) -> Any:
        return Message(pipeline.parse(raw), notes) if notes is not None else pipeline.parse(raw)

    def interpret(message: Any, meta: Any) -> list[Any]:
        return pipeline.interpret(plain(message), plain(meta)) if pipeline.interpret is not None else []

    return replace(
        pipeline,
        parse=parse,
        interpret=interpret,
        filters=steps(pipeline.filters, "filter"),
        transformers=steps(pipeline.transformers, "transformer"),
        routes=tuple(
            Route(
                route.name,
                _Rendering(route, spy),  # type: ignore[arg-type]
                steps(route.filters, "filter", route.name),
                steps(route.transformers, "transformer", route.name),
            )
            for route in pipeline.routes
        ),
    )
