"""`--lookups`: whether a tool asks the other side of `lookup` steps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import click
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread

from channels.asking import Asking
from engine.cli.reactor import steady


def lookups_option(function: Any) -> Any:
    """`--lookups`."""
    return click.option(
        "--lookups",
        type=click.Choice(["offline", "ask"]),
        default="offline",
        show_default=True,
        help="What `lookup` steps find: nothing is asked (such a message is in ERROR), or ask the connections of the"
        " configuration; that only reads, each value once.",
    )(function)


@contextmanager
def asking(lookups: str, data: Path) -> Iterator[Asking | None]:
    """Who asks, while the reactor runs beside; None when nobody is to be asked. Once a process."""
    if lookups == "offline":
        yield None
        return
    reactor = steady()
    thread = Thread(target=reactor.run, args=(False,), daemon=True)
    thread.start()

    def wait(work: Any) -> Any:
        return blockingCallFromThread(reactor, lambda: ensureDeferred(work))

    with tempfile.TemporaryDirectory() as nothing_yet:  # a sandbox without a data folder is empty
        try:
            yield Asking(wait, reactor, data if data.exists() else Path(nothing_yet))
        finally:
            reactor.callFromThread(reactor.stop)
            thread.join()
