"""States of FHIR resources in order: what was before a message, and which messages come too late.

A server tells states, late, twice and out of order. Each is compared with the last one that this channel worked on:

| the message tells                               | known               | then                                        |
|--------------------------------------------------|---------------------|---------------------------------------------|
| a resource                                       | nothing             | it is new                                   |
| a later version                                  | an earlier one      | what happened is the step between them      |
| the same version                                 | the same            | FILTERED; a replay of it: as if it were new |
| an earlier version (number, else lastUpdated)    | a later one         | FILTERED, superseded                        |
| a resource that was deleted                      | its deletion        | new if the server has it, else superseded   |
| its deletion                                     | its deletion        | FILTERED; a replay of it: again             |

With a `connection` the server is asked where the order is in doubt: of a version that only its time makes older, and
of what was deleted. What the server has instead follows as a message of its own.

Guarantees: states are read as the messages before left them, also those whose C2 is not committed yet; what ended in
ERROR tells nothing, so its replay is a change. A store that cannot be read for a moment is raised. Refuses nothing.
Source: FHIR R4, Resource.meta.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from msgspec.structs import replace

from channels.notes import Notes
from channels.pipeline import Pipeline, Rendered, Run, failed
from engine.errors import IsthmusError, StepTimeout
from engine.fhir.moment import updated
from engine.fhir.notification import note, noted
from engine.formats import tree
from engine.model import Meta
from engine.spec.lookups import Wanted
from engine.states import MessageState
from engine.store.snapshots import Snapshot
from engine.store.sqlite import momentary

Key = tuple[str, str]
"""Channel and `Type/id`."""
_NUMBER = re.compile(r"[0-9]{1,64}")  # a versionId has 64 characters at most


class States:
    """Of the channels of one router. `read` gives what the store has, `related` whether two messages are replays."""

    def __init__(
        self, read: Callable[[str, str], Snapshot | None], related: Callable[[int, int], bool]
    ) -> None:
        self._read = read
        self._related = related
        self._under_way: dict[Key, Snapshot] = {}  # C2 not committed
        self._waiting: set[Key] = set()  # a message of it waits for what it wants

    def begin(self) -> None:
        """The messages of a batch that are not done are run, in order."""
        self._waiting.clear()

    def fork(self) -> States:
        """The same states; what is run on either is not seen by the other."""
        twin = States(self._read, self._related)
        twin._under_way = dict(self._under_way)
        return twin

    def alone(self, pipeline: Pipeline, look: Callable[[Meta], Any] = lambda meta: meta) -> Run:
        """`run` for one message after the other: none waits. `look`: see channels.past."""

        def run(raw: bytes, meta: Meta) -> Rendered:
            self.begin()
            done = self.run(pipeline, raw, meta, look)
            assert done is not None, "nothing waits"
            return done

        return run

    def run(
        self, pipeline: Pipeline, raw: bytes, meta: Meta, look: Callable[[Meta], Any] = lambda meta: meta
    ) -> Rendered | None:
        """What becomes of a message; None: it waits for the one before it of its resource. Raises Wanted.

        What the server refuses to tell of its resource is the error of the message.
        """
        told = told_by(raw, meta) if pipeline.states else None
        if told is None:
            return pipeline.run(raw, look(meta))
        if (meta.channel, told.reference) in self._waiting:
            return None
        try:
            return self._run(pipeline, raw, meta, told, look)
        except Wanted:
            self._waiting.add((meta.channel, told.reference))
            raise
        except (Exception, StepTimeout) as error:
            if momentary(error):
                raise  # the store, not the message: it is run again
            return failed(error, "read")

    def _run(
        self, pipeline: Pipeline, raw: bytes, meta: Meta, told: Snapshot, look: Callable[[Meta], Any]
    ) -> Rendered:
        known = self._under_way.get((meta.channel, told.reference)) or self._read(
            meta.channel, told.reference
        )
        notes = pipeline.notes
        if told.deleted and notes is not None and notes.now(told.reference, sure=True) is not None:
            return pipeline.run(raw, look(meta))  # it is there: that follows
        again = known is not None and self._related(known.message_id, meta.id)
        if known is not None:
            stopped = self._too_late(told, known, notes, meta.channel, again)
            if stopped is not None:
                reason, instead = stopped
                return pipeline.followed(reason, [(instead, "")] if instead else [])
        before = known if known is not None and not known.deleted and not again else None
        if before is not None:
            data = orjson.loads(before.data) if before.data else None
            meta = replace(meta, previous=data, change=meta.change or ("" if data else "update"))
        rendered = pipeline.run(raw, look(meta))
        if rendered.state != MessageState.ERROR and not rendered.parts:
            if told.deleted and known is not None:
                told.version, told.updated_at = known.version, known.updated_at
            rendered.snapshot = self._under_way[meta.channel, told.reference] = told
        return rendered

    def stored(self, channel: str, told: Snapshot | None) -> None:
        """C2 is committed, or the message tells nothing after all: the store knows it better."""
        if told is not None and self._under_way.get((channel, told.reference)) is told:
            del self._under_way[channel, told.reference]

    def forget(self) -> None:
        """Nothing is under way: everything comes again from the store."""
        self._under_way.clear()

    def _too_late(
        self, told: Snapshot, known: Snapshot, notes: Notes | None, channel: str, again: bool
    ) -> tuple[str, bytes] | None:
        """Why a message goes no further, and what follows instead; None when it goes on."""
        came = f"came with message {known.message_id}"
        if told.deleted:
            return (f"the same deletion {came}", b"") if known.deleted and not again else None
        if told.version and told.version == known.version and not known.deleted:
            return None if again else (f"the same version {came}", b"")
        if not known.deleted and not _earlier(told, known):
            return None
        late = f"superseded: {'its deletion' if known.deleted else 'a later version'} {came}"
        if notes is None:
            return (late, b"") if _earlier(told, known) or told.version == known.version != "" else None
        if not known.deleted and _NUMBER.fullmatch(told.version) and _NUMBER.fullmatch(known.version):
            return late, b""
        found = notes.now(told.reference, sure=known.deleted)
        if found is None:
            return late, b"" if known.deleted else note(told.reference, "deleted")
        version = _version(found)
        if version == told.version:
            return None
        if (version == known.version and not known.deleted) or notes.own(found, channel):
            return late, b""
        return f"{late}; what the server has now follows", found


def told_by(raw: bytes, meta: Meta) -> Snapshot | None:
    """What a message tells of one resource; None of a Bundle, of what is only named, and of what cannot be read."""
    if meta.type.endswith(".unread") or meta.type == "Bundle":
        return None
    try:
        data = tree.load(raw, "FHIR JSON")
    except IsthmusError:
        return None
    if not isinstance(data, dict):
        return None
    told, references = noted(data)
    if told:
        return Snapshot(references[0], deleted=True, message_id=meta.id) if told == "deleted" else None
    kind, id_ = data.get("resourceType"), data.get("id")
    if not isinstance(kind, str) or not isinstance(id_, str) or not id_ or kind == "Bundle":
        return None
    found = data.get("meta")
    said: dict[str, Any] = found if isinstance(found, dict) else {}
    version, at = said.get("versionId"), updated(data)
    return Snapshot(
        f"{kind}/{id_}", version if isinstance(version, str) else "",
        round(at.timestamp() * 1_000_000) if at is not None else 0, False, raw, meta.id,
    )  # fmt: skip


def _earlier(told: Snapshot, known: Snapshot) -> bool:
    """Whether one state is older than another. Numbers count unless the time says otherwise: a server was restored."""
    sooner = bool(told.updated_at and known.updated_at) and told.updated_at < known.updated_at
    if _NUMBER.fullmatch(told.version) and _NUMBER.fullmatch(known.version):
        later = bool(told.updated_at and known.updated_at) and told.updated_at > known.updated_at
        return int(told.version) < int(known.version) and not later
    return sooner


def _version(raw: bytes) -> str:
    found = orjson.loads(raw).get("meta")
    version = found.get("versionId") if isinstance(found, dict) else ""
    return version if isinstance(version, str) else ""
