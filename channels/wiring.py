"""Puts running channels together: order groups with their router, lanes and senders; and changes them in place.

Guarantees: channels whose messages are kept in order with each other share a router, and what goes to one connection
from a channel or from them shares lanes, the destinations of a message in the order of the file; `install` changes
everything in one turn of the reactor, so no message meets half of it; what a group had in memory is a cache, and
one that is put together anew reads it again from the store, in order.
Refuses nothing: what can fail has been built before (channels.build).

| changes in a group                                  | what is kept                                           |
|-----------------------------------------------------|--------------------------------------------------------|
| steps, templates, tables, options of the channel     | all but the pipeline (and the intake, for options)     |
| settings of a destination                            | its sender, lanes, breaker unless `retry` changed      |
| lanes, on_error, order_with, destinations by name    | the channels and their ports; the rest is made anew    |
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from channels.answers import Answers, sender_to
from channels.arrived import Arrived
from channels.backlog import Backlog
from channels.channel import Channel
from channels.deliver import Sender
from channels.guard import Guard
from channels.lanes import Lanes
from channels.pipeline import Pipeline, Rendered
from channels.receive import Intake
from channels.rekeying import way
from channels.respond import Responder
from channels.route import CAREFUL, Router
from channels.states import States
from engine.clock import Micros
from engine.errors import StepError
from engine.model import Meta
from engine.security.keyring import Keyring
from engine.spec.channel import ChannelSpec, DestinationSpec
from engine.store import columns, deliveries, messages, rekey, servers, snapshots
from engine.store.responses import Answered, answered
from engine.store.seen import related
from engine.store.stale import Order, keep_order
from engine.store.standing import standing, unfinished
from engine.store.store import Store

Key = tuple[str, str]
"""Channel and destination."""


@dataclass
class Group:
    """Channels whose messages are kept in order with each other."""

    shape: Any
    router: Router
    senders: dict[Key, Sender] = field(default_factory=dict)
    backlogs: dict[Key, Backlog] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Its channels."""
        return list(self.router.pipelines)

    def hold(self, held: bool) -> None:
        """Begin nothing more; what is on its way finishes. Or go on."""
        self.router.hold(held)
        for sender in self.senders.values():
            sender.hold(held)
        if not held:
            self.begin()

    def begin(self) -> None:
        """Route and deliver what the store has."""
        for backlog in set(self.backlogs.values()):
            backlog.fill()
        self.router.wake()

    @property
    def idle(self) -> bool:
        """Nothing is on its way: every message is in the store as it will be found there."""
        return self.router.idle and all(sender.idle for sender in self.senders.values())


class Wiring:
    """All channels of an engine. `channels` and `backlogs` are changed in place: others hold them."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        reactor: Any,
        now: Callable[[], Micros],
        rng: random.Random,
        guard: Guard,
    ) -> None:
        self.store = store
        self.keyring = keyring
        self.arrived: Callable[[list[int]], None] = lambda ids: None  # told of the parts of a message
        self.reactor = reactor
        self.now = now
        self.rng = rng
        self.guard = guard
        self.channels: dict[str, Channel] = {}
        self.backlogs: dict[Key, Backlog] = {}
        self.groups: list[Group] = []

    # Making -----------------------------------------------------------------------------------------------

    def group(
        self, specs: list[ChannelSpec], pipelines: Mapping[str, Pipeline], *, careful: int = CAREFUL
    ) -> Group:
        """A group that does nothing yet."""
        names = [spec.name for spec in specs]
        router = Router(
            {name: pipelines[name] for name in names},
            self.store.writer,
            self.reactor,
            self.now,
            partial(self._unrouted, names),
            self._routed,
            self.guard,
            States(partial(snapshots.get, self.store.reader), partial(related, self.store.reader)),
            careful=careful,
        )
        made = Group(shape(specs), router)
        shared: dict[str, Backlog] = {}
        for spec in specs:
            for item, route in zip(spec.destinations, pipelines[spec.name].routes, strict=True):
                scope = scope_of(item)
                backlog = shared.get(scope) if scope else None
                if backlog is None:
                    backlog = Backlog(Lanes(), partial(self._standing, []), self.reactor)
                    backlog.read = partial(self._standing, backlog.senders)
                    if scope:
                        shared[scope] = backlog
                sender = Sender(
                    spec.name,
                    item.name,
                    route.destination,
                    item.options,
                    backlog.lanes,
                    self.store.writer,
                    self.reactor,
                    self.now,
                    self._payload,
                    self.rng,
                )
                sender.responder = Responder(
                    sender, self._answered, self._passed_on, self.guard, self._forwarded
                )
                sender.owned = self.store.owned
                backlog.join(sender, spec.options.lanes)
                made.backlogs[spec.name, item.name] = backlog
                made.senders[spec.name, item.name] = sender
        return made

    def fresh(
        self, groups: list[Group], specs: list[ChannelSpec], listeners: Mapping[str, Any]
    ) -> dict[str, Channel]:
        """The channels of `specs` that there are not yet; their ports are closed."""
        homes = {name: group for group in groups for name in group.names}
        return {
            spec.name: self._channel(spec, listeners[spec.name], homes[spec.name])
            for spec in specs
            if spec.name not in self.channels
        }

    def _channel(self, spec: ChannelSpec, listener: Any, group: Group) -> Channel:
        channel = Channel(
            spec, listener, self._intake(spec, group.router.pipelines[spec.name]), group.router, []
        )
        known = [(spec.name, item.name) for item in spec.destinations]
        channel.reader = self.store.reader
        channel.open = unfinished(channel.reader, spec.name, known)
        return channel

    def _intake(self, spec: ChannelSpec, pipeline: Pipeline) -> Intake:
        options = spec.options
        intake = Intake(
            spec.name, options, pipeline.format, self.store.writer, self.keyring, self.now, lambda taken: None
        )
        intake.version = pipeline.version
        if options.ack != "stored" or options.ack_mode == "enhanced":
            intake.answers = self._answers(intake)
            if options.ack_to:
                intake.application = sender_to(options.ack_to, self.reactor, spec.name)
        else:
            intake.straight = pipeline.empty
        return intake

    def _answers(self, intake: Intake) -> Answers:
        reader = self.store.reader
        return Answers(
            intake.channel, intake.options, self.store.writer, reader, self.reactor, intake.acknowledge
        )

    # Changing ---------------------------------------------------------------------------------------------

    def install(
        self,
        groups: list[Group],
        specs: list[ChannelSpec],
        pipelines: Mapping[str, Pipeline],
        fresh: Mapping[str, Channel],
        standing: Mapping[Key, int],
    ) -> list[tuple[Channel, Sender]]:
        """From now on these groups and channels, and no others. Gives the senders with a destination that is new.

        `standing`: see `come_and_gone`. Nothing in here may fail.
        """
        before = {key: sender for group in self.groups for key, sender in group.senders.items()}
        channels = {spec.name: self.channels.get(spec.name) or fresh[spec.name] for spec in specs}
        old, self.groups = self.groups, groups
        self.channels.clear()
        self.channels.update(channels)
        self.backlogs.clear()
        for group in groups:
            self.backlogs.update(group.backlogs)
            group.router.use({name: pipelines[name] for name in group.names})
        homes = {name: group for group in groups for name in group.names}
        unstarted: list[tuple[Channel, Sender]] = []
        for spec in specs:
            channel, group = channels[spec.name], homes[spec.name]
            self._renew(channel, spec, pipelines[spec.name])
            channel.router = group.router
            channel.senders = []
            if group not in old:
                paused = [name for name in group.names if channels[name].state == "paused"]
                group.router.take_over(paused)
            for item, route in zip(spec.destinations, pipelines[spec.name].routes, strict=True):
                sender = group.senders[spec.name, item.name]
                known = before.pop((spec.name, item.name), None)
                if known is None or known.destination is not route.destination:
                    unstarted.append((channel, sender))
                if known is not None:
                    sender.take_over(known, route.destination, item.options)
                elif spec.name not in fresh:
                    channel.open += standing[spec.name, item.name]
                sender.finished, sender.ended = channel.finished, channel.ended
                sender.responder.response = route.response
                channel.senders.append(sender)
        for key, sender in before.items():
            sender.leave()
            if key[0] in channels:
                channels[key[0]].finished(standing[key])
        return unstarted

    def come_and_gone(self, specs: list[ChannelSpec]) -> dict[Key, int]:
        """How many deliveries are open, of each destination that is new or is not there any more."""
        before = {key for group in self.groups for key in group.senders}
        after = {(spec.name, item.name) for spec in specs for item in spec.destinations}
        return {key: unfinished(self.store.reader, "", [key]) for key in before ^ after}

    def _renew(self, channel: Channel, spec: ChannelSpec, pipeline: Pipeline) -> None:
        """Let a channel receive by this declaration; what its intake has begun is finished as it was begun."""
        old, channel.spec = channel.spec, spec
        if (old.options, old.format) != (spec.options, spec.format):
            intake = self._intake(spec, pipeline)
            if channel.intake.answers is not None and intake.answers is None:
                intake.answers = self._answers(intake)
            intake.follow(channel.intake)
            channel.intake = intake
        channel.intake.stored = channel.stored
        channel.intake.version = pipeline.version
        channel.intake.straight = pipeline.empty and channel.intake.answers is None

    def order(self) -> dict[str, Order]:
        """For the warning before an operator puts older data over newer."""
        scopes = {
            backlog: str(number) for number, backlog in enumerate(dict.fromkeys(self.backlogs.values()))
        }
        return {
            name: Order(
                channel.intake.ordering_key,
                {to: scopes[backlog] for (owner, to), backlog in self.backlogs.items() if owner == name},
            )
            for name, channel in self.channels.items()
        }

    def keep(self, tx: Any) -> None:
        """Keep of the running configuration what console and command line ask the store by."""
        keep_order(tx, self.order())
        rekey.keep(tx, {name: way(channel.spec) for name, channel in self.channels.items()})
        routes = {name: one.routes for group in self.groups for name, one in group.router.pipelines.items()}
        servers.keep(
            tx,
            {
                name: {route.name: getattr(route.destination, "server", "") for route in some}
                for name, some in routes.items()
            },
        )
        columns.keep(
            tx,
            {
                name: list(group.router.pipelines[name].columns)
                for group in self.groups
                for name in group.names
            },
        )

    # What the channels read from the store ----------------------------------------------------------------

    def _unrouted(self, names: list[str], after: int, limit: int) -> list[Arrived]:
        reader = self.store.reader
        with reader.snapshot():  # else a commit between two channels hides messages below the last one
            found = [
                Arrived(
                    Meta(row.id, name, row.received_at, row.control_id, row.type, row.sender, row.peer),
                    row.raw,
                    row.ordering_keys,
                    row.attempts,
                )
                for name in names
                for row in messages.unrouted(reader, name, after, limit)
            ]
        found.sort(key=lambda arrived: arrived.meta.id)
        return found[:limit]

    def _standing(self, destinations: Any, from_id: int, limit: int) -> list[Any]:
        return standing(self.store.reader, destinations, from_id, limit)

    def _payload(self, message_id: int, destination: str) -> bytes:
        return deliveries.payload(self.store.reader, message_id, destination) or b""

    def _answered(self, message_id: int, destination: str) -> Answered | None:
        return answered(self.store.reader, message_id, destination)

    def _passed_on(self, name: str, raw: bytes, meta: Meta) -> messages.NewMessage:
        """What a channel would store of a message that an answer gives it. Raises IsthmusError."""
        channel = self.channels.get(name)
        if channel is None:
            raise StepError(
                f"the channel {name!r} does not run", code="forward.channel", todo="enable it, then resend"
            )
        row = channel.intake.row(raw)
        row.parent_id, row.peer = meta.id, f"channel {meta.channel}"
        row.control_id = row.control_id or meta.control_id  # so that one search finds both
        return row

    def _forwarded(self, ids: list[int]) -> None:
        self.arrived(ids)

    def _routed(self, group: list[tuple[Arrived, Rendered]]) -> None:
        """C2 is committed: hand the deliveries to their lanes."""
        for arrived, rendered in group:
            name = arrived.meta.channel
            for destination, payload in rendered.payloads:
                self.backlogs[name, destination].offer(
                    name, destination, arrived.meta.id, arrived.keys, payload
                )
            if rendered.part_ids:
                self.arrived(rendered.part_ids)
            self.channels[name].finished(1 - len(rendered.payloads))
            self.channels[name].ended(arrived.meta.id)


def order_groups(specs: list[ChannelSpec]) -> list[list[ChannelSpec]]:
    """Channels joined by `order_with`, directly or through others; every other channel alone."""
    leader = {spec.name: spec.name for spec in specs}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for spec in specs:
        other = spec.options.order_with
        if other in leader:
            leader[find(spec.name)] = find(other)
    groups: dict[str, list[ChannelSpec]] = {}
    for spec in specs:
        groups.setdefault(find(spec.name), []).append(spec)
    return list(groups.values())


def scope_of(item: DestinationSpec) -> str:
    """What the lanes of a destination are shared by within a group: the connection; "" for lanes of its own."""
    return getattr(item.bound.settings, "connection", "")


def shape(specs: list[ChannelSpec]) -> Any:
    """What a group is made of: when it changes, lanes and router are made anew."""
    return sorted(
        (
            spec.name,
            way(spec),
            sorted(
                (item.name, scope_of(item), item.options.on_error)
                + ((spec.options.lanes,) if item.options.on_error == "hold_lane" else ())
                for item in spec.destinations
            ),
        )
        for spec in specs
    )
