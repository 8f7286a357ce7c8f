"""Bounds what is tried from one address: passwords, second factors, set-up tokens.

Guarantees: after `TRIES` wrong ones within `WINDOW` seconds an address is refused until it has been quiet for long
enough; memory is bounded. Users are locked apart from this (engine.store.users).
"""

from __future__ import annotations

import ipaddress
import threading
import time

from starlette.requests import Request

from console.problems import Refused

WINDOW = 60.0  # seconds
TRIES = 20
ADDRESSES = 10_000


class Throttle:
    """Wrong attempts by address."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, list[float]] = {}
        self.turn = threading.Lock()
        """Whoever checks a password holds it: one at a time."""

    def check(self, address: str) -> None:
        """Refused 429 when there were too many."""
        with self._lock:
            if len(self._recent(_network(address))) >= TRIES:
                raise Refused(429, "too-many", "too many attempts from here", "wait a minute")

    def failed(self, address: str) -> None:
        """One more was wrong."""
        network = _network(address)
        with self._lock:
            if len(self._failed) >= ADDRESSES:
                self._failed = {one: recent for one in self._failed if (recent := self._recent(one))}
            self._failed[network] = [*self._recent(network), time.monotonic()][-TRIES:]
            while len(self._failed) > ADDRESSES:
                del self._failed[next(iter(self._failed))]

    def _recent(self, address: str) -> list[float]:
        since = time.monotonic() - WINDOW
        return [at for at in self._failed.get(address, ()) if at > since]


def _network(address: str) -> str:
    """Whoever has one address of IPv6 has its whole /64."""
    try:
        found = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))


def throttle_of(request: Request) -> Throttle:
    """The throttle of the application."""
    found: Throttle = request.app.state.throttle
    return found
