"""The reactor of this process: on a clock that cannot be set, and with less to do for each event.

Twisted's timers count by the wall clock: after it was set back an hour, every wait would last an hour longer. Its
epoll reactor makes a log context around every event, which costs as much as reading the bytes does; the log of this
engine does not use it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from twisted.internet import epollreactor
from twisted.internet.abstract import isIPAddress
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from twisted.internet.main import installReactor
from twisted.logger import Logger
from zope.interface import implementer

READABLE = epollreactor.EPollReactor._POLL_IN
log = Logger()


class Reactor(epollreactor.EPollReactor):
    """Twisted's, without a log context for each event. What is not plain reading goes its way."""

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, at most `timeout` seconds (None: for ever), and hand them out."""
        selectables = self._selectables
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
        except InterruptedError:
            return
        for fd, event in events:
            selectable = selectables.get(fd)
            if selectable is None:  # an event before this one closed it
                continue
            if event != READABLE:
                self._doReadOrWrite(selectable, fd, event)
                continue
            try:
                why = selectable.doRead()
            except BaseException as error:
                log.failure("a connection failed and is dropped")
                why = error
            if why:
                self._disconnectSelectable(selectable, why, True)

    doIteration = doPoll


@implementer(IHostResolution)
class Resolved:
    """The resolution of a name that was an address."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """It is done already."""


@implementer(IHostnameResolver)
class Resolver:
    """The reactor's, but an IPv4 address is its own answer: Twisted asks the system for it in a thread, every time."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def resolveHostName(
        self,
        resolutionReceiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        """As IHostnameResolver says."""
        if not isIPAddress(hostName) or (addressTypes is not None and IPv4Address not in addressTypes):
            return self._system.resolveHostName(
                resolutionReceiver, hostName, portNumber, addressTypes, transportSemantics
            )
        resolution = Resolved(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        resolutionReceiver.addressResolved(IPv4Address(transportSemantics, hostName, portNumber))  # type: ignore[arg-type]
        resolutionReceiver.resolutionComplete()
        return resolution


def steady() -> Any:
    """The reactor, its timers counting by the monotonic clock. Call it before anything is scheduled."""
    if "twisted.internet.reactor" not in sys.modules:
        installReactor(Reactor())
    from twisted.internet import reactor

    found: Any = reactor
    found.seconds = time.monotonic
    if not isinstance(found.nameResolver, Resolver):
        found.installNameResolver(Resolver(found.nameResolver))
    return found
