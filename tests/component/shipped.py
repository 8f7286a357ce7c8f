"""The shipped configuration as functions of a message: filters, transformers, events and Odoo operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.hl7.er7 import Message
from engine.model import Meta, Scope
from engine.spec.channel import ChannelSpec, Configuration, load
from engine.spec.component import BuildContext
from engine.spec.template import compile_template
from transforms.canonical.from_hl7 import interpreter

ROOT = Path(__file__).resolve().parents[2]
CHANNELS = ROOT / "config" / "channels.yaml"


@dataclass
class Result:
    """What became of one message."""

    filtered: str = ""
    events: list[Any] = field(default_factory=list)
    operations: list[dict[str, Any]] = field(default_factory=list)


class ShippedChannel:
    """One channel of a configuration, from bytes to operations, without any I/O."""

    def __init__(self, configuration: Configuration, spec: ChannelSpec, base: Path) -> None:
        options = spec.options.model_dump()
        tables = configuration.tables
        context = BuildContext(channel=spec.name, base=base, tables=tables, options=options)
        self.filters = [(item.component.name, item.settings.build(context)) for item in spec.filters]
        self.transformers = [item.settings.build(context) for item in spec.transformers]
        self.templates = [
            compile_template(item.bound.settings.template, context) for item in spec.destinations
        ]
        self.interpret = interpreter(options)

    def prepare(self, raw: bytes) -> tuple[str, Scope]:
        """The name of the filter that stops the message ("" when none does), and the transformed scope."""
        message = Message(raw)
        meta = Meta(type=f"{message['MSH-9.1']}^{message['MSH-9.2']}", control_id=message["MSH-10"])
        scope = Scope(message, meta, self.interpret)
        for name, check in self.filters:
            if check(scope):
                return name, scope
        for transform in self.transformers:
            transform(scope)
        return "", scope

    def run(self, raw: bytes) -> Result:
        """Filter, transform, interpret and render. Raises what a step raises."""
        filtered, scope = self.prepare(raw)
        if filtered:
            return Result(filtered=filtered)
        operations = [operation for render in self.templates for operation in render(scope)]
        return Result(events=scope.events, operations=operations)


def shipped() -> dict[str, ShippedChannel]:
    """The channels of config/channels.yaml as they are without any environment variable."""
    configuration = load(CHANNELS, {})
    assert not configuration.problems, [str(problem) for problem in configuration.problems]
    return {
        name: ShippedChannel(configuration, spec, CHANNELS.parent)
        for name, spec in configuration.channels.items()
    }
