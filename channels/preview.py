"""What a replay or resend would change, message by message and record by record, before it is done.

Guarantees: a replay is rendered by the very pipeline that would run it, a resend is the stored payload; both are
compared with what stands in the destination now, one message after the other, so that what an earlier one would
write counts as the old value of a later one. Nothing is stored and nothing is written anywhere.
Refuses nothing: a message that cannot be planned says why. A destination that cannot be asked (unreachable, no
right) fails the whole preview with its own error.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from channels.build import Builder
from channels.once import decide
from channels.past import Read
from channels.pipeline import Pipeline
from channels.states import States
from engine.errors import DeliveryError, HL7Error
from engine.model import Meta
from engine.spec.channel import Configuration
from engine.states import MessageState, Result
from engine.store import deliveries, messages, operate, snapshots
from engine.store.seen import Seen, related
from engine.store.tx import Tx

NO_PLAN = "this destination cannot tell beforehand what it would change"


class Effect(msgspec.Struct):
    """What one message would do to one destination. `destination` is "" when it gets nowhere.

    `state`: the state that a replay would give the message, or QUEUED for a resend; `why` explains FILTERED,
    ERROR and an empty list of changes. `changes` are engine.change.Change: they hold patient data.
    """

    message_id: int
    channel: str
    destination: str
    state: str
    why: str = ""
    changes: list[Any] = []


class Previewer:
    """Looks at stored messages through the channels of a configuration."""

    def __init__(
        self,
        configuration: Configuration,
        data_dir: Path,
        reactor: Any,
        tx: Tx | None = None,
        *,
        brief: bool = False,
        read: Read = lambda *_: None,
    ) -> None:
        """With `brief` only the channel's own steps are looked at: no destination is asked. `tx` reads the store
        that the messages are in; of others, `read` tells the states of resources before them."""
        self._brief = brief
        self._builder = Builder(configuration, reactor, data_dir)
        self._reactor = reactor
        self._specs = configuration.channels
        self._pipelines: dict[str, Pipeline] = {}
        self._planners: dict[tuple[str, str], Any] = {}
        self._tx = tx
        self._states = States(read, lambda *_: False)
        if tx is not None:
            self._states = States(partial(snapshots.get, tx), partial(related, tx))

    async def preview(
        self, verb: str, ids: Sequence[int], destination: str | None = None, **only: str | None
    ) -> list[Effect]:
        """The effects in the order in which they would happen. Arguments as of the act (engine.store.operate)."""
        assert self._tx is not None
        effects: list[Effect] = []
        if verb == "replay":
            for message_id in sorted(set(ids)):
                effects += await self._replay(self._tx, message_id)
            return effects
        for message_id, name, channel, _, _ in operate.chosen(
            self._tx, ids, operate.RESENDABLE, destination, **only
        ):
            payload = deliveries.payload(self._tx, message_id, name)
            effect = Effect(message_id, channel, name, "QUEUED")
            if operate.answered(self._tx, message_id, name):
                effect.state, effect.why = "PENDING", "it was sent: only its response steps run again"
            elif payload is None:
                effect.why = "its content is not kept, so it cannot be sent again"
            else:
                await self._plan(effect, payload)
            effects.append(effect)
        return effects

    async def _replay(self, tx: Tx, message_id: int) -> list[Effect]:
        rows = tx.rows(
            "SELECT id, channel, received_at, control_id, type, sender, peer FROM message WHERE id = ?",
            (message_id,),
        )
        if not rows:
            return []
        meta = Meta(*rows[0])
        content = messages.raw(tx, message_id)
        if content is None:
            why = "its content is not kept, so it cannot be replayed"
            return [Effect(message_id, meta.channel, "", MessageState.ERROR, why)]
        return await self.message(content, meta)

    async def edited(self, raw: bytes, old: Meta) -> list[Effect]:
        """The effects of an edited copy of a stored message."""
        pipeline = self._pipeline(old.channel)
        try:
            new = pipeline.meta(raw, old.received_at, old.peer) if pipeline else old
        except HL7Error as error:
            why = f"{error} [{error.code}]"
            return [Effect(old.id, old.channel, "", MessageState.ERROR, why)]
        return await self.message(
            raw, Meta(old.id, old.channel, old.received_at, new.control_id, new.type, new.sender, old.peer)
        )

    async def message(self, raw: bytes, meta: Meta) -> list[Effect]:
        """The effects of one message on its way through today's channel."""
        nowhere = Effect(meta.id, meta.channel, "", MessageState.ERROR)
        pipeline = self._pipeline(meta.channel)
        if pipeline is None:
            nowhere.why = "its channel is not in this configuration"
            return [nowhere]
        run = self._states.alone(pipeline)
        rendered = await pipeline.fetched(raw, meta, self._reactor.seconds(), run)
        if self._tx is not None:
            rendered = decide(rendered, Seen(self._tx, meta), noting=False)
        if not rendered.payloads:
            nowhere.state = rendered.state
            nowhere.why = rendered.reason or (
                f"{rendered.place}: {rendered.text} [{rendered.code}]" if rendered.code else "no destination"
            )
            return [nowhere]
        effects = []
        for name, payload in rendered.payloads:
            effects.append(Effect(meta.id, meta.channel, name, rendered.state))
            await self._plan(effects[-1], payload)
        return effects

    async def _plan(self, effect: Effect, payload: bytes) -> None:
        if self._brief:
            return
        planner = self._planner(effect.channel, effect.destination)
        if planner is None:
            effect.why = NO_PLAN
            return
        try:
            effect.changes = await planner.plan(msgspec.json.decode(payload, type=planner.content))
        except DeliveryError as error:
            if error.result != Result.PERMANENT:
                raise
            effect.why = f"it would fail: {error} [{error.code}]"
        except msgspec.DecodeError:
            effect.why = NO_PLAN
        else:
            effect.why = "" if effect.changes else "nothing to do"

    def _pipeline(self, channel: str) -> Pipeline | None:
        if channel not in self._pipelines and channel in self._specs:
            made = self._pipelines[channel] = self._builder.pipeline(self._specs[channel])
            for lookup in made.lookups:
                lookup.answers = {}  # each value is asked for once a preview
        return self._pipelines.get(channel)

    def _planner(self, channel: str, destination: str) -> Any:
        """What plans for a destination, the same for all messages; None when nothing does."""
        key = (channel, destination)
        if key not in self._planners:
            pipeline = self._pipeline(channel)
            found = (
                [route.destination for route in pipeline.routes if route.name == destination]
                if pipeline
                else []
            )
            make = getattr(found[0], "planner", None) if found else None
            self._planners[key] = make() if make else None
        return self._planners[key]
