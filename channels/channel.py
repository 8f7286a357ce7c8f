"""A running channel: its listener, intake and senders, and what people may do with it.

    listener -> intake (C1, ACK) -> router (C2) -> backlog and lanes -> senders (C3)

Guarantees: `start` opens the port last, when everything behind it works; `stop` closes it first and lets what
is under way finish; above the backlog's marks the listener stops reading, then messages are refused with
AR 207: nothing is ever accepted and dropped.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import structlog
from twisted.internet.defer import Deferred, inlineCallbacks

from channels.arrived import Arrived
from channels.deliver import Sender
from channels.receive import OVERLOADED, Intake, Taken
from channels.route import Router
from engine.clock import Micros
from engine.errors import ConfigError, HL7Error
from engine.model import Incoming, Meta
from engine.spec.channel import ChannelSpec
from engine.store.noted import note, noted
from engine.store.snapshots import Held, heard

log = structlog.get_logger()

STOP_DEADLINE = 5.0  # seconds that answers may take when a port is closed

State = Literal["stopped", "started", "paused", "failed"]


class Channel:
    """One channel at run time. Everything happens on the reactor thread."""

    def __init__(
        self, spec: ChannelSpec, listener: Any, intake: Intake, router: Router, senders: list[Sender]
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.listener = listener
        self.intake = intake
        self.router = router
        self.senders = senders
        self.state: State = "stopped"
        self.why = ""
        self.address: Any = None
        self.open = 0  # stored, not done
        self._listening = False
        self._holds: set[str] = set()  # reasons why the listener does not read
        self._refusals: dict[str, HL7Error] = {}  # reason -> what messages are answered with
        self.reader: Any = None  # of the store
        self._noted: str | None = None

    # The way of a message ---------------------------------------------------------------------------------

    def receive(self, incoming: Incoming) -> None:
        """From the listener."""
        self.intake.receive(incoming)

    def now(self) -> Micros:
        """The time now."""
        return self.intake.now()

    def identity(self) -> str:
        """A name that no other channel has, of this engine or another: made with the keys of the data folder."""
        return f"{self.intake.keyring.blind(f'channel:{self.name}') & (1 << 64) - 1:016x}"

    def heard(self, reference: str, version: str) -> str:
        """What was heard of a FHIR resource, also by messages that wait for their steps."""
        return heard(self.reader, self.name, reference, version)

    def held(self) -> Held:
        """The FHIR resources that it was told of and not of their deletion."""
        return Held(self.reader, self.name, self.intake.writer.run)

    def noted(self) -> str:
        """What the listener noted last."""
        if self._noted is None:
            self._noted = noted(self.reader, self.name)
        return self._noted

    def note(self, text: str, *, kept: bool) -> None:
        """From the listener: where it is."""
        self._noted = text
        if kept:
            self.intake.writer.submit(partial(note, channel=self.name, text=text))

    def stored(self, taken: list[Taken]) -> None:
        """From the intake: these are RECEIVED and acknowledged."""
        self.open += len(taken)
        self.router.offer(
            [
                Arrived(
                    Meta(
                        one.result.id,
                        row.channel,
                        row.received_at,
                        row.control_id,
                        row.type,
                        row.sender,
                        row.peer,
                    ),
                    row.raw,
                    (row.ordering_key, *row.also_keys),
                )
                for one in taken
                if (row := one.row) and one.result
            ]
        )
        self._weigh()

    def finished(self, count: int) -> None:
        """So many of the stored messages need no more work."""
        self.open -= count
        if self._holds or self._refusals:
            self._weigh()

    def ended(self, message_id: int) -> None:
        """A delivery of this message is open no more, or the message is routed."""
        if self.intake.answers is not None:
            self.intake.answers.check(message_id)

    def discarded(self, message_id: int, was_open: bool) -> None:
        """An operator discarded one delivery."""
        if was_open:
            self.finished(1)
        self.ended(message_id)

    def _weigh(self) -> None:
        """Back-pressure by the amount of unfinished work."""
        marks = self.spec.options.backlog
        enough = marks.pause * (0.9 if "backlog" in self._holds else 1)
        self.hold(
            "backlog",
            pause=self.open >= enough,
            refuse=OVERLOADED if self.open >= marks.refuse else None,
        )

    def hold(self, why: str, *, pause: bool, refuse: HL7Error | None = None) -> None:
        """Back-pressure for one reason; the listener reads again when no reason is left."""
        if refuse is None:
            self._refusals.pop(why, None)
        else:
            self._refusals[why] = refuse
        self.intake.refusing = next(iter(self._refusals.values()), None)
        if pause == (why in self._holds):
            return
        if pause:
            log.warning("channel.held_back", channel=self.name, why=why, open=self.open)
            self._holds.add(why)
            self.listener.pause()
            return
        log.info("channel.let_go", channel=self.name, why=why, open=self.open)
        self._holds.remove(why)
        if not self._holds:
            self.listener.resume()

    @property
    def crowded(self) -> bool:
        """What comes now waits for many others to be routed or delivered."""
        return self.router.crowded or any(sender.crowded for sender in self.senders)

    # What people do ---------------------------------------------------------------------------------------

    @inlineCallbacks
    def start(self) -> Any:
        """Start the destinations and open the port. A failure is told in `why` and leaves others alone.

        The port does not wait for destinations: messages are stored and acknowledged without them.
        """
        if self._listening:
            self.resume()
            return
        self.state, self.why = "started", ""
        self.router.resume(self.name)
        for sender in self.senders:
            self.start_destination(sender)
        try:
            self.address = yield self.listener.start(self)
        except Exception as error:
            self.fail(error)
            return
        self._listening = True
        log.info("channel.started", channel=self.name, address=self.where)

    @inlineCallbacks
    def start_destination(self, sender: Sender) -> Any:
        """A destination that cannot start is held: messages are taken, and delivered when it can.

        One that its configuration does not fit is started again and again until it does.
        """
        destination, refused = sender.destination, None
        try:
            yield destination.start()
        except Exception as error:
            refused = error
            log.error(
                "destination.not_ready",
                channel=self.name,
                destination=sender.name,
                code=getattr(error, "code", type(error).__name__),
                why=getattr(error, "what", ""),
            )
        if sender.destination is not destination or self.state == "stopped":
            return
        if self.state != "paused":
            sender.resume()
        if isinstance(refused, ConfigError):
            sender.refused(refused, partial(self.start_destination, sender))
        elif refused is None:
            sender.accepted()

    def pause(self) -> None:
        """Receive and acknowledge, but route and deliver nothing."""
        self.state = "paused"
        self.router.pause(self.name)
        for sender in self.senders:
            sender.pause()

    def resume(self) -> None:
        """Go on after `pause`; destinations that were held are tried at once."""
        self.state = "started" if self._listening else "stopped"
        self.router.resume(self.name)
        for sender in self.senders:
            sender.resume()

    @inlineCallbacks
    def stop(self, deadline: float = STOP_DEADLINE) -> Any:
        """Close the port; no delivery begins; answers that are due go out, at most for `deadline` seconds.

        Gives a Deferred.
        """
        self.state = "stopped"
        for sender in self.senders:
            sender.pause()
        closing = None
        if self._listening:
            self._listening = False
            closing = retire(self.listener, self.router.clock, deadline)
        if self.intake.answers is not None:
            self.intake.answers.stop()
        yield closing

    @property
    def wanted(self) -> bool:
        """Its port should be open."""
        return self.state != "stopped"

    @property
    def listening(self) -> bool:
        """Its port is open."""
        return self._listening

    def move(self, listener: Any, address: Any = None, *, closed: bool = False) -> None:
        """Receive from another listener from now on; with `address` it is open, and held until now.

        The old one reads no more, unless it is `closed` already: answers that are due go out, at most for
        STOP_DEADLINE seconds.
        """
        old, was_open = self.listener, self._listening and not closed
        self.listener, self.address, self._listening = listener, address, address is not None
        if self._listening:
            if self.state in ("failed", "stopped"):
                self.state, self.why = "started", ""
            if not self._holds:
                listener.resume()
            log.info("channel.started", channel=self.name, address=self.where)
        if was_open:
            retire(old, self.router.clock)

    def fail(self, error: Exception) -> None:
        """The port cannot be opened."""
        self._listening = False
        self.state, self.why = "failed", f"the listener did not start: {error}"
        log.error("channel.failed", channel=self.name, why=self.why)

    def close(self) -> Deferred[Any]:
        """Drop what is left of the connections."""
        return self.listener.close()

    @property
    def where(self) -> str:
        """`127.0.0.1:2575`, once the port is open."""
        host, port = getattr(self.address, "host", ""), getattr(self.address, "port", "")
        return f"{host}:{port}" if port else str(self.address or "")

    @property
    def idle(self) -> bool:
        """Nothing is on its way to a destination."""
        return all(sender.idle for sender in self.senders)

    def status(self) -> dict[str, Any]:
        """For people and `status --json`."""
        options = self.spec.options
        listener = self.listener.status() if self._listening else {}
        return {
            "description": options.description,
            "group": options.group,
            "tags": options.tags,
            "silent_after": options.silent_after,
            "state": self.state,
            "why": self.why or self.router.waits_for or listener.get("why", ""),
            "address": self.where,
            "open": self.open,
            "held_back": sorted(self._holds),
            "refusing": sorted(self._refusals),
            "listener": listener,
            "destinations": [sender.status() for sender in self.senders],
        }


def retire(listener: Any, clock: Any, deadline: float = STOP_DEADLINE) -> Deferred[Any]:
    """Close the port of a listener; its connections end when their answers are out, or at the deadline."""
    late = clock.callLater(deadline, listener.close)
    stopped: Deferred[Any] = listener.stop()
    return stopped.addBoth(lambda _: late.cancel() if late.active() else None)
