"""Jobs at run time: takes the steps of every running job, at its rate, and tells routers and lanes what changed.

Guarantees: one step of a job at a time, the next when the last is durable, so no ACK waits behind more than one
batch; what a step changed is in the lanes in the turn of its commit; at most `rate` messages a second; a job that
is paused or cancelled by anybody takes no further step; a message that cannot be read fails alone. Who sends messages
comes first: while more than `BUSY` a second arrive, a job without a rate takes very small steps, `YIELD` apart.

| failure                        | what happens                                                              |
|--------------------------------|---------------------------------------------------------------------------|
| the engine is killed           | the store has every whole step; the job goes on at the next start         |
| the store cannot write         | nothing of the step is there; it is tried again when the store is open    |
| a body cannot be read          | the batch is taken one by one; that message counts as failed              |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from engine.store import jobs
from engine.store.rekey import Keys
from engine.store.tx import Tx
from engine.store.writer import Writer

log = structlog.get_logger()

EVERY = 0.2  # seconds between the steps of a job with a rate, when it allows more than one message in them
PAUSE = 0.002  # seconds between the steps of a job without one: others get their turn
BUSY = 200.0  # messages a second from outside
LOOK = 0.05  # seconds that they are counted in
YIELD = 0.01  # seconds between the steps of a job without a rate while so many come
SMALL = 50  # part of a batch then: one message replayed, which no ACK notices


class JobRunner:
    """Runs the jobs of the store. `changed(verb, result)` is told what a step did, after its commit."""

    def __init__(
        self, writer: Writer, reader: Tx, clock: Any, changed: Callable[[str, list[Any]], None],
        arrivals: Callable[[], int] = lambda: 0, keys: Callable[[str], Keys | None] = lambda channel: None,
    ) -> None:  # fmt: skip
        self.writer = writer
        self.reader = reader
        self.clock = clock
        self.changed = changed
        self.keys = keys
        self._next: dict[int, Any] = {}  # job id -> the delayed call of its next step; None: it is at work
        self._singly: dict[int, int] = {}  # job id -> messages to take one by one
        self._stopped = False
        self._arrivals = arrivals  # how many messages have come from outside
        self._seen = 0, 0.0  # of them, and when
        self._busy = False

    def poll(self) -> None:
        """Look for jobs that run and are not run here yet; called several times a second."""
        if self._stopped or self.writer.state != "open":
            return
        self._look()
        for job in jobs.unfinished(self.reader):
            if job.state == "running" and job.id not in self._next:
                log.info("job.running", job=job.id, verb=job.verb, left=job.total - job.done)
                self._step(job)

    def stop(self) -> None:
        """Take no more steps; the jobs go on at the next start."""
        self._stopped = True
        for call in self._next.values():
            if call is not None and call.active():
                call.cancel()
        self._next.clear()

    def _step(self, job: jobs.Job) -> None:
        self._next[job.id] = None
        size = 1 if self._singly.get(job.id) else portion(job, self._busy)
        work = partial(jobs.step, job_id=job.id, limit=size, keys=self.keys)
        self.writer.submit(work, partial(self._stepped, job, size))

    def _stepped(self, job: jobs.Job, size: int, done: jobs.Step | None, error: BaseException | None) -> None:
        if error is not None:
            self._failed(job, size, error)
            return
        if done is None:  # done, paused or cancelled
            self._next.pop(job.id, None)
            self._singly.pop(job.id, None)
            return
        if self._singly.get(job.id):
            self._singly[job.id] -= 1
        try:
            if done.changed:
                self.changed(job.verb, done.changed)
        finally:
            self._later(job, len(done.ids))

    def _failed(self, job: jobs.Job, size: int, error: BaseException) -> None:
        code = getattr(error, "code", type(error).__name__)
        log.error("job.step_failed", job=job.id, code=code, messages=size)
        if self.writer.state != "open" or code == "store.busy":
            self._next.pop(job.id, None)  # `poll` takes it up again
        elif size > 1:
            self._singly[job.id] = size
            self._later(job, 0)
        else:
            self.writer.submit(
                partial(jobs.skip, job_id=job.id, code=code), lambda result, failure: self._later(job, 1)
            )

    def _later(self, job: jobs.Job, messages: int) -> None:
        if self._stopped:
            return
        self._look()
        rate = job.args.get("rate")
        seconds = messages / rate if rate else YIELD if self._busy else PAUSE
        self._next[job.id] = self.clock.callLater(seconds, self._step, job)

    def _look(self) -> None:
        """Whether many messages come from outside just now."""
        came, now = self._arrivals(), self.clock.seconds()
        before, then = self._seen
        if now - then >= LOOK:
            self._busy = then > 0 and came - before > BUSY * (now - then)
            self._seen = came, now


def portion(job: jobs.Job, busy: bool = False) -> int:
    """Messages in one step of a job."""
    largest = jobs.BATCH[job.verb] // (SMALL if busy else 1)
    rate = job.args.get("rate")
    return max(1, min(largest, int(rate * EVERY))) if rate else largest
