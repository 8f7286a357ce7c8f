"""Changes of a FHIR server that tells nobody: the listener `fhir_poll` asks it, again and again.

Guarantees and what happens when: `engine.fhirserver.reconciler`. Each change becomes one message, the resource itself,
or a deletion; of several changes between two looks only the last is seen. No port is opened. Refuses (ConfigError):
a channel of another format, a connection that is no FHIR server.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator
from twisted.internet.defer import Deferred, succeed

from engine.spec.component import BuildContext, component
from engine.spec.meaning import ConnectionName
from engine.spec.retention import Age
from listeners.base import Receiver
from listeners.reconcile import Reader, Reconcile


@component(
    "listener",
    "fhir_poll",
    example="fhir_poll: {connection: ehr, resources: [Patient, Appointment]}",
)
class FhirPoll(Reconcile):
    """Asks a FHIR server what changed; needs `format: fhir`. For servers without Subscriptions; see docs/fhir.md."""

    tells_states: ClassVar[bool] = True

    connection: ConnectionName = Field(description="Name of a `fhir` connection.", examples=["ehr"])
    every: Age = Field(default=60, ge=1, description="Time between two looks.", examples=["1m"])

    @model_validator(mode="after")
    def _something(self) -> FhirPoll:
        if not self.resources:
            raise ValueError("`resources` is empty: name what is to be read, such as [Patient, Appointment]")
        return self

    def build(self, context: BuildContext) -> PollListener:
        """Nothing is asked before `start`."""
        return PollListener(self, context)


class PollListener:
    """See listeners.base.Listener."""

    def __init__(self, settings: FhirPoll, context: BuildContext) -> None:
        self._address = f"{settings.connection}: {', '.join(settings.resources)}"
        self._reader = Reader(settings, settings.resources, settings.connection, context)
        self._receiver: Receiver | None = None
        self.paused = False

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
