"""Another ordering key, or another way to read it: what is open is given the keys that are made from now on.

Guarantees: until that is done nothing of these channels is routed or delivered, so a message that comes under the new
keys stays behind what its patient has open under the old ones; messages are taken and acknowledged meanwhile, at a
start, too; a store that cannot be written is tried again; what is cut off is done at the next start.
Refuses nothing: see engine.store.rekey for what keeps its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater

from engine.errors import StoreError
from engine.spec.channel import ChannelSpec
from engine.store import rekey
from engine.store.tx import Tx

if TYPE_CHECKING:
    from channels.channel import Channel
    from channels.wiring import Group, Wiring

log = structlog.get_logger()

AGAIN = 1.0  # seconds, when the store cannot be written


def way(spec: ChannelSpec) -> str:
    """How the ordering keys of a channel are made."""
    made = spec.format
    return f"{spec.options.ordering_key} {made.component.name} {made.settings.model_dump_json()}"


def keys(channel: Channel, raw: bytes) -> tuple[int, ...]:
    """The ordering keys that the channel gives to these bytes today. Raises IsthmusError."""
    row = channel.intake.row(raw)
    return (row.ordering_key, *row.also_keys)


def outdated(tx: Tx, specs: Iterable[ChannelSpec]) -> list[str]:
    """The channels whose keys were made in another way when they ran last."""
    before = rekey.kept(tx)
    return [spec.name for spec in specs if before.get(spec.name, way(spec)) != way(spec)]


def concerned(groups: Iterable[Group], names: Iterable[str]) -> list[Group]:
    """The groups that one of these channels is in: held, they read nothing of the store before its keys are made."""
    return [group for group in groups if not set(names).isdisjoint(group.names)]


class Rekeying:
    """Renews keys, at a start and by a reload; what it holds goes on when that is durable."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self._work: Deferred[None] | None = None

    @inlineCallbacks
    def renew(self, names: Iterable[str], held: Iterable[Group]) -> Any:
        """Give what is open in these channels today's keys, then let their groups go on, which are held.

        Raises CancelledError when the engine stops meanwhile.
        """
        for name in names:
            log.info("channel.rekeyed", channel=name)
            ids = yield self._durable(name, partial(rekey.open_messages, channel=name))
            made = partial(keys, self.wiring.channels[name])
            for at in range(0, len(ids), rekey.ROWS):
                some = ids[at : at + rekey.ROWS]
                yield self._durable(name, partial(rekey.rekey, ids=some, keys=made))
        for group in held:
            group.hold(False)
        self.wiring.store.writer.submit(self.wiring.keep)

    def stop(self) -> None:
        """What is left is done at the next start."""
        if self._work is not None:
            self._work.cancel()

    @inlineCallbacks
    def _durable(self, name: str, work: Callable[[Tx], Any]) -> Any:
        """One transaction, tried until the store takes it. Gives its result."""
        writer = self.wiring.store.writer
        while True:
            try:
                self._work = writer.run(work)
                return (yield self._work)
            except StoreError as error:
                if writer.state in ("closed", "fenced"):
                    raise
                log.error("channel.not_rekeyed", channel=name, code=error.code)
            self._work = deferLater(self.wiring.reactor, AGAIN)
            yield self._work
