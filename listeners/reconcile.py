"""Settings of `fhir_poll`: what is read, how often, from where; and how it reaches the channel.

Guarantees: what was read is stored as any message is (C1), and the reader is told when it is. Refuses (ConfigError):
to read without a server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator
from twisted.internet.defer import Deferred

from engine.errors import ConfigError
from engine.fhir.resource import Fhir
from engine.fhirserver.connection import FhirConnection
from engine.fhirserver.reconciler import Reconciler
from engine.formats.base import Format, worst
from engine.model import Incoming
from engine.spec.component import BuildContext, Settings
from engine.spec.retention import Age
from listeners.base import Receiver

_RESOURCES = re.compile(r"[A-Z][A-Za-z]+(\?[\x21-\x7e]*)?")


class Reconcile(Settings):
    """What the channel reads from the server of its connection by itself."""

    every: Age = Field(default=300, ge=1, description="Time between two looks.", examples=["5m"])
    overlap: Age = Field(
        default=300, ge=0,
        description="How far before the last change that was found the next look begins: for changes that the server"
        " showed late.",
    )  # fmt: skip
    resources: list[str] = Field(
        default=[],
        description="Types, or searches of them.",
        examples=[["Patient", "Appointment?status=booked,cancelled"]],
    )
    begin: Literal["now", "all"] = Field(
        default="now",
        description="Where the first look begins.",
        json_schema_extra={
            "meanings": {
                "now": "At what the server has at that moment: only later changes are read.",
                "all": "Everything that there is is read.",
            }
        },
    )

    @field_validator("resources", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("resources")
    @classmethod
    def _are_searches(cls, value: list[str]) -> list[str]:
        for text in value:
            if not _RESOURCES.fullmatch(text):
                raise ValueError(f"{text!r} is no search: write Type or Type?parameter=value")
            if re.search(r"[?&](_lastUpdated|_sort|_count)=", text):
                raise ValueError(f"{text!r} has a parameter that the engine sets itself")
        return [text.rstrip("?") for text in value]


class Read(Incoming):
    """A message that was read; `stored` is told whether it is."""

    __slots__ = ("_form", "_stored")

    def __init__(self, raw: bytes, at: int, form: Format, stored: Callable[[bool], None]) -> None:
        super().__init__(raw, "fhir_poll", at)
        self._form, self._stored = form, stored

    def answer(self, data: Any) -> None:
        """It is stored, or refused because the engine takes nothing."""
        verdict = worst(self._form, data)
        self._stored(verdict is None or verdict.condition != "207")


class Reader:
    """A reconciler and the channel that it reads for."""

    def __init__(
        self, settings: Reconcile, resources: list[str], connection: str, context: BuildContext
    ) -> None:
        self._form = context.format or Fhir()
        self._settings, self._resources, self._context = settings, resources, context
        self._server = server_of(connection, context)
        self._receiver: Receiver

    @cached_property
    def reconciler(self) -> Reconciler:
        """Made when it is needed: a listener that is only checked has no reactor."""
        chosen, context = self._settings, self._context
        return Reconciler(
            self._server.client(context.reactor), self._resources, every=chosen.every, overlap=chosen.overlap,
            begin=chosen.begin, channel=context.channel, reactor=context.reactor,
            hand=self._hand,
        )  # fmt: skip

    def start(self, receiver: Receiver) -> None:
        """Read on."""
        self._receiver = receiver
        self.reconciler.start(receiver)

    def _hand(self, raw: bytes) -> Deferred[bool]:
        done: Deferred[bool] = Deferred()
        incoming = Read(raw, self._receiver.now(), self._form, done.callback)
        self._receiver.receive(incoming)
        return done


def server_of(name: str, context: BuildContext) -> FhirConnection:
    """The server of a connection. Raises ConfigError."""
    if not isinstance(context.format, Fhir):
        raise ConfigError(
            "this listener takes FHIR messages",
            code="fhir.format",
            todo="write `format: fhir` in the channel",
        )
    found = context.connections.get(name)
    if not isinstance(found, FhirConnection):
        raise ConfigError(
            f"there is no FHIR connection {name!r}", code="fhir.connection",
            todo="declare it under `connections:` as `NAME: {fhir: {base: …}}`",
        )  # fmt: skip
    return found
