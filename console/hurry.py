"""Connections whose request does not come to its end.

Guarantees: a request, head and body, is there within `PATIENCE` seconds or its connection is closed, so that who sends
a byte now and then does not hold a socket of the console for ever (uvicorn limits only the wait between requests). How
long an answer takes is not limited: the dashboard's events go on.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 60.0  # seconds: 4 MiB at 70 kB/s


class Hurried(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, to whom gets to the end."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connected: the time begins."""
        super().connection_made(transport)
        self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._calm()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Something came, or an answer ended and the next request may begin."""
        super().handle_events()
        self._hurry()

    def _hurry(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY) or self.transport.is_closing():
            self._calm()
        elif self._due is None:
            self._due = self.loop.call_later(PATIENCE, self.transport.close)

    def _calm(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
