"""What a channel and its listener promise each other.

The listener turns a wire into `Incoming` messages and gives each to `channel.receive`; the channel calls
`incoming.answer` exactly once, later, in any order; the listener answers in the order of arrival. All of it
on the reactor thread. A listener stops reading while it is paused, and reads on after `resume`; nothing that
it handed over is ever dropped.
"""

from __future__ import annotations

from typing import Any, Protocol

from engine.clock import Micros
from engine.model import Incoming


class Receiver(Protocol):
    """The channel's side."""

    def receive(self, incoming: Incoming) -> None:
        """Take one message; answer it when it is stored."""

    def now(self) -> Micros:
        """The time now, by the engine's clock."""

    def identity(self) -> str:
        """A name that no other channel has, of this engine or another; the same after every restart."""

    def heard(self, reference: str, version: str) -> str:
        """What the channel heard of a FHIR resource: `same` (that version), `deleted`, `other`, or nothing."""

    def held(self) -> Any:
        """The FHIR resources that the channel was told of: engine.fhirserver.absent.Held."""

    def noted(self) -> str:
        """What a listener of this channel noted last; "" for nothing."""

    def note(self, text: str, *, kept: bool) -> None:
        """Note where the listener is; with `kept` it outlives the engine. No patient data."""


class Listener(Protocol):
    """The wire's side: what `build` of a listener component returns."""

    def start(self, receiver: Receiver) -> Any:
        """Open the port. Gives a Deferred that fires with the address it listens on, or fails."""

    def pause(self) -> None:
        """Stop reading from every connection (back-pressure)."""

    def resume(self) -> None:
        """Read on."""

    def stop(self) -> Any:
        """Close the port and stop reading; answers that are due still go out. Gives a Deferred."""

    def close(self) -> Any:
        """Drop the connections that are left after the stop deadline. Gives a Deferred."""

    def status(self) -> dict[str, Any]:
        """Connections, messages in flight and limits, for the status page."""
