"""What people do to channels and messages: the commands that CLI and console wrote to the store.

Guarantees: a command is carried out once, in order, and its outcome is stored with it; a thousand replays are
done in batches that never delay an ACK for long; every act leaves an event with who did it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import structlog
from twisted.internet.defer import inlineCallbacks

from channels.backlog import Backlog
from channels.channel import Channel
from channels.route import Arrived
from engine.errors import IsthmusError
from engine.model import Meta
from engine.store import commands, operate
from engine.store.standing import keys_of, unrouted_of
from engine.store.tx import Tx
from engine.store.writer import Writer

log = structlog.get_logger()

CHANNEL_ACTS = ("start", "stop", "pause", "resume")


class Operator:
    """Takes commands from the store and carries them out."""

    def __init__(
        self,
        channels: dict[str, Channel],
        backlogs: dict[tuple[str, str], Backlog],
        writer: Writer,
        reader: Tx,
    ) -> None:
        self.channels = channels
        self.backlogs = backlogs
        self.writer = writer
        self.reader = reader
        self._busy = False
        self._recover = True  # commands that a dead engine had taken are taken again, once
        self._verbs: dict[str, Callable[[commands.Command], Any]] = {
            "replay": self._replay,
            "resend": self._resend,
            "discard": self._discard,
            "channel": self._channel,
        }

    @inlineCallbacks
    def poll(self) -> Any:
        """Look for commands; called several times a second."""
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

    @inlineCallbacks
    def _replay(self, command: commands.Command) -> Any:
        ids, replayed = sorted(set(command.args["ids"])), []
        for start in range(0, len(ids), operate.REPLAY_BATCH):
            some = ids[start : start + operate.REPLAY_BATCH]
            made = yield self.writer.run(partial(_with_actor, operate.replay, command.actor, ids=some))
            # Offered in the turn of their commit, as the intake does: a router takes messages by rising id.
            for name, row in unrouted_of(self.reader, [new_id for _, new_id in made]):
                channel = self.channels.get(name)
                if channel is not None:
                    meta = Meta(row.id, name, row.received_at, row.control_id, row.type, row.sender, row.peer)
                    channel.open += 1
                    channel.router.offer([Arrived(meta, row.raw, row.ordering_keys)])
            replayed += [list(pair) for pair in made]
        return {"replayed": replayed}

    @inlineCallbacks
    def _resend(self, command: commands.Command) -> Any:
        act = partial(_with_actor, operate.resend, command.actor, destination=command.args.get("destination"))
        changed = yield operate.in_batches(self.writer, command.args["ids"], act)
        for message_id, destination, channel, keys in self._located(changed):
            backlog = self.backlogs.get((channel, destination))
            if backlog is not None:
                self.channels[channel].open += 1
                backlog.again(channel, destination, message_id, keys)
        return {"resent": [list(pair) for pair in changed]}

    @inlineCallbacks
    def _discard(self, command: commands.Command) -> Any:
        args = command.args
        act = partial(
            _with_actor, operate.discard, command.actor,
            destination=args.get("destination"), note=args.get("note", ""),
        )  # fmt: skip
        changed = yield operate.in_batches(self.writer, args["ids"], act)
        for message_id, destination, channel, _ in self._located(changed):
            backlog = self.backlogs.get((channel, destination))
            if backlog is not None:
                self.channels[channel].discarded(
                    message_id, backlog.discard(channel, destination, message_id)
                )
        return {"discarded": [list(pair) for pair in changed]}

    def _located(self, changed: list[tuple[int, str]]) -> list[tuple[int, str, str, tuple[int, ...]]]:
        where = keys_of(self.reader, {message_id for message_id, _ in changed})
        return [(message_id, destination, *where[message_id]) for message_id, destination in changed]

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


def _with_actor(act: Callable[..., Any], actor: str, tx: Tx, ids: Sequence[int], **more: Any) -> Any:
    return act(tx, ids, actor, **more)
