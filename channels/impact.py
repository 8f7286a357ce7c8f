"""What an edited configuration would make of messages that came already, and where that differs from today.

Today is what the store says that became of them, or what another configuration makes of them. Nothing is stored or
sent. Guarantees: the edited channel's own steps run; each difference is counted in one group, with the ids of some
messages that show it; values are patient data and are only kept when `reveal` is set. Refuses nothing: a message
whose content is not kept, or that is not routed yet, is counted as such.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from channels.asking import Asking
from channels.build import Builder
from channels.expecting import decoded, is_operations
from channels.past import Past, known_before
from channels.pipeline import Pipeline
from engine.errors import HL7Error
from engine.model import Meta
from engine.spec.channel import Configuration
from engine.states import MessageState
from engine.store import deliveries, messages
from engine.store.seen import related
from engine.store.tx import Tx

EXAMPLES = 3  # message ids of a group
PAIRS = 10  # old and new values of a group
GONE = "(absent)"


class Sample(msgspec.Struct):
    """A message to look at; `raw` is None when its content is not kept."""

    meta: Meta
    raw: bytes | None


class Fate(msgspec.Struct):
    """What became of one message: its state and why, and what each destination gets."""

    state: str
    why: str = ""  # FILTERED: the filter; ERROR: code and place
    sent: dict[str, Any] = {}


class Group(msgspec.Struct):
    """One difference, and how many messages show it. `values` are old, new and how often."""

    kind: str
    what: str
    count: int = 0
    examples: list[int] = []
    values: list[tuple[Any, Any, int]] = []


class Impact(msgspec.Struct):
    """How messages come out otherwise. `unknown`: content not kept, or not routed yet."""

    messages: int = 0
    differ: int = 0
    unknown: int = 0
    groups: list[Group] = []


def stored(tx: Tx, channel: str, last: int) -> list[Sample]:
    """The last messages of a channel, oldest first."""
    rows = tx.rows(
        "SELECT id, channel, received_at, control_id, type, sender, peer FROM message"
        " WHERE channel = ? ORDER BY id DESC LIMIT ?",
        (channel, last),
    )
    return [Sample(Meta(*row), messages.raw(tx, row[0])) for row in reversed(list(rows))]


def past_of(tx: Tx, samples: list[Sample]) -> Past:
    """What the channel knew of resources before these messages; replays among them are known as such."""
    return Past(known_before(tx, samples[0].meta.id), partial(related, tx)) if samples else Past()


def given(pipeline: Pipeline, parts: list[bytes], at: int) -> list[Sample]:
    """Messages of files, numbered from 1; those that cannot be read have no content."""
    found = []
    for number, raw in enumerate(parts, 1):
        try:
            meta = pipeline.meta(raw, at, "file")
        except HL7Error:
            found.append(Sample(Meta(number, pipeline.channel, at), None))
            continue
        meta.id = number
        found.append(Sample(meta, raw))
    return found


class Stored:
    """What the store says that became of a message."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def fate(self, sample: Sample) -> Fate | None:
        """None when it is not routed, or its content is not kept."""
        number = sample.meta.id
        row = next(
            iter(
                self._tx.rows(
                    "SELECT state, reason, error_code, error_place FROM message WHERE id = ?", (number,)
                )
            ),
            None,
        )
        if row is None or row[0] == MessageState.RECEIVED:
            return None
        state, reason, code, place = row
        fate = Fate(state, _why(state, reason or "", code or "", place or ""))
        for (name,) in self._tx.rows(
            "SELECT destination FROM delivery WHERE message_id = ? ORDER BY slot", (number,)
        ):
            payload = deliveries.payload(self._tx, number, name)
            if payload is None:
                return None
            fate.sent[name] = decoded(payload)
        return fate


class Run:
    """What a configuration makes of a message."""

    def __init__(self, configuration: Configuration, channel: str, asking: Asking | None = None) -> None:
        builder = Builder(configuration)
        if asking is not None:
            builder = Builder(configuration, asking.reactor, asking.data_dir)
        self.pipeline = builder.pipeline(configuration.channels[channel])
        self._asking = asking
        if asking is not None:
            asking.join(self.pipeline)
        self.past = Past()  # `duplicate` filters know only the messages that are looked at

    def prepare(self, samples: list[Sample]) -> None:
        """Have the lookups of all samples answered at once. Raises LookupDown."""
        if self._asking is not None:
            self._asking.answer(
                self.pipeline,
                [(one.raw, one.meta) for one in samples if one.raw is not None],
                self.past.states,
            )

    def fate(self, sample: Sample) -> Fate | None:
        """None when there is no content."""
        if sample.raw is None:
            return None
        done = self.past.run(self.pipeline, sample.raw, sample.meta)
        sent = {name: decoded(payload) for name, payload in done.payloads}
        return Fate(done.state, _why(done.state, done.reason, done.code, done.place), sent)


def _why(state: str, reason: str, code: str, place: str) -> str:
    if state == MessageState.FILTERED:
        return reason.partition(":")[0]
    return f"{place}: {code}" if state == MessageState.ERROR else ""


def impact(samples: list[Sample], before: Stored | Run, after: Run, *, reveal: bool = False) -> Impact:
    """How `after` differs from `before` over the samples."""
    told = Impact()
    for run in (before, after):
        if isinstance(run, Run):
            run.prepare(samples)
    groups: dict[tuple[str, str], Group] = {}
    values: dict[tuple[str, str], Counter[tuple[str, str]]] = {}
    for sample in samples:
        told.messages += 1
        old, new = before.fate(sample), after.fate(sample)
        if old is None or new is None:
            told.unknown += 1
            continue
        found = list(differences(old, new))
        told.differ += bool(found)
        counted = set()
        for kind, what, one, other in found:
            group = groups.setdefault((kind, what), Group(kind, what))
            pair = (_told(one, reveal), _told(other, reveal))
            values.setdefault((kind, what), Counter())[pair] += 1
            if (kind, what) not in counted:
                counted.add((kind, what))
                group.count += 1
                group.examples += [sample.meta.id] if len(group.examples) < EXAMPLES else []
    for key, group in groups.items():
        if group.kind == "changed":
            group.values = [(*pair, count) for pair, count in values[key].most_common(PAIRS)]
    order = list(KINDS)
    told.groups = sorted(
        groups.values(), key=lambda group: (order.index(group.kind), -group.count, group.what)
    )
    return told


KINDS = {
    "new error": "would be in ERROR",
    "other error": "would be in another ERROR",
    "error gone": "would no longer be in ERROR",
    "newly filtered": "would be filtered",
    "filter gone": "would no longer be filtered",
    "other filter": "would be filtered by another filter",
    "operation new": "an operation more",
    "operation gone": "an operation less",
    "changed": "another value",
    "destination new": "would go to a destination more",
    "destination gone": "would no longer go to a destination",
}


def differences(old: Fate, new: Fate) -> Iterator[tuple[str, str, Any, Any]]:
    """Kind, what, and both values of every difference between two fates of a message."""
    error, filtered = MessageState.ERROR, MessageState.FILTERED
    if (old.state, old.why) != (new.state, new.why):
        if new.state == error:
            yield ("other error" if old.state == error else "new error"), new.why, None, None
        elif old.state == error:
            yield "error gone", old.why, None, None
        if new.state == filtered:
            yield ("other filter" if old.state == filtered else "newly filtered"), new.why, None, None
        elif old.state == filtered:
            yield "filter gone", old.why, None, None
    if new.state != MessageState.TRANSFORMED or old.state != MessageState.TRANSFORMED:
        return
    for name in old.sent:
        if name not in new.sent:
            yield "destination gone", name, None, None
    for name, payload in new.sent.items():
        if name not in old.sent:
            yield "destination new", name, None, None
        elif old.sent[name] != payload:
            yield from _payloads(name, old.sent[name], payload)


def _payloads(name: str, old: Any, new: Any) -> Iterator[tuple[str, str, Any, Any]]:
    before, after = _by_record(old), _by_record(new)
    if before is None or after is None:
        yield "changed", name, old, new
        return
    for key, operation in before.items():
        if key not in after:
            yield "operation gone", f"{name}: {key[0]} {key[1]}", None, None
            continue
        for field, one, other in _fields(operation, after[key]):
            yield "changed", f"{name}: {key[0]} {key[1]} {field}", one, other
    for key in after:
        if key not in before:
            yield "operation new", f"{name}: {key[0]} {key[1]}", None, None


def _by_record(payload: Any) -> dict[tuple[Any, ...], dict[str, Any]] | None:
    """Operations by verb, model and key, those of one record in their order; None when it holds none."""
    if not is_operations(payload):
        return None
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for operation in payload:
        number = 0
        key = (operation["op"], operation["model"], operation["key"], number)
        while key in found:
            number += 1
            key = (*key[:3], number)
        found[key] = operation
    return found


def _fields(old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    before = {**old.get("values", {}), **{name: value for name, value in old.items() if name != "values"}}
    after = {**new.get("values", {}), **{name: value for name, value in new.items() if name != "values"}}
    for field in dict.fromkeys([*before, *after]):
        if before.get(field, GONE) != after.get(field, GONE):
            yield field, before.get(field, GONE), after.get(field, GONE)


def _told(value: Any, reveal: bool) -> str:
    """A value for people; without `reveal` only whether there is one."""
    if value == GONE:
        return GONE
    if value is None:
        return "(empty)"
    if not reveal:
        return "a value"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
