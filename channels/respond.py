"""The response steps at run time: what became PENDING with the first C3 is ended by the second.

Guarantees: the steps run on the stored exchange, so a restart runs them on the same bytes; what they pass on is made
in the transaction that ends the delivery; nothing is sent here, ever. Until then the delivery keeps its place in its
lanes.

| what happens                              | then                                                              |
|-------------------------------------------|-------------------------------------------------------------------|
| killed between the two C3                 | found PENDING at the start: the steps run, nothing is sent again  |
| discarded meanwhile                       | the second C3 changes nothing, nothing is passed on               |
| the answer cannot be read from the store  | ERROR `response.unreadable`; busy or failing: tried again         |
| a step fails, loops, or eats memory       | ERROR at the step; a resend makes it PENDING again                |
| a channel to pass on to does not run      | as a step that fails                                              |
| what the steps made cannot be stored      | ERROR `deliver.refused`; a resend runs the steps again            |
| there are no steps any more (reload)      | the destination's own verdict                                     |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from channels.guard import Guard
from channels.lanes import Entry
from channels.response import Response, broken, kept
from engine.errors import StepError, StepTimeout
from engine.model import Judgement, Meta, Outcome
from engine.states import DeliveryState, Result
from engine.store.deliveries import Delivered
from engine.store.messages import NewMessage
from engine.store.responses import Answered, respond_all
from engine.store.sqlite import momentary

if TYPE_CHECKING:
    from channels.deliver import Sender

log = structlog.get_logger()

SLICE = 32  # answers in one turn of the reactor
READ_AGAIN = 1.0  # seconds, when the store cannot be read
UNREADABLE = StepError(
    "the answer cannot be read from the store",
    code="response.unreadable",
    todo="discard the delivery, or replay the message",
)

Read = Callable[[int, str], Answered | None]
Row = Callable[[str, bytes, Meta], NewMessage]
"""`row(channel, message, of whom it is the answer)`: what is stored there. Raises IsthmusError."""


class Responder:
    """The answers of one sender that wait for their steps."""

    def __init__(
        self, sender: Sender, read: Read, row: Row, guard: Guard, arrived: Callable[[list[int]], None]
    ) -> None:
        self.sender = sender
        self.read = read
        self.row = row
        self.guard = guard
        self.arrived = arrived
        self.response: Response | None = None
        self.waiting: deque[Entry] = deque()
        self.storing = 0  # transactions that are not durable yet
        self._scheduled: Any = None

    def wants(self, outcome: Outcome) -> bool:
        """Whether steps must look at this outcome before the delivery ends."""
        final = outcome.result in (Result.SENT, Result.PERMANENT)
        return final and bool(outcome.response) and self.response is not None

    def add(self, entry: Entry) -> None:
        """This delivery is PENDING."""
        self.waiting.append(entry)
        self.wake()

    def wake(self) -> None:
        """Go on in the next turn of the reactor."""
        if self.waiting and self._scheduled is None and not self.sender.resting:
            self._scheduled = self.sender.clock.callLater(0, self._pump)

    def _pump(self) -> None:
        self._scheduled = None
        if self.sender.resting:
            return
        done: list[tuple[Entry, Delivered]] = []
        batch: list[Entry] = []
        try:
            with self.guard.bounded():
                while self.waiting and len(batch) < SLICE:
                    entry = self.waiting.popleft()
                    if self.sender.lanes.find(entry.id, self.sender) is not entry or not entry.pending:
                        continue  # discarded meanwhile
                    batch.append(entry)
                    made = self._end(entry)
                    if made is not None:
                        done.append((entry, made))
        except (Exception, StepTimeout) as error:  # an interruption that came between two answers
            log.error("respond.interrupted", error=type(error).__name__)
            ended = {id(entry) for entry, _ in done}
            self._again([entry for entry in batch if id(entry) not in ended])
        if done:
            self._commit(done)
        self.wake()

    def _end(self, entry: Entry) -> Delivered | None:
        """What becomes of one delivery; None: tried again, or gone."""
        sender = self.sender
        try:
            answer = self.read(entry.id, sender.name)
        except Exception as error:
            if momentary(error):
                self._again([entry])
                return None
            answer = Answered(Meta(id=entry.id, channel=sender.channel), b"", attempts=entry.attempts)
            return self._change(entry, answer, broken(answer, UNREADABLE, "response"))
        if answer is None:
            sender.lanes.remove(entry)
            return None
        if self.response is None:
            return self._change(entry, answer, kept(answer))
        if not answer.response:
            return self._change(entry, answer, broken(answer, UNREADABLE, "response"))
        self.guard.arm()
        try:
            judged = self.response.run(answer)
            rows = [self.row(name, raw, answer.meta) for name, raw in judged.forwards]
        except (Exception, StepTimeout) as error:
            judged, rows = broken(answer, error, "response forward"), []
        finally:
            self.guard.disarm()
        return self._change(entry, answer, judged, rows)

    def _change(
        self, entry: Entry, answer: Answered, judged: Judgement, forwards: Sequence[NewMessage] = ()
    ) -> Delivered:
        place = judged.place or (f"destinations.{self.sender.name}.{judged.by}" if judged.by else "")
        return Delivered(
            message_id=entry.id,
            destination=self.sender.name,
            state=DeliveryState.SENT if judged.sent else DeliveryState.ERROR,
            at=self.sender.now(),
            attempts=answer.attempts,
            error_code=None if judged.sent else judged.code,
            error_text=None if judged.sent else judged.text,
            error_place=None if judged.sent else place or None,
            record=answer.record or None,
            note=f"{judged.by}: counts as sent" if judged.sent and judged.by else None,
            forwards=list(forwards),
        )

    def _again(self, entries: list[Entry]) -> None:
        """Those wait a moment."""

        def back() -> None:
            self.waiting.extend(entries)
            self.wake()

        self.sender.clock.callLater(READ_AGAIN, back)

    # The second C3 ----------------------------------------------------------------------------------------

    def _commit(self, done: list[tuple[Entry, Delivered]]) -> None:
        for entry, change in done:
            entry.since = change.at
        self.storing += 1
        self.sender.commit(done, respond_all, self._stored, place="response")

    def _stored(self, _: int, made: list[int]) -> None:
        self.storing -= 1
        if made:
            self.arrived(made)
