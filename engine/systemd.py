"""Tells systemd how the engine does: READY, STOPPING, STATUS, WATCHDOG (sd_notify(3)), without a library.

Guarantees: nothing happens where systemd does not ask for it (no NOTIFY_SOCKET); a notice that cannot be sent
is dropped, for it must never disturb the engine. Refuses nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `READY=1`, `STATUS=…` (lines, in any combination). Whether somebody was there to be told."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]  # the abstract namespace of Linux
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
            wire.setblocking(False)
            wire.sendto(state.encode(), address)
    except OSError:
        return False
    return True
