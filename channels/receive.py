"""From bytes to a truthful ACK: peek, ordering key, duplicate check, C1, answer.

Guarantees: an answer leaves only after the commit that stores the message (C1); a message that is sent again
gets the answer that it got before and makes no second row; what cannot be read is stored as ERROR and answered
with AE or AR and an ERR segment; a batch is stored whole or not at all.

| arrives                                      | stored                | answered                              |
|----------------------------------------------|-----------------------|---------------------------------------|
| a readable message                           | RECEIVED              | AA (after C1)                         |
| the same sender, MSH-10 and bytes again      | nothing               | the stored ACK again                  |
| the same, and the stored ACK is not kept     | nothing               | a new ACK with the stored code        |
| the same MSH-10 with other bytes             | flagged, or ERROR     | AA, or AR 205 (`duplicates.other_bytes`) |
| bytes that are not HL7, a bad frame          | ERROR                 | AR or AE with ERR                     |
| nothing at all (an empty frame)              | nothing               | AR with ERR                           |
| what only carries messages (a notification)  | FILTERED, and each    | the worst of their answers            |
| FHS/BHS batch, several MSH in one frame      | each message          | one batch of ACKs, or an ACK for each |
| anything while the store cannot commit       | nothing               | AR 207: send again                    |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from channels.answers import Answers, Send, wanted
from channels.batches import BatchAnswer, Group, Silent, is_batch
from engine.clock import Micros
from engine.errors import HL7Error, IsthmusError
from engine.formats.base import Format
from engine.hl7 import batch
from engine.hl7.peek import Header
from engine.model import Carried, Incoming
from engine.security.keyring import Keyring
from engine.spec.options import ChannelOptions
from engine.states import MessageState
from engine.store import messages
from engine.store.groups import receive_all
from engine.store.writer import Writer

REUSED_ID = HL7Error(
    "this control id was used before for another message",
    code="duplicate.other_bytes",
    where="MSH-10",
    todo="Give every message its own MSH-10.",
    ack="AR",
    condition="205",
)
JUNK = HL7Error(
    "text that belongs to no message",
    code="batch.junk",
    where="MSH",
    todo="Each message of a batch begins with MSH.",
    ack="AR",
    condition="100",
)
OVERLOADED = HL7Error(
    "the engine has too much unfinished work",
    code="overload",
    todo="Send the message again later.",
    ack="AR",
    condition="207",
)


_DONE = MessageState.TRANSFORMED.value


@dataclass(slots=True)
class Taken:
    """One message between its bytes and its answer."""

    incoming: Incoming
    header: Header | None
    row: messages.NewMessage
    error: HL7Error | None
    result: messages.Received | None = None
    filtered: str = ""  # stored, and needs no routing because of this

    @property
    def fresh(self) -> bool:
        """A new message that is to be routed."""
        result = self.result
        new = result is not None and not result.duplicate_of and result.state == MessageState.RECEIVED
        return new and not self.filtered


class Intake:
    """The receiving side of a channel. `stored(taken list)` is told of every new RECEIVED message, in order."""

    def __init__(
        self,
        channel: str,
        options: ChannelOptions,
        form: Format,
        writer: Writer,
        keyring: Keyring,
        now: Callable[[], Micros],
        stored: Callable[[list[Taken]], None],
    ) -> None:
        self.channel = channel
        self.options = options
        self.format = form
        self.ordering_key = options.ordering_key or form.ordering_key
        self.writer = writer
        self.keyring = keyring
        self.now = now
        self.stored = stored
        self._batches = form.name == "hl7v2"  # MSH in a frame more than once, FHS, BHS
        self._rejects = options.duplicates.other_bytes == "reject"
        self.answers: Answers | None = None  # None: every ACK is known with C1
        self.application: Send | None = None  # where application ACKs go, when not to the same connection
        self.straight = False  # nothing is to be done: C1 is C2
        self.version = ""  # of the configuration
        self.refusing: HL7Error | None = None  # why nothing is taken (backlog, disk)
        self.received = self.refused = 0
        self._open: list[Taken] | None = None  # the group that the writer has not begun yet
        self._last_ack = 0

    def follow(self, old: Intake) -> None:
        """Go on where the intake of the old declaration stands. Who waits for a late answer of it still gets it."""
        self.received, self.refused, self.refusing = old.received, old.refused, old.refusing
        self._last_ack = old._last_ack
        if self.answers is not None and old.answers is not None:
            self.answers.waiting = old.answers.waiting

    def receive(self, incoming: Incoming) -> None:
        """Take one frame from the listener."""
        raw = incoming.raw
        if self.refusing is not None:
            self._refuse(incoming, self.refusing)
            return
        if incoming.carried is not None:
            self._receive_carried(incoming, incoming.carried)
            return
        if incoming.error is None and self._batches and is_batch(raw):
            self._receive_batch(incoming)
            return
        if incoming.error is None and not self._batches and len(parts := self.format.parts(raw)) > 1:
            group = Group(incoming, len(parts), self.format)
            self._queue(*(self._take(part, group.part(n, part), None) for n, part in enumerate(parts)))
            return
        taken = self._take(raw, incoming, incoming.error)
        if taken.error is None or raw.strip(b" \t\r\n"):
            self._queue(taken)
        else:  # nothing to store
            self.refused += 1
            incoming.answer(taken.row.ack)

    def _take(self, raw: bytes, incoming: Incoming, error: HL7Error | None) -> Taken:
        """Everything that the row and the answer need; no I/O."""
        header: Header | None = None
        try:
            header = self.format.peek(raw)
        except HL7Error as unreadable:
            error, header = error or unreadable, getattr(unreadable, "header", None)
        if header is None:
            row = messages.NewMessage(self.channel, raw, incoming.received_at, "", "", "", incoming.peer)
        else:
            mrn, visit, key, also = self.format.identify(raw, header, self.ordering_key)
            blind = self.keyring.blind
            row = messages.NewMessage(
                self.channel, raw, incoming.received_at, header.control_id, header.type, header.sender,
                incoming.peer, blind(f"key:{key}") if key else 0, (), mrn, visit,
            )  # fmt: skip
            if key and also:  # a merge belongs to every patient that it names
                row.also_keys = tuple(sorted({blind(f"key:{other}") for other in also} - {row.ordering_key}))
        if incoming.error is not None:
            row.framed = False
        if not row.control_id and incoming.reference:
            row.control_id = incoming.reference
        if error is not None:
            row.state = MessageState.ERROR.value
            row.error_code, row.error_text, row.error_place = error.code, error.what, error.where
            row.config_version = self.version or None
        elif self.straight:
            row.state, row.config_version = _DONE, self.version
        if error is not None or self.answers is None or self._known_at_once(header):
            code = error.ack if error else "AA"
            if self.answers is not None and self._accepts(header):
                code = f"C{code[1]}"
            row.ack, row.ack_code = self.acknowledge(header, code, error), code
        return Taken(incoming, header, row, error)

    def row(self, raw: bytes) -> messages.NewMessage:
        """What these bytes would be stored as: an edited copy of a message. Raises HL7Error when it is unreadable."""
        taken = self._take(raw, Incoming(raw, "", self.now()), None)
        if taken.error is not None:
            raise taken.error
        row = taken.row
        row.state, row.ack, row.ack_code, row.config_version = MessageState.RECEIVED.value, None, None, None
        return row

    def _accepts(self, header: Header | None) -> bool:
        """Enhanced mode: the first answer is an accept acknowledgement."""
        enhanced = self.answers is not None and self.answers.enhanced
        return enhanced and header is not None and bool(header.accept_ack or header.application_ack)

    def _known_at_once(self, header: Header | None) -> bool:
        """Whether the first answer can be given with C1."""
        assert self.answers is not None
        return header is None or self._accepts(header) or self.answers.level(header.type) == "stored"

    def acknowledge(self, header: Header | None, code: str, error: HL7Error | None) -> bytes:
        """An acknowledgement with a control id of its own."""
        at = self.now()
        self._last_ack = max(self._last_ack + 1, at)
        ack_id = f"I{self._last_ack:x}"
        return self.format.acknowledge(header, code, error, ack_id, at)

    # C1 ---------------------------------------------------------------------------------------------------

    def _queue(self, *taken: Taken) -> None:
        """Add to the group that the writer has not begun yet, or open the next one."""
        group = self._open
        if group is None:
            group = self._open = []
            self.writer.submit(partial(self._store, group), partial(self._done, group))
        group += taken

    def _store(self, group: list[Taken], tx: Any) -> None:
        """C1: all messages that came since the last group began, in one transaction. May run twice."""
        if self._open is group:
            self._open = None
        policy = self.options.duplicates
        window = policy.window * 1_000_000
        if not self._rejects:
            for filtered, alike in groupby(group, key=lambda one: one.filtered != ""):
                some = list(alike)
                found = receive_all(tx, [one.row for one in some], window=window)
                for one, result in zip(some, found, strict=True):
                    one.result = result
                    if filtered:
                        self._filter(tx, one, result)
            return
        for one in group:
            reuse, code = None, "CR" if self._accepts(one.header) else "AR"
            if one.header is not None and one.error is None:
                reuse = self.acknowledge(one.header, code, REUSED_ID)
            one.result = messages.receive(
                tx,
                one.row,
                window=window,
                on_reuse="reject" if reuse else "accept",
                reuse_ack=reuse,
                reuse_ack_code=code if reuse else None,
            )
            if one.filtered:
                self._filter(tx, one, one.result)

    def _filter(self, tx: Any, one: Taken, result: messages.Received) -> None:
        """What only carries messages goes no further, unless it came before."""
        if not result.duplicate_of:
            state, at = MessageState.FILTERED, one.row.received_at
            version = self.version or None
            messages.route(
                tx, messages.Routed(result.id, state, at, reason=one.filtered, config_version=version)
            )

    def _done(self, group: list[Taken], _: None, error: Exception | None) -> None:
        """C1 is committed, or has failed: only now anybody is answered."""
        if self._open is group:
            self._open = None
        if error is not None:
            for one in group:
                self._not_stored(one, error)
            return
        self.received += len(group)
        for one in group:
            self._answer(one)
        fresh = [one for one in group if one.fresh]
        if fresh:
            self.stored(fresh)

    def _answer(self, one: Taken) -> None:
        """The first answer, and who waits for another."""
        result, header, answers = one.result, one.header, self.answers
        assert result is not None
        if result.ack is None and result.ack_code is not None:
            result.ack = self._answer_again(header, result.ack_code)
        if answers is None or header is None:
            one.incoming.answer(result.ack)
            return
        message_id = result.duplicate_of or result.id
        refused = _refused(result)
        if self._accepts(header):
            accept, asked = result.ack, header.application_ack
            if result.duplicate_of and not refused:  # what is stored may be the application ACK by now
                accept = self.acknowledge(header, "CA", None)
            told = wanted(header.accept_ack, good=not refused)
            one.incoming.answer(accept if told else None)
            wish = wanted(asked, good=False) or (wanted(asked, good=True) and not refused)
            if wish and not (refused and told):
                answers.expect(message_id, header, self.application or one.incoming.push, asked)
        elif result.ack is not None and (
            refused or not result.duplicate_of or answers.level(header.type) == "stored"
        ):
            one.incoming.answer(result.ack)
            return
        else:
            answers.expect(message_id, header, one.incoming.answer)
        if result.duplicate_of or refused:
            answers.check(message_id)

    def _answer_again(self, header: Header | None, code: str) -> bytes:
        """A message whose first answer is not kept (`storage: metadata`, retention) is sent again: the same code."""
        refused = HL7Error(
            f"this message was answered {code} when it came first; the reason is not kept",
            code="duplicate.refused",
            todo="Correct it and send it under another MSH-10.",
            ack=code,
        )
        return self.acknowledge(header, code, None if code in ("AA", "CA") else refused)

    def _not_stored(self, one: Taken, error: Exception) -> None:
        code = error.code if isinstance(error, IsthmusError) else "store.failed"
        self._answer_refusal(
            one.incoming,
            one.header,
            HL7Error(
                "the message could not be stored",
                code=code,
                todo="Send it again later.",
                ack="AR",
                condition="207",
            ),
        )

    # What is not stored -----------------------------------------------------------------------------------

    def _refuse(self, incoming: Incoming, error: HL7Error) -> None:
        try:
            header: Header | None = self.format.peek(incoming.raw)
        except HL7Error as unreadable:
            header = getattr(unreadable, "header", None)
        self._answer_refusal(incoming, header, error)

    def _answer_refusal(self, incoming: Incoming, header: Header | None, error: HL7Error) -> None:
        self.refused += 1
        code = f"C{error.ack[1]}" if self._accepts(header) else error.ack
        incoming.answer(self.acknowledge(header, code, error))

    # Batches ----------------------------------------------------------------------------------------------

    def _receive_batch(self, incoming: Incoming) -> None:
        """Store every message of a batch in one transaction, and answer them together."""
        parts = batch.split(incoming.raw)
        pieces = [item for item in parts.items if item.kind in ("message", "junk")]
        answers = BatchAnswer(incoming, parts, len(pieces), self._batch_ack)
        group = [
            self._take(item.raw, answers.part(n, item.raw), JUNK if item.kind == "junk" else None)
            for n, item in enumerate(pieces)
        ]
        if answers.enveloped:
            group.insert(0, self._envelope(incoming, parts, len(pieces)))
            if not pieces:
                group[0].incoming = incoming
                group[0].row.ack = self._batch_ack(parts, [])
        self._queue(*group)

    def _envelope(self, incoming: Incoming, parts: batch.Batch, count: int) -> Taken:
        """The batch itself, byte for byte: kept beside its messages, and filtered at once."""
        header = parts.header("FHS") or parts.header("BHS")
        fields = header.split(header[3:4] or b"|")
        control_id = fields[10].strip().decode("latin-1") if len(fields) > 10 else ""
        reason = f"a batch of {count}; its messages follow"
        return self._beside(incoming, (header[:3] or b"BTS").decode("latin-1"), control_id, reason)

    def _beside(self, incoming: Incoming, kind: str, control_id: str, reason: str) -> Taken:
        """Bytes that are kept beside the messages in them, and filtered at once."""
        row = messages.NewMessage(self.channel, incoming.raw, incoming.received_at, peer=incoming.peer)
        row.type, row.control_id = kind, control_id
        taken = Taken(Silent(incoming), None, row, None)
        taken.filtered = reason
        return taken

    def _receive_carried(self, incoming: Incoming, carried: Carried) -> None:
        """Store what came and the messages in it in one transaction; the worst of their answers is the answer."""
        whole = self._beside(incoming, carried.type, carried.control_id, carried.reason)
        answers = Group(incoming, len(carried.messages), self.format)
        group = [whole]
        for number, (raw, control_id) in enumerate(carried.messages):
            group.append(self._take(raw, answers.part(number, raw, control_id), None))
        if not carried.messages:
            whole.incoming = incoming
            whole.row.ack, whole.row.ack_code = self.acknowledge(None, "AA", None), "AA"
        self._queue(*group)

    def _batch_ack(self, parts: batch.Batch, acks: list[bytes]) -> bytes:
        at = self.now()
        self._last_ack = max(self._last_ack + 1, at)
        return batch.acknowledge(parts, acks, ack_id=f"I{self._last_ack:x}", now=at)


def _refused(result: messages.Received) -> bool:
    """C1 has taken it as an ERROR, now or when it came first; what failed later was accepted."""
    first = not result.duplicate_of or result.ack_code in ("CR", "CE", "AR")
    return first and result.state == MessageState.ERROR
