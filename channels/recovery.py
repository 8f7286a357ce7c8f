"""The store goes on after it could not write: what it holds is worked on, also of a COMMIT that nobody was told of.

A COMMIT that failed after it was written, or of which the file system was not sure, is told as an error: senders get
AR 207, routers and lanes take nothing of it up. It may be there all the same, and a sender that sends again then gets
the AA that is stored. So everything is looked through once more, as at a start.

Guarantees: in order of receipt, and nothing twice: what is in memory already stays where it is. Refuses nothing.
"""

from __future__ import annotations

import structlog

from channels.wiring import Wiring
from engine.store.standing import unfinished

log = structlog.get_logger()

AGAIN = 1.0  # seconds, when the store cannot be read


def recover(wiring: Wiring) -> None:
    """Called in the turn in which the store is open again: before anything is written."""
    for group in wiring.groups:
        group.router.read_again(1)
        for backlog in set(group.backlogs.values()):
            backlog.read_again()
    recount(wiring)


def recount(wiring: Wiring) -> None:
    """What is open is what the store says."""
    try:
        for name, channel in wiring.channels.items():
            known = [(name, item.name) for item in channel.spec.destinations]
            channel.finished(channel.open - unfinished(wiring.store.reader, name, known))
    except Exception as error:
        log.error("recovery.unreadable", error=type(error).__name__)
        wiring.reactor.callLater(AGAIN, recount, wiring)
