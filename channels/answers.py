"""Acknowledgements that wait: `ack: routed` and `ack: delivered`, and the application ACK of enhanced mode.

Guarantees: what is answered is what the store says (a message is AA `routed` when it is FILTERED or TRANSFORMED,
AA `delivered` when every delivery is SENT or DISCARDED, and with it all that it was split into); what is not known
at the deadline is answered with an AE that says so, never with AA; a repeated message gets the answer that is true
by then; an answer is stored before it is sent. Nobody waiting (a restart, a lost connection) is no loss: the message
goes on.

| mode (`ack_mode`) | now                                   | later                                        |
|-------------------|---------------------------------------|----------------------------------------------|
| original          | nothing, unless `ack: stored`         | AA, AE or AR                                 |
| enhanced          | CA, CE or CR as MSH-15 asks (0155)    | AA or AE as MSH-16 asks, on the same         |
|                   |                                       | connection, or to `ack_to`                   |

HL7 v2.5.1 chapter 2.9.2 and 2.9.3; conditions are HL7 table 0155: AL always, NE never, ER on error, SU on success.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from twisted.python.failure import Failure

from destinations.mllp import MllpClient, endpoint
from engine.errors import ConfigError, HL7Error
from engine.hl7 import findings
from engine.hl7.peek import Header
from engine.spec.options import AckLevel, ChannelOptions
from engine.states import DeliveryState, MessageState
from engine.store.fates import fates
from engine.store.messages import answer_with
from engine.store.tx import Tx
from engine.store.writer import Writer

log = structlog.get_logger()

READ_AGAIN = 1.0  # seconds, when the store cannot be read
UNFINISHED = (MessageState.RECEIVED, DeliveryState.QUEUED, DeliveryState.PENDING)
Build = Callable[[Header, str, HL7Error | None], bytes]
Send = Callable[[bytes | None], Any]
Verdict = tuple[str, HL7Error | None]

LATE = HL7Error(
    "the message is stored, but its processing was not confirmed in time",
    code="ack.deadline",
    todo="It goes on by itself; do not send it again under another control id.",
    ack="AE",
    condition="207",
)


@dataclass
class Waiting:
    """Who waits for the fate of one message."""

    id: int
    level: AckLevel
    parts: set[int] = field(default_factory=set)  # what it was split into and is not done
    askers: list[tuple[Header, Send, str]] = field(default_factory=list)  # header, how to answer, condition
    timer: Any = None


class Answers:
    """The late answers of one channel."""

    def __init__(
        self, channel: str, options: ChannelOptions, writer: Writer, reader: Tx, clock: Any, build: Build
    ) -> None:
        self.channel = channel
        self.options = options
        self.writer = writer
        self.reader = reader
        self.clock = clock
        self.build = build
        self.waiting: dict[int, Waiting] = {}  # by message, and by part of one
        self.enhanced = options.ack_mode == "enhanced"

    def level(self, kind: str) -> AckLevel:
        """When a message of this type (`ADT^A01`) is answered."""
        return level_of(self.options, kind)

    def expect(self, message_id: int, header: Header, send: Send, condition: str = "AL") -> None:
        """Answer when the fate of the message is known, or at the deadline."""
        waiting = self.waiting.get(message_id)
        if waiting is None:
            waiting = self.waiting[message_id] = Waiting(message_id, self.level(header.type))
            if waiting.level == "stored":
                waiting.level = "routed"  # an application ACK says more than that it is stored
            waiting.timer = self.clock.callLater(self.options.ack_deadline, self._late, message_id)
        waiting.askers.append((header, send, condition))

    def check(self, message_id: int) -> None:
        """Something became of this message: answer who waits, if it is what they wait for."""
        waiting = self.waiting.get(message_id)
        if waiting is None:
            return
        try:
            verdict = self._verdict(waiting)
        except Exception as error:  # whoever told of the message goes on
            log.error("ack.unreadable", channel=self.channel, error=type(error).__name__)
            self.clock.callLater(READ_AGAIN, self.check, message_id)
            return
        if verdict is not None:
            self._answer(self._forget(waiting), verdict)

    def _verdict(self, waiting: Waiting) -> Verdict | None:
        """What the store says: the code and the error of the answer, or None while it cannot be said."""
        messages, deliveries = fates(self.reader, waiting.id)
        ended = messages + deliveries if waiting.level == "delivered" else messages
        failed = next((one for one in ended if one.state == "ERROR"), None)
        if failed is not None:
            return "AE", problem(failed.error_code, failed.error_text, failed.error_place)
        unfinished = {one.message_id for one in ended if one.state in UNFINISHED}
        if unfinished or not messages:
            for part in unfinished - {waiting.id}:
                waiting.parts.add(part)
                self.waiting[part] = waiting
            return None
        return "AA", None

    def _forget(self, waiting: Waiting) -> Waiting:
        """Nobody waits for it any more."""
        for known in (waiting.id, *waiting.parts):
            self.waiting.pop(known, None)
        if waiting.timer.active():
            waiting.timer.cancel()
        return waiting

    def _late(self, message_id: int) -> None:
        log.warning("ack.deadline", channel=self.channel, message=message_id)
        self._answer(self._forget(self.waiting[message_id]), (LATE.ack, LATE))

    def _answer(self, waiting: Waiting, verdict: Verdict) -> None:
        """Store the answer, then send it. A later verdict replaces a stored answer of the deadline."""
        code, error = verdict
        replies = [self.build(header, code, error) for header, _, _ in waiting.askers]
        work = partial(answer_with, message_id=waiting.id, ack=replies[0], code=code)
        self.writer.submit(work, partial(self._send, waiting, replies, code))

    def _send(
        self, waiting: Waiting, replies: list[bytes], code: str, _: Any, error: Exception | None
    ) -> None:
        if error is not None:
            log.error("ack.not_stored", channel=self.channel, code=getattr(error, "code", ""))
        for (_header, send, condition), reply in zip(waiting.askers, replies, strict=True):
            send(reply if wanted(condition, good=code == "AA") else None)

    def stop(self) -> None:
        """The engine stops: nobody is told what is not known; who waits sends again and gets the truth."""
        for message_id in list(self.waiting):
            self.check(message_id)
        while self.waiting:
            for _, send, _ in self._forget(next(iter(self.waiting.values()))).askers:
                send(None)


def sender_to(target: str, reactor: Any, channel: str) -> Send:
    """Application ACKs on a connection of their own: `target` is `mllp://host:port`. Lost ones are logged."""
    found = re.fullmatch(r"mllp://([^:/]+):(\d+)", target)
    if found is None:
        raise ConfigError(
            f"{target!r} is no address", code="ack.to", where=channel, todo="write mllp://host:port"
        )
    client = MllpClient(reactor, endpoint(reactor, found[1], int(found[2])))

    def failed(failure: Failure) -> None:
        log.warning("ack.not_sent", channel=channel, why=type(failure.value).__name__)

    def send(data: bytes | None) -> None:
        if data is not None:
            client.send(data).addErrback(failed)

    return send


def level_of(options: ChannelOptions, kind: str) -> AckLevel:
    """When a message of this type (`ADT^A01`) is answered."""
    level = options.ack
    if isinstance(level, str):
        return level
    return level.get(kind) or level.get(kind.partition("^")[0]) or level.get("otherwise", "stored")


def wanted(condition: str, *, good: bool) -> bool:
    """Whether an acknowledgement is asked for (HL7 table 0155)."""
    return condition == "AL" or (condition == "SU" and good) or (condition == "ER" and not good)


def problem(code: str | None, text: str | None, place: str | None) -> HL7Error:
    """The ERR segments of an AE: our own words, no data. What `validate` found has one for each finding."""
    error = HL7Error(
        text or "the message could not be processed",
        code=code or "",
        where=(place or "").rpartition(": ")[2],  # the HL7 position, when the step told one
        ack="AE",
        condition="207",
    )
    if code == "validate.failed":
        error.each = tuple(
            HL7Error(str(one), code=code, where=one.where, ack="AE", condition=one.condition)
            for one in findings.read(text or "")
        )
    return error
