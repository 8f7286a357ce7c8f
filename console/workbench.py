"""The console's way to configurations: each question is answered by a process of its own (engine.cli.workbench).

Guarantees: a process has limits of time and memory and is ended when it takes too long; `TOGETHER` run at a time, the
others wait; while somebody works here the next process is started ahead, so that an answer takes as long as its work.
Refuses (Refused): 504 too slow, 503 too many at a time, and what the process refuses in its own words.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from console.problems import Refused

PROGRAM = "from engine.cli.workbench import main; main()"
LONGEST = 30.0  # seconds
TOGETHER = 2
IDLE = 300.0  # seconds that a process waits for a question
STATUS = {
    "config.stale": 412,
    "config.rights": 403,
    "config.edited": 409,
    "config.version": 404,
    "config.sample": 404,
    "channel.unknown": 404,
    "table.unknown": 404,
    "config.files": 503,
}


class Workbench:
    """Asks about one configuration, for many threads."""

    def __init__(self, config: Path, data: Path) -> None:
        self.config, self.data = config, data
        self._places = threading.BoundedSemaphore(TOGETHER)
        self._lock = threading.Lock()
        self._ready: subprocess.Popen[bytes] | None = None
        self._at = 0.0
        self._closed = False
        self._schema: bytes | None = None

    def ask(self, do: str, **asked: Any) -> dict[str, Any]:
        """The answer to one question, or Refused."""
        question = {"do": do, "config": str(self.config), "data": str(self.data), **asked}
        if not self._places.acquire(timeout=LONGEST):
            raise Refused(
                503, "workbench.busy", "others work on the configuration now", "try again in a moment"
            )
        try:
            content = self._run(msgspec.json.encode(question))
        finally:
            self._places.release()
            self._prepare()
        try:
            answer = msgspec.json.decode(content, type=dict[str, dict[str, Any]])
        except msgspec.DecodeError:
            raise Refused(
                409, "workbench.ended", "this took more memory or time than is allowed, or made the process end",
                "the console's log tells more",
            ) from None  # fmt: skip
        if "error" in answer:
            error = answer["error"]
            status = STATUS.get(error["code"], 422)
            raise Refused(status, error["code"], error["what"], error["todo"], error["problems"])
        return answer["ok"]

    def schema(self) -> bytes:
        """The JSON Schema of channel files; it is the same as long as this process runs."""
        if self._schema is None:
            self._schema = msgspec.json.encode(self.ask("schema"))
        return self._schema

    def _run(self, question: bytes) -> bytes:
        with self._lock:
            process, self._ready = self._ready, None
        if process is None or process.poll() is not None:
            process = self._start()
        try:
            content, _ = process.communicate(question, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise Refused(
                504, "workbench.slow", f"there was no answer after {LONGEST:.0f} s", "try a shorter text"
            ) from None
        finally:
            if process.poll() is None:
                _end(process)
        return content

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 (our own program; the question goes through a pipe)
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, start_new_session=True,
        )  # fmt: skip

    def _prepare(self) -> None:
        with self._lock:
            self._at = time.monotonic()
            if self._closed or self._ready is not None:
                return
            self._ready = self._start()

    def tidy(self) -> None:
        """End the process that nobody has needed for long."""
        with self._lock:
            if self._ready is not None and time.monotonic() - self._at > IDLE:
                _end(self._ready)
                self._ready = None

    def close(self) -> None:
        """End it."""
        with self._lock:
            self._closed = True
            if self._ready is not None:
                _end(self._ready)
                self._ready = None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
