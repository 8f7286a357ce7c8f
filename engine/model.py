"""The few shapes that every layer shares. No I/O, no Twisted, no database.

HL7 knows three values and they must survive to Odoo: ABSENT (leave alone), CLEAR (`""`, empty the field)
and a value. `msg[...]` gives `ABSENT` and `CLEAR` as empty strings that are told apart by identity, so that
every text expression works on them; canonical structs say `UNSET` and `None`; operations leave a key out
or say `null`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from engine.clock import Micros
from engine.errors import StepError


class _Marker(str):
    """An empty string that is known by identity."""

    __slots__ = ("label",)
    label: str

    def __repr__(self) -> str:
        return self.label


def _marker(label: str) -> str:
    marker = _Marker()
    marker.label = label
    return marker


ABSENT = _marker("ABSENT")
"""The field is not there: leave the target alone."""
CLEAR = _marker("CLEAR")
"""HL7 `""`: delete the value in the target (HL7 v2.5.1 chapter 2.5.3)."""


class Operation(msgspec.Struct, omit_defaults=True):
    """What a transformer asks of Odoo: one act on one record (DESIGN §6, §7).

    `key` names the record across systems (`patient/HOSP/1001`); the destination makes the external id of it.
    In `values` a missing name leaves the field alone and `None` clears it. A reference to another record is
    `{"key": ...}` (a record that Isthmus made), `{"xml_id": "base.us"}` or `{"find": {"code": "US"}}` (looked
    up on the field's model; `"otherwise": "leave" | "error"`); a many2many takes a list of them.
    """

    op: Literal["upsert", "write", "archive", "call", "merge"]
    model: str
    key: str
    values: dict[str, Any] = {}
    retired: list[str] = []  # merge: keys of the records that are merged into `key`
    method: str = ""  # call: the record method
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    unless: dict[str, Any] = {}  # call: done already when these fields have these values


class Meta(msgspec.Struct):
    """What is known of a message besides its bytes. Times are microseconds since the epoch, UTC."""

    id: int = 0
    channel: str = ""
    received_at: Micros = 0
    control_id: str = ""
    type: str = ""  # "ADT^A01"
    sender: str = ""  # MSH-3 and MSH-4: "APP|FACILITY"
    peer: str = ""
    previous: Any = None  # FHIR: the resource (as data) before this message, when it is known
    change: Literal["", "create", "update", "delete"] = ""  # FHIR: what the server did, when it said so
    resolve: Callable[[str], Any] | None = (
        None  # FHIR: the resource (as data) that a reference names, or None
    )
    last: Callable[[str], Any] | None = (
        None  # FHIR: the last version (as data) of `Type/id`, which was deleted, or None
    )


class Accessor(Protocol):
    """`msg[...]`: one way to read and change a message of any format by path."""

    def __getitem__(self, path: str) -> str: ...
    def __setitem__(self, path: str, value: str) -> None: ...
    def all(self, path: str) -> list[str]:
        """Every value that `path` names over all repetitions and segments, in order; absent ones left out."""

    def leaves(self) -> Iterator[tuple[str, str]]:
        """Every place that holds something: its path, as `msg[...]` takes it, and its value."""

    def __bytes__(self) -> bytes: ...


class Divided(StepError):
    """A `split` step ends the message: its parts, each with its control id, become messages of their own."""

    def __init__(self, parts: list[tuple[bytes, str]]) -> None:
        super().__init__(
            "a message is only split by the transformers of its channel",
            code="split.place",
            todo="move `split` out of the destination",
        )
        self.parts = parts


class Once(NamedTuple):
    """What a `duplicate` filter asks of the transaction that ends the message (C2): let it pass once."""

    digest: bytes  # of what must not come again
    window: Micros  # how long that is remembered
    label: str  # of the filter
    what: str  # for people: the paths that count


class Judgement:
    """What response steps make of an answer: the verdict on its delivery, and the messages that they pass on."""

    __slots__ = ("by", "code", "forwards", "place", "sent", "text")

    def __init__(self, sent: bool, code: str = "", text: str = "", place: str = "") -> None:
        self.sent = sent
        self.code = code  # of the error, "" when sent
        self.text = text  # for people; no patient data
        self.place = place
        self.by = ""  # the step that changed the verdict
        self.forwards: list[tuple[str, bytes]] = []  # channel, message


class Scope:
    """One message on its way through filters and transformers: all that these pure functions may touch.

    `events` are the canonical events (see transforms.canonical), made by `interpret` on first use, so after
    the transformers that ran before; `event` is the last and most specific one.
    """

    __slots__ = ("_events", "chosen", "interpret", "message", "msg", "once", "outcome", "text", "vars")

    def __init__(
        self, msg: Any, message: Meta, interpret: Callable[[Any, Meta], list[Any]] | None = None
    ) -> None:
        self.msg = msg
        self.message = message
        self.vars: dict[str, Any] = {}
        self.text: str | None = None  # what a `jinja` or `python` transformer rendered as the body to send
        self.chosen: frozenset[str] | None = None  # the destinations that a `route` step chose; None: all
        self.once: tuple[Once, ...] = ()
        self.outcome: Judgement | None = None  # of the delivery whose answer `msg` is, in response steps
        self.interpret = interpret
        self._events: list[Any] | None = None

    @property
    def events(self) -> list[Any]:
        """The canonical events of the message, in order."""
        if self._events is None:
            self._events = self.interpret(self.msg, self.message) if self.interpret else []
        return self._events

    @events.setter
    def events(self, events: list[Any] | None) -> None:
        self._events = events

    @property
    def event(self) -> Any:
        """The most specific canonical event, or None."""
        events = self.events
        return events[-1] if events else None

    def fork(self) -> Scope:
        """A scope for one destination: its own variables and text, the same message until it is changed."""
        twin = Scope(self.msg, self.message, self.interpret)
        twin.vars = dict(self.vars)
        twin.text = self.text
        twin._events = self._events
        return twin


Filter = Callable[[Scope], str | None]
"""Gives the reason why the message goes no further, or None to let it pass."""
Transformer = Callable[[Scope], None]
"""Changes the scope: the message, its variables, its text."""


class Carried(NamedTuple):
    """What bytes hold that are no message themselves: they are stored beside their messages, as FILTERED."""

    type: str
    control_id: str
    reason: str  # why they go no further
    messages: tuple[tuple[bytes, str], ...]  # each with the name it has when its bytes give no control id


class Incoming:
    """What a listener hands to its channel: bytes, where from, and a way to answer (exactly once).

    `error` is set when the bytes could not be framed or decoded as the protocol wants: they are stored as
    ERROR and answered with AR/AE. `answer(data)` may come at any later time, from the reactor thread; the
    listener puts answers into the order of arrival. `answer(None)` means: send nothing; a list means: several
    answers, each framed on its own.
    """

    __slots__ = ("error", "peer", "raw", "received_at")
    reference = ""  # names the message where it has no control id: the same again is the same message
    carried: Carried | None = None  # set when the bytes only carry messages

    def __init__(self, raw: bytes, peer: str, received_at: Micros, error: Any = None) -> None:
        self.raw = raw
        self.peer = peer
        self.received_at = received_at
        self.error = error  # an errors.HL7Error, or None

    def answer(self, data: bytes | list[bytes] | None) -> None:
        """Send `data` back to who sent the message."""
        raise NotImplementedError

    def push(self, data: bytes | None) -> None:
        """Send one more message to who sent this one, after its answer (the application ACK of enhanced mode).

        Dropped when the connection is gone, or where the protocol has no way to do so.
        """


class Delivery:
    """One message on its way to one destination, as a destination sees it."""

    __slots__ = ("attempts", "destination", "message_id", "next_at", "ordering_keys", "payload")

    def __init__(
        self,
        message_id: int,
        destination: str,
        ordering_keys: tuple[int, ...],
        payload: bytes,
        attempts: int = 0,
        next_at: Micros = 0,
    ) -> None:
        self.message_id = message_id
        self.destination = destination
        self.ordering_keys = ordering_keys
        self.payload = payload  # what `render` made at C2; stored, and sent as it is on every attempt
        self.attempts = attempts
        self.next_at = next_at


class Outcome(msgspec.Struct):
    """What a destination says of one delivery: see `states.Result`. C3 stores it."""

    message_id: int
    result: str
    code: str = ""  # stable error code, "" when sent
    text: str = ""  # for people; no patient data
    place: str = ""  # field or operation that the error is about; part of the cause fingerprint
    record: str = ""  # "res.partner,12": what was touched, last operation first
    request: bytes = b""  # what was sent for this delivery, as JSON
    response: bytes = b""  # what was answered for it
