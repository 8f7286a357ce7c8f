"""`run` and `demo` with a console: a small process that keeps engine and console running, each on its own.

    run ─┬─ engine   killed, or ended by an error after it was up: started again
         └─ console  ended in whatever way: started again

Guarantees: one that dies does not disturb the other; one that dies at once is started ever more slowly, up to once a
minute; SIGTERM and SIGINT end both in order, SIGHUP goes to the engine; when this process is killed, both end in order
(Linux). Refuses to start an engine again that refused to start (its configuration, its ports, its store), that was
told to end, or whose store another engine has taken over: then everything ends, with its exit status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

FIRST, LONGEST = 1.0, 60.0  # seconds before another try
STEADY = 30.0  # seconds after which one counts as well again
LOOK = 0.1  # seconds between two looks
PATIENCE = 30.0  # seconds that the two have to end
PROGRAM = "from engine.cli import main; main()"
READY = "ISTHMUS_READY_FD"
PR_SET_PDEATHSIG = 1
OUSTED = 2


class Child:
    """One process that is kept running; `again` are its arguments when it is started again, if they differ."""

    def __init__(
        self, name: str, arguments: Sequence[str], told: Callable[[str], None], again: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.arguments, self.again = arguments, again or arguments
        self.told = told
        self.process: subprocess.Popen[bytes] | None = None
        self.up = False
        self.wait = FIRST
        self.begun = 0.0
        self.again_at = 0.0
        self._pipe = -1

    def start(self) -> None:
        """Start it, now or again."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        parent = os.getpid()
        self.begun, self.again_at = time.monotonic(), 0.0
        self.process = subprocess.Popen(  # noqa: S603 (our own program)
            [sys.executable, "-c", PROGRAM, *self.arguments], pass_fds=[write], env={**os.environ, READY: str(write)},
            preexec_fn=lambda: _end_with(parent), stdin=subprocess.DEVNULL,  # noqa: PLW1509 (one thread)
        )  # fmt: skip
        os.close(write)
        self._close()
        self._pipe = read

    def look(self) -> int | None:
        """Its exit status once it has ended; notices when it is up."""
        if self._pipe >= 0:
            with contextlib.suppress(BlockingIOError):
                if os.read(self._pipe, 1):
                    self.up = True
                self._close()
        return self.process.poll() if self.process is not None else None

    def later(self, status: int) -> None:
        """It has ended; start it again, but not at once every time."""
        well = time.monotonic() - self.begun > STEADY
        self.wait = FIRST if well else min(self.wait * 2, LONGEST)
        self.process, self.arguments = None, self.again
        self.again_at = time.monotonic() + self.wait
        how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
        self.told(f"the {self.name} {how}; it is started again in {self.wait:.0f} s")

    def send(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def _close(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def _end_with(parent: int) -> None:
    """In the child: SIGTERM when the parent dies, however it dies."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


class Supervisor:
    """Keeps both running until it is told to stop."""

    def __init__(
        self, engine: Sequence[str], console: Sequence[str], told: Callable[[str], None], again: Sequence[str] = ()
    ) -> None:  # fmt: skip
        self.engine = Child("engine", engine, told, again)
        self.console = Child("console", console, told)
        self._stopping = False
        self._reload = False

    def run(self) -> int:
        """Until a signal, or until the engine is not to be started again; gives the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hung_up)
        self.engine.start()
        while not self._stopping:
            time.sleep(LOOK)
            if self._reload:
                self._reload = False
                self.engine.send(signal.SIGHUP)
            status = self._look_after_engine()
            if status is not None:
                self._end()
                return status
            self._look_after_console()
        return self._end()

    def _look_after_engine(self) -> int | None:
        engine = self.engine
        if engine.process is None:
            if time.monotonic() >= engine.again_at:
                engine.start()
            return None
        status = engine.look()
        if status is None or self._stopping:
            return None
        if status >= 0 and (not engine.up or status in (0, OUSTED)):
            return status
        if status < 0 and not engine.up:
            return 128 - status
        engine.later(status)
        return None

    def _look_after_console(self) -> None:
        console = self.console
        if console.process is None:
            if self.engine.up and time.monotonic() >= console.again_at:
                console.start()
            return
        status = console.look()
        if status is not None:
            console.later(status)

    def _end(self) -> int:
        """Both end in order; gives the engine's exit status."""
        both = (self.console, self.engine)
        for child in both:
            child.send(signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        for child in both:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.told(f"the {child.name} does not end; it is killed")
                child.process.kill()
                child.process.wait()
        status = self.engine.process.returncode if self.engine.process is not None else 0
        return int(status if status >= 0 else 128 - status)

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True

    def _hung_up(self, number: int, frame: object) -> None:
        self._reload = True


def ready() -> None:
    """Said by an engine that is up, to who keeps it running."""
    number = os.environ.pop(READY, "")
    if number.isdigit():
        with contextlib.suppress(OSError):
            os.write(int(number), b"1")
            os.close(int(number))
