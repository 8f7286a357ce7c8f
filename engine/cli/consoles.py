"""The console beside the engine: started with it, started again when it dies, ended with it.

Guarantees: the engine never waits for it and never fails because of it; a console that dies at once is tried again
ever more slowly.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import structlog
from twisted.internet.protocol import ProcessProtocol

log = structlog.get_logger()
FIRST, LONGEST = 1.0, 60.0  # seconds before another try
STEADY = 30.0  # seconds after which a console counts as well
PROGRAM = "from engine.cli import main; main()"


class ConsoleProcess(ProcessProtocol):
    """Keeps one console process running until `stop`."""

    def __init__(self, reactor: Any, listen: str, config: Path, data: Path) -> None:
        self.reactor = reactor
        self.arguments = [
            sys.executable, "-c", PROGRAM, "console", "--listen", listen, "--config", str(config), "--data", str(data),
        ]  # fmt: skip
        self.wait = FIRST
        self.begun = 0.0
        self.stopping = False
        self.later: Any = None

    def start(self) -> None:
        """Start it, now or again."""
        self.later = None
        self.begun = self.reactor.seconds()
        self.reactor.spawnProcess(
            self, sys.executable, self.arguments, env=dict(os.environ), childFDs={0: "w", 1: 1, 2: 2}
        )

    def processEnded(self, reason: Any) -> None:
        """It is gone; start another one."""
        if self.stopping:
            return
        well = self.reactor.seconds() - self.begun > STEADY
        self.wait = FIRST if well else min(self.wait * 2, LONGEST)
        log.warning("console.ended", status=getattr(reason.value, "exitCode", None), again_in=self.wait)
        self.later = self.reactor.callLater(self.wait, self.start)

    def stop(self) -> None:
        """End it; nothing is started again."""
        self.stopping = True
        if self.later is not None and self.later.active():
            self.later.cancel()
        if self.transport is not None and getattr(self.transport, "pid", None):
            self.transport.signalProcess("TERM")  # type: ignore[call-arg,misc]
