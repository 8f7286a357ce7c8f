"""Another ordering key, or another way to read it: what is open is given the keys that are made from now on.

Guarantees: until that is done nothing of these channels is routed or delivered, so a message that comes under the new
keys stays behind what its patient has open under the old ones; messages are taken and acknowledged meanwhile; a store
that cannot be written is tried again; what is cut off is done at the next start.
Refuses nothing: see engine.store.rekey for what keeps its keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from engine.errors import StoreError
from engine.spec.channel import ChannelSpec
from engine.store import rekey
from engine.store.tx import Tx
from engine.store.writer import Writer

if TYPE_CHECKING:
    from channels.channel import Channel

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


@inlineCallbacks
def renew(names: Iterable[str], channels: Mapping[str, Channel], writer: Writer, clock: Any) -> Any:
    """Give what is open in these channels today's keys. Fires when that is durable."""
    for name in names:
        log.info("channel.rekeyed", channel=name)
        left: tuple[int, int | None] | None = (0, None)
        while left is not None:
            after, until = left
            work = partial(
                rekey.rekey, channel=name, keys=partial(keys, channels[name]), after=after, until=until
            )
            try:
                left = yield writer.run(work)
            except StoreError as error:
                if writer.state in ("closed", "fenced"):
                    raise
                log.error("channel.not_rekeyed", channel=name, code=error.code)
                yield deferLater(clock, AGAIN)
