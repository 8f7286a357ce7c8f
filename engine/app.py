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
from pathlib import Path
from typing import Any

import structlog
from twisted.internet.defer import CancelledError, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.task import LoopingCall, deferLater

from channels.build import Builder
from channels.guard import Guard
from channels.operate import Operator
from channels.recovery import recover
from channels.rekeying import concerned, outdated
from channels.reload import Reloader, Running
from channels.upkeep import Upkeep
from channels.wiring import Wiring, order_groups
from engine import clock, systemd
from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.spec.channel import Configuration
from engine.store import commands, search
from engine.store.store import Store, open_store
from engine.store.training import Trainer

log = structlog.get_logger()

COMMANDS_EVERY = 0.2  # seconds
STATUS_EVERY = 1.0  # seconds
TRAIN_EVERY = 0.5  # seconds; nearly free while nothing is due
STOP_DEADLINE = 10.0  # seconds


class Steady:
    """What is looked at again and again, and for which one failure is not the end."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self.look = look
        self._why = ""

    def __call__(self) -> Any:
        """Once."""
        return maybeDeferred(self.look).addCallbacks(self._well, self._failed)

    def _well(self, _: Any) -> None:
        self._why = ""

    def _failed(self, failure: Any) -> None:
        why, self._why = self._why, failure.type.__name__
        if why != self._why:
            log.error("engine.look_failed", what=self.look.__qualname__, why=self._why)


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
        self._totals_at_start = search.counts(self.store.reader)
        self.guard = Guard()
        self.wiring = Wiring(self.store, self.keyring, reactor, now, self.rng, self.guard)
        self.channels, self.backlogs = self.wiring.channels, self.wiring.backlogs
        groups = [self.wiring.group(group, pipelines) for group in order_groups(specs)]
        self.wiring.install(groups, specs, pipelines, self.wiring.fresh(groups, specs, listeners), {})
        self.operator = Operator(self.channels, self.backlogs, self.writer, self.store.reader, reactor)
        self.wiring.arrived = self.operator.arrived
        self.trainer = Trainer(self.store, reactor)
        self.upkeep = Upkeep(
            self.store, self.keyring, reactor, now, self.channels, configuration, self.operator.discarded
        )
        running = Running(configuration, self.builder, specs, pipelines, now())
        self.reloader = Reloader(running, self.wiring, self.upkeep, data_dir)
        for verb, act in {**self.upkeep.commands(), **self.reloader.commands()}.items():
            self.operator.register(verb, act)
        self._loops = [
            LoopingCall(Steady(look)) for look in (self.operator.poll, self._report, self.trainer.look)
        ]
        for loop in self._loops:
            loop.clock = reactor

    # Life -------------------------------------------------------------------------------------------------

    @inlineCallbacks
    def start(self) -> Any:
        """Fill the lanes, start every channel. Gives a Deferred that fires when all ports are open."""
        self.guard.install()
        self.writer.on_state(self._store_state)
        rekeyed = outdated(self.store.reader, [channel.spec for channel in self.channels.values()])
        held = concerned(self.wiring.groups, rekeyed)
        for group in self.wiring.groups:
            if group in held:
                group.hold(True)
            else:
                group.begin()
        self.upkeep.start()
        self.reloader.start()
        yield DeferredList([channel.start() for channel in self.channels.values()])
        for channel in self.channels.values():
            channel.router.wake()
        self._loops[1].start(STATUS_EVERY, now=True)
        self._loops[2].start(TRAIN_EVERY, now=False)
        systemd.notify("READY=1")
        self.reloader.rekeying.renew(rekeyed, held).addCallbacks(self._renewed, self._not_renewed)

    def _renewed(self, _: Any) -> None:
        """Commands, a reload among them, wait until the keys of what was open are today's."""
        self._loops[0].start(COMMANDS_EVERY, now=False)

    def _not_renewed(self, failure: Any) -> None:
        failure.trap(CancelledError, StoreError)  # the engine stops, or was ousted

    @inlineCallbacks
    def stop(self, deadline: float = STOP_DEADLINE) -> Any:
        """Stop in order, within `deadline` seconds. Gives a Deferred."""
        systemd.notify("STOPPING=1\nSTATUS=stopping")
        self.trainer.close()
        stopping = self.upkeep.stop()
        self.reloader.stop()
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
            recover(self.wiring)

    def status(self) -> dict[str, Any]:
        """What `status` and the console show."""
        return {
            "pid": os.getpid(),
            **self.reloader.status(),
            "totals_at_start": self._totals_at_start,
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
