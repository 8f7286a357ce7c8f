"""What people do to channels and messages: the commands and jobs that CLI and console wrote to the store.

Guarantees: a command is carried out once, in order, and its outcome is stored with it; acts on messages are jobs
(channels.jobs), whose every step is told to routers and lanes here; every act leaves an event with who did it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
import structlog
from twisted.internet.defer import inlineCallbacks

from channels.arrived import Arrived
from channels.backlog import Backlog
from channels.channel import Channel
from channels.jobs import JobRunner
from channels.rekeying import keys
from engine.errors import IsthmusError
from engine.model import Meta
from engine.store import commands, operate
from engine.store.rekey import Keys
from engine.store.responses import pending
from engine.store.sqlite import momentary
from engine.store.standing import keys_of, unrouted_of
from engine.store.tx import Tx
from engine.store.writer import Writer

log = structlog.get_logger()

READ_AGAIN = 1.0  # seconds, when the store cannot be read
CHANNEL_ACTS = ("start", "stop", "pause", "resume")


class Operator:
    """Takes commands from the store and carries them out."""

    def __init__(
        self,
        channels: dict[str, Channel],
        backlogs: dict[tuple[str, str], Backlog],
        writer: Writer,
        reader: Tx,
        clock: Any,
    ) -> None:
        self.channels = channels
        self.backlogs = backlogs
        self.writer = writer
        self.reader = reader
        self.clock = clock
        self.jobs = JobRunner(writer, reader, clock, self._changed, self._arrivals, self._keys, self._crowded)
        self._busy = False
        self._recover = True  # commands that a dead engine had taken are taken again, once
        self._verbs: dict[str, Callable[[commands.Command], Any]] = {
            "channel": self._channel,
            "edit": self._edit,
        }

    def register(self, verb: str, act: Callable[[dict[str, Any]], Any]) -> None:
        """Let commands ask for one more thing: `act(args)` gives its result, or a Deferred of it.

        `args["actor"]` is who asks.
        """
        self._verbs[verb] = lambda command: act({**command.args, "actor": command.actor})

    @inlineCallbacks
    def poll(self) -> Any:
        """Look for commands and jobs; called several times a second."""
        self.jobs.poll()
        if self._busy or self.writer.state != "open":
            return
        if not (self._recover or commands.waiting(self.reader)):
            return
        self._busy = True
        try:
            epoch = self.writer.epoch or 0
            taken = yield self.writer.run(lambda tx: commands.take(tx, epoch))
            self._recover = False
            for command in taken:
                yield self._carry_out(command)
        except IsthmusError as error:
            log.error("commands.failed", code=error.code)
        finally:
            self._busy = False

    @inlineCallbacks
    def _carry_out(self, command: commands.Command) -> Any:
        result, problem = None, ""
        verb = self._verbs.get(command.verb)
        try:
            if verb is None:
                problem = f"there is no command {command.verb!r}"
            else:
                result = yield verb(command)
        except IsthmusError as error:
            problem = str(error)
        except Exception as error:
            problem = f"failed: {type(error).__name__}"
        log.info("command", verb=command.verb, actor=command.actor, problem=problem)
        yield self.writer.run(lambda tx: commands.finish(tx, command.id, result, problem))

    # What a step of a job did ---------------------------------------------------------------------------

    def _arrivals(self) -> int:
        return sum(channel.intake.received for channel in self.channels.values())

    def _keys(self, name: str) -> Keys | None:
        channel = self.channels.get(name)
        return partial(keys, channel) if channel is not None else None

    def _crowded(self, names: Iterable[str]) -> bool:
        return any(self.channels[name].crowded for name in names if name in self.channels)

    def _changed(self, verb: str, changed: list[Any]) -> None:
        """In the turn of the commit, as the intake does: a router takes messages by rising id."""
        if verb == "replay":
            self.discarded([gone for one in changed for gone in one.replaced])
            self.arrived([one.new for one in changed])
        elif verb == "resend":
            self._reading(self._resent, changed)
        else:
            self.discarded([one for one in changed if one.destination])

    def _reading(self, tell: Callable[[Any], None], changed: Any) -> None:
        """Tell somebody of what is looked up in the store first; when that cannot be read, in a second."""
        try:
            tell(changed)
        except Exception as error:
            if not momentary(error):
                raise
            log.error("operate.unreadable", error=type(error).__name__)
            self.clock.callLater(READ_AGAIN, self._reading, tell, changed)

    def arrived(self, ids: list[int]) -> None:
        """New RECEIVED messages that no listener brought: replays, and the parts of a message that was split."""
        try:
            found = unrouted_of(self.reader, ids)
        except Exception as error:
            if not momentary(error):
                raise
            for router in {channel.router for channel in self.channels.values()}:
                router.read_again(min(ids))
            self._reading(self._count, ids)
            return
        for name, row in found:
            channel = self.channels.get(name)
            if channel is not None:
                meta = Meta(row.id, name, row.received_at, row.control_id, row.type, row.sender, row.peer)
                channel.open += 1
                channel.router.offer([Arrived(meta, row.raw, row.ordering_keys)])

    def _count(self, ids: list[int]) -> None:
        """New messages that a router finds by itself."""
        for name, _ in keys_of(self.reader, ids).values():
            if name in self.channels:
                self.channels[name].open += 1

    def _resent(self, changed: list[tuple[int, str]]) -> None:
        answered = pending(self.reader, changed)
        where = keys_of(self.reader, {message_id for message_id, _ in changed})
        for message_id, destination in changed:
            channel, keys = where[message_id]
            backlog = self.backlogs.get((channel, destination))
            if backlog is not None:
                self.channels[channel].open += 1
                sent = (message_id, destination) in answered
                backlog.again(channel, destination, message_id, keys, pending=sent)

    def discarded(self, changed: list[operate.Discarded]) -> None:
        """Deliveries were given up, by an operator or by retention."""
        self._reading(self._discarded, changed)

    def _discarded(self, changed: list[operate.Discarded]) -> None:
        where = keys_of(self.reader, {one.message_id for one in changed})
        for message_id, destination, was_open in changed:
            channel = where[message_id][0]
            backlog = self.backlogs.get((channel, destination))
            if backlog is not None:
                backlog.discard(channel, destination, message_id)
                self.channels[channel].discarded(message_id, was_open)

    @inlineCallbacks
    def _channel(self, command: commands.Command) -> Any:
        name, act = command.args.get("name", ""), command.args.get("act", "")
        channel = self.channels.get(name)
        if channel is None:
            raise IsthmusError(
                f"there is no running channel {name!r}",
                code="channel.unknown",
                todo=f"Known: {', '.join(self.channels)}",
            )
        if act not in CHANNEL_ACTS:
            raise IsthmusError(
                f"a channel cannot {act!r}", code="channel.act", todo=f"Known: {', '.join(CHANNEL_ACTS)}"
            )
        yield getattr(channel, act)()
        return {"channel": name, "state": channel.state}

    @inlineCallbacks
    def _edit(self, command: commands.Command) -> Any:
        """An edited copy of a message, as a message of its own. Made once: it ends the command with it."""
        parent, note = command.args["id"], command.args.get("note", "")
        raw = commands.unseal(self.reader, str(parent), command.args["sealed"])
        name = (keys_of(self.reader, [parent]).get(parent) or ("",))[0]
        channel = self.channels.get(name)
        if channel is None:
            raise IsthmusError(f"there is no running channel {name!r}", code="channel.unknown")
        new = channel.intake.row(raw)

        def work(tx: Tx) -> operate.Replayed | None:
            made = operate.edit(tx, parent, msgspec.structs.replace(new), command.actor, note)
            if made is not None:
                commands.finish(tx, command.id, {"id": made.new, "parent": parent})
            return made

        made = yield self.writer.run(work)
        if made is None:
            raise IsthmusError(
                f"message {parent} cannot be edited: it is not routed yet, or its content is not kept",
                code="message.edit",
            )
        self._changed("replay", [made])
        return {"id": made.new, "parent": parent}
