"""A changed configuration is taken up while messages run, or not at all.

    files -> lint (all of it) -> build -> ports -> wait for what is on its way -> everything swapped in one turn

Guarantees: what did not change keeps its very objects, connections and ports; a message is routed by one version
from its first step to its last and records it; nothing is lost or reordered, for what was in memory is read again
from the store; whatever fails on the way leaves the old configuration running, every port as it was.
Refuses: a configuration with any error, a port that cannot be opened, deliveries that do not end within PATIENCE
where lanes must be made anew; each is told by the log, `status`, an event and whoever asked.

| changed                                        | then                                                          |
|------------------------------------------------|---------------------------------------------------------------|
| nothing of a channel                           | untouched                                                     |
| steps, template, table, module, options        | the pipeline is swapped between two messages                  |
| a listener's setting                           | that listener alone: its new port first, when it is another   |
| a destination's setting                        | its calls on their way end, the new one takes over            |
| lanes, on_error, order_with, destination names | router and lanes of that order group are filled from the store |
| ordering key, format                           | the same, once what is open has the new keys (channels.rekeying) |
| a channel is new, or `enabled` again           | it starts                                                     |
| a channel is gone, or not `enabled`            | its port is closed; what is open stays in the store           |
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from channels.build import Builder
from channels.channel import Channel, retire
from channels.ingredients import Ingredients, ingredients
from channels.lint import check
from channels.pipeline import Pipeline
from channels.rekeying import Rekeying, concerned, outdated
from channels.upkeep import Upkeep, threaded
from channels.versions import name_of
from channels.watch import Watch
from channels.wiring import Group, Wiring, order_groups, shape
from engine.clock import Micros, iso
from engine.errors import ConfigError, places
from engine.spec.channel import ChannelSpec, Configuration, load
from engine.spec.files import absolute
from engine.store import commands, versions

log = structlog.get_logger()

PATIENCE = 60.0  # seconds that deliveries on their way may take where lanes are made anew
LOOK = 0.01  # seconds
PORT_TRIES = 50  # to open a port that has just been closed
SWITCH = 0.0005  # seconds that a thread which builds may keep the others waiting


class NotTaken(Exception):
    """Why a configuration is not taken up: lines that name file, line and column."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass
class Running:
    """A configuration and what was built from it."""

    configuration: Configuration
    builder: Builder
    specs: list[ChannelSpec]
    pipelines: dict[str, Pipeline]
    since: Micros = 0
    listeners: dict[str, Any] = field(default_factory=dict)  # those that are to be opened
    changes: dict[str, list[str]] = field(default_factory=dict)  # channel -> what of it
    parts: dict[str, Ingredients] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.parts = self.parts or ingredients(self.builder)

    @property
    def version(self) -> str:
        """The name of exactly this configuration."""
        return self.builder.version

    @property
    def files(self) -> dict[str, bytes]:
        """Everything that takes part, by name: relative to the configuration's folder, else absolute."""
        files = self.configuration.files
        return {name_of(path, files.root): data for path, data in files.contents.items()}


def prepare(before: Running, reactor: Any, data_dir: Path, afresh: str = "") -> Running:
    """Read, lint and build; may run in a thread. Raises NotTaken. `afresh` is a channel to be made anew."""
    path = before.configuration.document.path
    configuration = load(path)
    wrong = [problem for problem in check(configuration) if problem.severity == "error"]
    if wrong:
        raise NotTaken([str(problem) for problem in wrong])
    try:
        return _build(before, configuration, reactor, data_dir, afresh)
    except ConfigError as error:
        raise NotTaken([str(error)]) from None
    except Exception as error:
        log.error("config.broken", error=type(error).__name__, where=places(error.__traceback__))
        raise NotTaken([f"{path}: it cannot be built ({type(error).__name__})"]) from error


def _build(
    before: Running, configuration: Configuration, reactor: Any, data_dir: Path, afresh: str
) -> Running:
    builder = Builder(configuration, reactor, data_dir, before.builder)
    specs = [spec for spec in configuration.channels.values() if spec.options.enabled]
    parts = ingredients(builder)
    known = {spec.name for spec in before.specs}
    made = Running(configuration, builder, specs, {}, parts=parts)
    for spec in specs:
        name, new = spec.name, parts[spec.name]
        if name not in known:
            made.changes[name] = ["new"]
            made.pipelines[name] = builder.pipeline(spec)
            made.listeners[name] = builder.listener(spec)
            continue
        old = before.parts[name] if name != afresh else Ingredients(None, None, None, {})
        changed = [
            what for what in ("listener", "steps", "options") if getattr(new, what) != getattr(old, what)
        ]
        if new.listener != old.listener:
            made.listeners[name] = builder.listener(spec)
        same = {to for to, one in new.destinations.items() if old.destinations.get(to) == one}
        names = dict.fromkeys([*old.destinations, *new.destinations])
        changed += [f"destination {to}" for to in names if to not in same]
        running = before.pipelines[name]
        if not (set(changed) - {"listener"}):
            made.pipelines[name] = replace(running, version=builder.version)
        else:
            keep = {route.name: route.destination for route in running.routes if route.name in same}
            made.pipelines[name] = builder.pipeline(spec, keep)
        if changed:
            made.changes[name] = changed
    for name in known - {spec.name for spec in specs}:
        made.changes[name] = ["removed"]
    return made


class Reloader:
    """Takes up what changed. Asked by commands, so one thing is done after the other, and audited."""

    def __init__(self, running: Running, wiring: Wiring, upkeep: Upkeep, data_dir: Path) -> None:
        self.running = running
        self.wiring = wiring
        self.upkeep = upkeep
        self.rekeying = Rekeying(wiring)
        self.data_dir = data_dir
        self.reactor = wiring.reactor
        self.writer = wiring.store.writer
        self.problem: dict[str, Any] | None = None  # why the last edit is not taken
        self.in_thread: Callable[..., Deferred[Any]] = partial(threaded, self.reactor)
        self.watch = Watch(running.configuration, self.reactor, lambda: self.ask("watch"))
        self._asked = False

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Verbs for `Operator.register`."""
        return {"reload": self.reload}

    def start(self) -> None:
        """Write down what runs; called before the first message."""
        running = self.running
        self.writer.submit(
            partial(versions.started, version=running.version, actor="engine", files=running.files)
        )

    def stop(self) -> None:
        """Look for no more changes."""
        self.watch.stop()
        self.rekeying.stop()

    def ask(self, actor: str) -> None:
        """Write the command to reload; what is asked for while one waits is the same one."""
        if not self._asked:
            self._asked = True
            self.writer.submit(lambda tx: commands.add(tx, actor, "reload"))

    def status(self) -> dict[str, Any]:
        """For people and `status --json`."""
        return {
            "config": str(absolute(self.running.configuration.document.path)),
            "config_version": self.running.version,
            "config_since": iso(self.running.since) if self.running.since else None,
            "config_watched": self.watch.running,
            "config_problem": self.problem,
        }

    @inlineCallbacks
    def reload(self, args: Mapping[str, Any]) -> Any:
        """Take up the configuration as it is in its files now. Gives what changed, or why it is not taken."""
        self._asked = False
        name, note, actor = args.get("name", ""), args.get("note", ""), args.get("actor", "engine")
        try:
            if name and name not in self.wiring.channels:
                raise NotTaken([f"there is no running channel {name!r}"])
            with quick_switches():
                made = yield self.in_thread(prepare, self.running, self.reactor, self.data_dir, name)
            if made.changes or made.version != self.running.version:
                yield self._take(made)
                self._taken(made, actor, note)
            elif note:
                yield self.writer.run(lambda tx: versions.annotate(tx, note))
        except NotTaken as error:
            self._not_taken(error, actor)
            return {"taken": False, "version": self.running.version, "problems": error.problems}
        self.problem = None
        self.watch.follow(self.running.configuration)
        return {"taken": True, "version": made.version, "changes": made.changes}

    def _taken(self, made: Running, actor: str, note: str) -> None:
        changes = list(made.changes.items())
        log.info("config.taken", version=made.version, actor=actor, channels=sorted(made.changes))
        self.writer.submit(
            partial(
                versions.add, version=made.version, actor=actor, files=made.files, changes=changes, note=note
            )
        )

    def _not_taken(self, error: NotTaken, actor: str) -> None:
        at = self.wiring.now()
        self.problem = {"at": iso(at), "why": error.problems[0], "problems": len(error.problems)}
        for problem in error.problems:
            log.error("config.not_taken", running=self.running.version, why=problem)
        detail = error.problems[0]
        self.writer.submit(lambda tx: tx.event("config.not_taken", actor=actor, detail=detail))

    # Taking up --------------------------------------------------------------------------------------------

    @inlineCallbacks
    def _take(self, made: Running) -> Any:
        """All or nothing: until the last line of it the old configuration can go on as if nothing were."""
        wiring = self.wiring
        rekeyed = outdated(wiring.store.reader, made.specs)
        groups, given_up = self._groups(made)
        held = concerned(groups, rekeyed)
        fresh = wiring.fresh(groups, made.specs, made.listeners)
        ports = Ports(wiring, made, fresh)
        for group in given_up:
            group.hold(True)
        try:
            yield self._quiet(given_up)
            standing = yield ports.open(partial(wiring.come_and_gone, made.specs))
        except BaseException:
            for group in given_up:
                group.hold(False)
            raise
        # From here until all is swapped nothing can fail, and nothing runs between.
        for group in held:
            group.hold(True)
        gone = {name: channel for name, channel in wiring.channels.items() if name not in made.pipelines}
        unstarted = wiring.install(groups, made.specs, made.pipelines, fresh, standing)
        ports.use()
        for channel in gone.values():
            channel.stop()
        for channel, sender in unstarted:
            if channel.wanted:
                channel.start_destination(sender)
        made.since, made.listeners = wiring.now(), {}
        self.running = made
        self.upkeep.use(made.configuration)
        for group in groups:
            if group not in held:
                group.begin()
        yield self.rekeying.renew(rekeyed, held)

    def _groups(self, made: Running) -> tuple[list[Group], list[Group]]:
        """The order groups of the new configuration, and those of the old one that it has not."""
        left = list(self.wiring.groups)
        groups = []
        for specs in order_groups(made.specs):
            known = next((group for group in left if group.shape == shape(specs)), None)
            if known is None:
                groups.append(self.wiring.group(specs, made.pipelines, careful=0))
            else:
                left.remove(known)
                groups.append(known)
        return groups, left

    @inlineCallbacks
    def _quiet(self, groups: list[Group]) -> Any:
        """Wait until everything of these groups is in the store as it will be found there."""
        until = self.reactor.seconds() + PATIENCE
        while busy := [group for group in groups if not group.idle]:
            if self.reactor.seconds() > until:
                names = ", ".join(name for group in busy for name in group.names)
                raise NotTaken(
                    [f"{names}: deliveries on their way did not end in {PATIENCE:.0f} s (reload again later)"]
                )
            yield deferLater(self.reactor, LOOK)


class Ports:
    """Opens the new ports, unread, so that all of them can be given up again."""

    def __init__(self, wiring: Wiring, made: Running, fresh: Mapping[str, Channel]) -> None:
        self.clock = wiring.reactor
        self.channels = wiring.channels
        self.listeners = made.listeners
        self.targets = {name: fresh.get(name) or wiring.channels[name] for name in made.listeners}
        self.new = {spec.name: _port(spec) for spec in made.specs}
        self.closing = {
            _port(channel.spec): channel
            for name, channel in wiring.channels.items()
            if channel.listening and (name in made.listeners or name not in made.pipelines)
        }
        self.fresh = set(fresh)
        self.opened: dict[str, Any] = {}
        self.closed: list[Channel] = []

    @inlineCallbacks
    def open(self, then: Callable[[], Any]) -> Any:
        """Open what must be open; a port that another listener is to give up is closed there first.

        Gives what `then` gives, the last that may fail.
        """
        try:
            yield from self._open()
            return then()
        except Exception as error:
            yield from self._give_up()
            raise NotTaken([str(error)]) from None

    def _open(self) -> Iterator[Any]:
        later = []
        for name, channel in self.targets.items():
            if not (channel.wanted or name in self.fresh):
                continue
            owner = self.closing.get(self.new[name])
            if owner is None or not self.new[name]:
                yield from self._listen(name, 1)
            else:
                later.append(name)
                self.closed.append(owner)
        for owner in self.closed:
            retire(owner.listener, self.clock)
        for name in later:
            yield from self._listen(name, PORT_TRIES)

    def _listen(self, name: str, tries: int) -> Iterator[Any]:
        listener = self.listeners[name]
        listener.pause()
        for left in reversed(range(tries)):
            try:
                self.opened[name] = yield listener.start(self.targets[name])
                return
            except Exception:
                if not left:
                    raise
            yield deferLater(self.clock, LOOK)

    def _give_up(self) -> Iterator[Any]:
        for name in self.opened:
            yield self.listeners[name].stop()
        for channel in self.closed:
            for left in reversed(range(PORT_TRIES)):
                try:
                    yield channel.listener.start(channel)
                    break
                except Exception as error:
                    if not left:
                        channel.fail(error)
                yield deferLater(self.clock, LOOK)

    def use(self) -> None:
        """Let the channels receive from the new listeners."""
        for name, listener in self.listeners.items():
            self.targets[name].move(listener, self.opened.get(name), closed=self.targets[name] in self.closed)


def _port(spec: ChannelSpec) -> Any:
    return getattr(spec.listener.settings, "port", None)


@contextmanager
def quick_switches() -> Iterator[None]:
    """A thread that builds must not keep the reactor waiting for Python's usual 5 ms."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(SWITCH, usual))
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
