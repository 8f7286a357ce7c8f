"""The engine process: the composition root. Everything is made here, handed its reactor and clock, and stopped.

Order of a start: lock and open the store (migrate, new epoch) -> build every channel -> fill the lanes from the
store -> open the ports. A configuration error stops it before a port is open; a listener or destination that
fails leaves the other channels running.
Order of a stop: ports closed, answers out -> deliveries on their way finish, up to the deadline -> the writer
is empty -> the store is closed. What did not finish is in the store and goes on at the next start.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from twisted.internet.defer import DeferredList, inlineCallbacks
from twisted.internet.task import LoopingCall, deferLater

from channels.answers import Answers, sender_to
from channels.backlog import Backlog
from channels.build import Builder
from channels.channel import Channel
from channels.deliver import Sender
from channels.guard import Guard
from channels.lanes import Lanes
from channels.operate import Operator
from channels.pipeline import Pipeline, Rendered
from channels.receive import Intake
from channels.route import Arrived, Router
from channels.upkeep import Upkeep
from engine import clock, systemd
from engine.model import Meta
from engine.security.keyring import open_keyring
from engine.spec.channel import ChannelSpec, Configuration
from engine.store import commands, deliveries, messages
from engine.store.stale import Order, keep_order
from engine.store.standing import standing, unfinished
from engine.store.store import Store, open_store
from engine.store.training import Trainer

log = structlog.get_logger()

COMMANDS_EVERY = 0.2  # seconds
STATUS_EVERY = 1.0  # seconds
TRAIN_EVERY = 0.5  # seconds; nearly free while nothing is due
STOP_DEADLINE = 10.0  # seconds


class Engine:
    """All channels of one configuration on one data folder."""

    def __init__(
        self,
        configuration: Configuration,
        data_dir: Path,
        reactor: Any,
        *,
        now: Callable[[], clock.Micros] = clock.now,
        rng: random.Random | None = None,
    ) -> None:
        self.configuration = configuration
        self.data_dir = data_dir
        self.reactor = reactor
        self.now = now
        self.rng = rng or random.Random()  # noqa: S311 (jitter)
        self.ousted: Callable[[], None] = lambda: None  # told when a newer engine has taken the store over
        self.builder = Builder(configuration, reactor, data_dir)
        specs = [spec for spec in configuration.channels.values() if spec.options.enabled]
        pipelines = {spec.name: self.builder.pipeline(spec) for spec in specs}
        listeners = {spec.name: self.builder.listener(spec) for spec in specs}
        self.keyring = open_keyring(data_dir)
        self.store: Store = open_store(data_dir, self.keyring, mode="engine", reactor=reactor, now=now)
        self.writer = self.store.writer
        self.guard = Guard()
        self.channels: dict[str, Channel] = {}
        self.backlogs: dict[tuple[str, str], Backlog] = {}  # (channel, destination)
        for group in order_groups(specs):
            self._group(group, pipelines, listeners)
        self.operator = Operator(self.channels, self.backlogs, self.writer, self.store.reader, reactor)
        self.trainer = Trainer(self.store, reactor)
        self.upkeep = Upkeep(
            self.store, self.keyring, reactor, now, self.channels, configuration.disk, self.operator.discarded
        )
        for verb, act in self.upkeep.commands().items():
            self.operator.register(verb, act)
        self._loops = [
            LoopingCall(self.operator.poll),
            LoopingCall(self._report),
            LoopingCall(self.trainer.look),
        ]
        for loop in self._loops:
            loop.clock = reactor

    # Building ---------------------------------------------------------------------------------------------

    def _group(
        self, specs: list[ChannelSpec], pipelines: dict[str, Pipeline], listeners: dict[str, Any]
    ) -> None:
        """Channels whose messages are kept in order with each other: one router, lanes in common."""
        names = [spec.name for spec in specs]
        router = Router(
            {name: pipelines[name] for name in names},
            self.writer,
            self.reactor,
            self.now,
            partial(self._unrouted, names),
            self._routed,
            self.guard,
        )
        shared: dict[str, Backlog] = {}
        for spec in specs:
            senders = []
            for item, route in zip(spec.destinations, pipelines[spec.name].routes, strict=True):
                scope = getattr(item.bound.settings, "connection", "") if len(specs) > 1 else ""
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
                    self.writer,
                    self.reactor,
                    self.now,
                    self._payload,
                    self.rng,
                )
                backlog.join(sender, spec.options.lanes)
                self.backlogs[spec.name, item.name] = backlog
                senders.append(sender)
            form = self.builder.format(spec)
            intake = Intake(
                spec.name, spec.options, form, self.writer, self.keyring, self.now, lambda taken: None
            )
            channel = Channel(spec, listeners[spec.name], intake, router, senders)
            intake.stored = channel.stored
            channel.open = unfinished(self.store.reader, spec.name)
            if spec.options.ack != "stored" or spec.options.ack_mode == "enhanced":
                intake.answers = Answers(
                    spec.name, spec.options, self.writer, self.store.reader, self.reactor, intake.acknowledge
                )
                if spec.options.ack_to:
                    intake.application = sender_to(spec.options.ack_to, self.reactor, spec.name)
            elif pipelines[spec.name].empty:
                intake.straight = self.builder.version
            for sender in senders:
                sender.finished, sender.ended = channel.finished, channel.ended
            self.channels[spec.name] = channel

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

    def _order(self) -> dict[str, Order]:
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

    def _payload(self, message_id: int, destination: str) -> bytes:
        return deliveries.payload(self.store.reader, message_id, destination) or b""

    def _routed(self, group: list[tuple[Arrived, Rendered]]) -> None:
        """C2 is committed: hand the deliveries to their lanes."""
        for arrived, rendered in group:
            name = arrived.meta.channel
            for destination, payload in rendered.payloads:
                self.backlogs[name, destination].offer(
                    name, destination, arrived.meta.id, arrived.keys, payload
                )
            if rendered.part_ids:
                self.operator.arrived(rendered.part_ids)
            self.channels[name].finished(1 - len(rendered.payloads))
            self.channels[name].ended(arrived.meta.id)

    # Life -------------------------------------------------------------------------------------------------

    @inlineCallbacks
    def start(self) -> Any:
        """Fill the lanes, start every channel. Gives a Deferred that fires when all ports are open."""
        self.guard.install()
        self.writer.on_state(self._store_state)
        self.writer.submit(partial(keep_order, channels=self._order()))
        for backlog in set(self.backlogs.values()):
            backlog.fill()
        self.upkeep.start()
        yield DeferredList([channel.start() for channel in self.channels.values()])
        for channel in self.channels.values():
            channel.router.wake()
        self._loops[0].start(COMMANDS_EVERY, now=False)
        self._loops[1].start(STATUS_EVERY, now=True)
        self._loops[2].start(TRAIN_EVERY, now=False)
        systemd.notify("READY=1")

    @inlineCallbacks
    def stop(self, deadline: float = STOP_DEADLINE) -> Any:
        """Stop in order, within `deadline` seconds. Gives a Deferred."""
        systemd.notify("STOPPING=1\nSTATUS=stopping")
        self.trainer.close()
        stopping = self.upkeep.stop()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self.operator.jobs.stop()
        until = self.reactor.seconds() + deadline
        yield DeferredList([channel.stop(deadline / 2) for channel in self.channels.values()])
        for channel in self.channels.values():
            channel.router.pause(channel.name)
        while not all(channel.idle for channel in self.channels.values()) and self.reactor.seconds() < until:
            yield deferLater(self.reactor, 0.02)
        yield DeferredList([channel.close() for channel in self.channels.values()])
        yield DeferredList(
            [sender.destination.stop() for channel in self.channels.values() for sender in channel.senders]
        )
        yield stopping
        yield self.store.close()
        log.info("engine.stopped")

    def _store_state(self, state: str, error: Any) -> None:
        if state == "closed":
            return
        if error is not None:
            log.error("store.failed", state=state, code=error.code, why=error.what)
            if state == "fenced":
                self.ousted()
        elif state == "open":
            log.info("store.recovered")

    def status(self) -> dict[str, Any]:
        """What `status` and the console show."""
        return {
            "pid": os.getpid(),
            "config": str(self.configuration.document.path),
            "config_version": self.builder.version,
            "store": {"state": self.writer.state, "backlog": self.writer.backlog, **self.upkeep.status()},
            "channels": {name: channel.status() for name, channel in self.channels.items()},
        }

    def _report(self) -> None:
        status, epoch = self.status(), self.store.epoch
        open_ = sum(channel.open for channel in self.channels.values())
        systemd.notify(
            f"WATCHDOG=1\nSTATUS={len(self.channels)} channels, {open_} open, store {self.writer.state},"
            f" disk {self.upkeep.disk.state}"
        )
        if self.writer.state == "open" and epoch is not None:
            self.writer.submit(lambda tx: commands.heartbeat(tx, epoch, status))


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
