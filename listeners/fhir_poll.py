"""Changes of a FHIR server that tells nobody: the listener `fhir_poll` asks it, again and again.

Guarantees and what happens when: `engine.fhirserver.reconciler`. Each change becomes one message, the resource itself,
or a deletion; of several changes between two looks only the last is seen. No port is opened. Refuses (ConfigError):
a channel of another format, a connection that is no FHIR server.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator
from twisted.internet.defer import Deferred, succeed

from engine.spec.component import BuildContext, Settings, component
from engine.spec.meaning import ConnectionName
from engine.spec.units import Age
from listeners.base import Receiver
from listeners.reconcile import DELETIONS, Reader, our_searches, server_of


@component(
    "listener",
    "fhir_poll",
    example="fhir_poll: {connection: ehr, resources: [Patient, Appointment]}",
)
class FhirPoll(Settings):
    """Asks a FHIR server what changed; needs `format: fhir`. For servers without Subscriptions; see docs/fhir.md."""

    tells_states: ClassVar[bool] = True

    connection: ConnectionName = Field(description="Name of a `fhir` connection.", examples=["ehr"])
    resources: list[str] = Field(
        description="Types, or searches of them.",
        examples=[["Patient", "Appointment?status=booked,cancelled"]],
    )
    every: Age = Field(default=60, ge=1, description="Time between two looks.", examples=["1m"])
    overlap: Age = Field(
        default=300, ge=0,
        description="How far before the last change that was found the next look begins: for changes that the server"
        " showed late.",
    )  # fmt: skip
    deletions: Age = DELETIONS
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
        if not value:
            raise ValueError("is empty: name what is to be read, such as [Patient, Appointment]")
        return our_searches(value)

    def build(self, context: BuildContext) -> PollListener:
        """Nothing is asked before `start`."""
        return PollListener(self, context)


class PollListener:
    """See listeners.base.Listener."""

    def __init__(self, settings: FhirPoll, context: BuildContext) -> None:
        self._address = f"{settings.connection}: {', '.join(settings.resources)}"
        self._settings, self._context = settings, context
        self._server = server_of(settings.connection, context)
        self._receiver: Receiver | None = None
        self.paused = False

    @cached_property
    def _reader(self) -> Reader:
        """Made when it is needed: a listener that is only checked has no reactor."""
        chosen = self._settings
        return Reader(
            self._server, chosen.resources, self._context,
            every=chosen.every, overlap=chosen.overlap, begin=chosen.begin, deletions=chosen.deletions,
        )  # fmt: skip

    def start(self, receiver: Receiver) -> Any:
        """Ask for the first time."""
        self._receiver = receiver
        self._begin()
        return succeed(self._address)

    def pause(self) -> None:
        """Ask no more."""
        self.paused = True
        self._reader.reconciler.stop()

    def resume(self) -> None:
        """Ask on."""
        self.paused = False
        self._begin()

    def _begin(self) -> None:
        if self._receiver is not None and not self.paused:
            self._reader.start(self._receiver)

    def stop(self) -> Deferred[None]:
        """Ask no more."""
        self._reader.reconciler.stop()
        return succeed(None)

    def close(self) -> Deferred[None]:
        """Nothing is held open."""
        return succeed(None)

    def status(self) -> dict[str, Any]:
        """Rounds, what was found, and the server's time of the last change that was read."""
        reconciler = self._reader.reconciler
        told = {"address": self._address, "paused": self.paused, "why": reconciler.why}
        return told | reconciler.status()
