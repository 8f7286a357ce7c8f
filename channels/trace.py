"""What is told of one message on its way through a channel, as plain data: for the terminal, the console, a program.

Guarantees: nothing but texts, numbers, lists and mappings; a value of the message is None when it is absent and two
quotes when it is cleared. `channels.tracer` makes it. Refuses nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.model import ABSENT, CLEAR
from engine.states import MessageState


class Place(msgspec.Struct):
    """A place of the message: its path, what HL7 calls it ("" elsewhere), and what stands there. None is absent,
    `""` in two quotes is cleared."""

    path: str
    name: str = ""
    value: Any = None


class Changed(msgspec.Struct):
    """A place or a variable that a step gave another value."""

    path: str
    name: str = ""
    old: Any = None
    new: Any = None


class Row(msgspec.Struct):
    """A code that was looked up: in which table, what it gave, and where that row is written ("": no row fits)."""

    table: str
    code: str
    value: Any
    where: str = ""


class Step(msgspec.Struct):
    """What one filter or transformer did. `outcome`: passed, filtered, changed, unchanged or error."""

    label: str
    where: str
    outcome: str
    reason: str = ""
    saw: list[Place] = []
    changed: list[Changed] = []
    rows: list[Row] = []


class Value(msgspec.Struct):
    """One value that came out, and where it is from.

    `where` and `text` are the leaf of the template; `read` is what that leaf read; `sources` are the places of
    the message, and `rows` the rows of tables, without which the value would be another.
    """

    field: str
    value: Any
    where: str = ""
    text: str = ""
    read: list[Place] = []
    sources: list[Place] = []
    rows: list[Row] = []


class Operation(msgspec.Struct):
    """One operation. `because`: the places that decide whether it is there at all."""

    op: str
    model: str
    key: str
    where: str
    values: list[Value]
    because: list[Place]


class Passed(msgspec.Struct):
    """A message that an answer gives another channel."""

    channel: str
    message: Any


class Reply(msgspec.Struct):
    """What becomes of a delivery that is answered so. QUEUED: it is tried again, and no response step runs."""

    state: str
    code: str = ""
    text: str = ""
    place: str = ""
    forwarded: list[Passed] = []
    steps: list[Step] = []


class Destination(msgspec.Struct):
    """What goes to one destination: its operations, or another payload; or why nothing does. `reply`: of the answer
    that is tried with it."""

    name: str
    where: str
    steps: list[Step] = []
    operations: list[Operation] = []
    payload: str = ""
    skipped: str = ""
    reply: Reply | None = None


class Event(msgspec.Struct):
    """One canonical event with its values."""

    type: str
    subject: str
    values: list[Value]


class Trace(msgspec.Struct):
    """Everything about one message. `because`: the places that decide its state.

    `partial`: the message has so many places that not all were tried; sources may be missing.
    """

    channel: str
    type: str = "?"
    control_id: str = ""
    state: str = MessageState.ERROR
    why: str = ""
    because: list[Place] = []
    steps: list[Step] = []
    variables: list[Value] = []
    events: list[Event] = []
    destinations: list[Destination] = []
    partial: bool = False
    answers: list[str] = []  # the ACK, and in enhanced mode the later application ACK


def shown(value: Any) -> Any:
    """A value of a message as JSON: absent is None, cleared is two quotes."""
    if isinstance(value, str):
        return None if value is ABSENT or (not value and value is not CLEAR) else str(value) or '""'
    if value is CLEAR or value is msgspec.UNSET:
        return None
    return msgspec.to_builtins(value, enc_hook=str)


def path_text(path: tuple[Any, ...]) -> str:
    """`("partner_ids", 0, "key")` as `partner_ids[0].key`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
