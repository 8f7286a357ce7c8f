"""How what a reconciler reads from a FHIR server reaches its channel.

Guarantees: what was read is stored as any message is (C1), and the reader is told when it is. Refuses (ConfigError):
another format than FHIR, a connection that is no FHIR server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import Field
from twisted.internet.defer import Deferred

from engine.errors import ConfigError
from engine.fhir import release
from engine.fhir.resource import Fhir
from engine.fhirserver.connection import FhirConnection
from engine.fhirserver.reconciler import Reconciler
from engine.formats.base import Format, worst
from engine.model import Incoming
from engine.spec.component import BuildContext
from listeners.base import Receiver

DELETIONS = Field(
    default=3600, ge=60,
    description="How often what was deleted is looked for by comparing ids, on a server that shows no history of a"
    " type.",
    examples=["1h"],
)  # fmt: skip
_SEARCH = re.compile(r"[A-Z][A-Za-z]+(\?[\x21-\x7e]*)?")


class Read(Incoming):
    """A message that was read; `stored` is told whether it is."""

    __slots__ = ("_form", "_stored", "reference")

    def __init__(
        self, raw: bytes, control_id: str, peer: str, at: int, form: Format, stored: Callable[[bool], None]
    ) -> None:
        super().__init__(raw, peer, at)
        self.reference = control_id
        self._form, self._stored = form, stored

    def answer(self, data: Any) -> None:
        """It is stored, or refused because the engine takes nothing."""
        verdict = worst(self._form, data)
        self._stored(verdict is None or verdict.condition != "207")


class Reader:
    """A reconciler and the channel that it reads for. `every`, `overlap`, `deletions`: seconds."""

    def __init__(
        self, server: FhirConnection, searches: Sequence[str], context: BuildContext, *,
        deletions: float, every: float = 300, overlap: float = 300, begin: str = "now",
    ) -> None:  # fmt: skip
        self._form = context.format or Fhir()
        client = server.client(context.reactor)
        self._peer = f"fhir {client.base.host}"
        self._receiver: Receiver
        self.reconciler = Reconciler(
            client, searches, every=every, overlap=overlap, begin=begin, deletions=deletions,
            channel=context.channel, reactor=context.reactor, hand=self.hand, written=server.written,
        )  # fmt: skip

    def start(self, receiver: Receiver) -> None:
        """Read on."""
        self._receiver = receiver
        self.reconciler.start(receiver)

    def hand(self, raw: bytes, control_id: str) -> Deferred[bool]:
        """Store one message."""
        done: Deferred[bool] = Deferred()
        incoming = Read(raw, control_id, self._peer, self._receiver.now(), self._form, done.callback)
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
    if release.ALIKE[found.version] != release.ALIKE[context.format.version]:
        raise ConfigError(
            f"the connection {name} says FHIR {found.version}, and the channel reads messages as"
            f" {context.format.version}", code="fhir.version",
            todo="write the same `version` in the connection and in `format: {fhir: {version: …}}` of the channel",
        )  # fmt: skip
    return found


def searches(value: list[str]) -> list[str]:
    """These are searches. Raises ValueError."""
    for text in value:
        if not _SEARCH.fullmatch(text):
            raise ValueError(f"{text!r} is no search: write Type or Type?parameter=value")
    if len({text.rstrip("?") for text in value}) < len(value):
        raise ValueError("says the same twice")
    return value


def our_searches(value: list[str]) -> list[str]:
    """These are searches that a reconciler may make. Raises ValueError."""
    for text in value:
        if re.search(r"[?&](_lastUpdated|_sort|_count)=", text):
            raise ValueError(f"{text!r} has a parameter that the engine sets itself")
    return searches(value)
