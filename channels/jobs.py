"""Jobs at run time: takes the steps of every running job, at its rate, and tells routers and lanes what changed.

Guarantees: one step of a job at a time, the next when the last is durable, so no ACK waits behind more than one
batch; what a step changed is in the lanes in the turn of its commit; at most `rate` messages a second; a job that
is paused or cancelled by anybody takes no further step; a message that cannot be read fails alone.

Who sends messages comes first. A job goes at full speed only while nobody is in its way:

| others                                    | the job                                                              |
|-------------------------------------------|----------------------------------------------------------------------|
| fewer than `BUSY` messages a second       | whole batches, `PAUSE` apart                                         |
| more, within the last `CALM` seconds      | small steps, for `SHARE` of the reactor's time, `YIELD` apart         |
| wait to be routed or delivered (`crowded`)| small steps, `FLOOR` a second                                         |

A small step is one message to replay, five to resend or discard.
It never stands still: `FLOOR` steps a second are taken whatever happens.

| failure                        | what happens                                                              |
|--------------------------------|---------------------------------------------------------------------------|
| the engine is killed           | the store has every whole step; the job goes on at the next start         |
| the store cannot write         | nothing of the step is there; it is tried again when the store is open    |
| a body cannot be read          | the batch is taken one by one; that message counts as failed              |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
BUSY = 50.0  # messages a second from outside: more than one connection gets through beside whole batches
LOOK = 0.1  # seconds that they are counted in
CALM = 1.0  # seconds after which senders who said no more count as quiet: they may only have been held up
SHARE = 0.02  # of the reactor's time for the steps of all jobs, while senders are busy
YIELD = 0.02  # seconds between two steps then, at least: most transactions have none
FLOOR = 5.0  # steps a second that a job takes in any case
SMALL = 25  # part of a batch in a small step, which no ACK notices
SOON = 1e-6  # seconds; a timer may come before its time by as much


class JobRunner:
    """Runs the jobs of the store. `changed(verb, result)` is told what a step did, after its commit.

    `arrivals` counts the messages from outside so far; `crowded(channels)` tells whether others wait there.
    """

    def __init__(
        self, writer: Writer, reader: Tx, clock: Any, changed: Callable[[str, list[Any]], None],
        arrivals: Callable[[], int] = lambda: 0, keys: Callable[[str], Keys | None] = lambda channel: None,
        crowded: Callable[[Iterable[str]], bool] = lambda channels: False,
    ) -> None:  # fmt: skip
        self.writer = writer
        self.reader = reader
        self.clock = clock
        self.changed = changed
        self.keys = keys
        self._next: dict[int, Any] = {}  # job id -> the delayed call of its next step; None: it is at work
        self._singly: dict[int, int] = {}  # job id -> messages to take one by one
        self._stopped = False
        self._arrivals = arrivals
        self._crowded = crowded
        self._seen = 0, 0.0  # arrivals, and when
        self._busy_until = 0.0
        self._took = 0.0  # seconds of the reactor that the last step of any job took

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

    def _turn(self, job: jobs.Job, last: float) -> None:
        """The next step, `last` the time of the one before; when others come first, look again soon."""
        now = self.clock.seconds()
        wait = last + self._wait(job) - now
        if wait > SOON:
            self._next[job.id] = self.clock.callLater(min(wait, LOOK), self._turn, job, last)
        else:
            self._step(job)

    def _wait(self, job: jobs.Job) -> float:
        """Seconds between two steps that others are due, just now."""
        self._look()
        if self._stands_in_line(job):
            return 1 / FLOOR
        if self._busy:
            return min(max(YIELD, self._took / SHARE) * len(self._next), 1 / FLOOR)
        return 0.0

    def _stands_in_line(self, job: jobs.Job) -> bool:
        return job.verb != "discard" and self._crowded(job.channels)

    def _step(self, job: jobs.Job) -> None:
        self._next[job.id] = None
        small = self._busy or self._stands_in_line(job)
        size = 1 if self._singly.get(job.id) else portion(job, small)

        def work(tx: Tx) -> jobs.Step | None:
            begun = self.clock.seconds()
            done = jobs.step(tx, job.id, size, self.keys)
            self._took = self.clock.seconds() - begun
            return done

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
        begun = self.clock.seconds()
        try:
            if done.changed:
                self.changed(job.verb, done.changed)
        finally:
            self._took += self.clock.seconds() - begun
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
        rate = job.args.get("rate")
        seconds = messages / rate if rate else PAUSE
        self._next[job.id] = self.clock.callLater(seconds, self._turn, job, self.clock.seconds())

    @property
    def _busy(self) -> bool:
        return bool(self.clock.seconds() < self._busy_until)

    def _look(self) -> None:
        """Whether many messages come from outside just now."""
        came, now = self._arrivals(), self.clock.seconds()
        before, then = self._seen
        if then > 0 and came - before > BUSY * max(now - then, LOOK):  # at once, not when `LOOK` is over
            self._busy_until = now + CALM
        if now - then >= LOOK:
            self._seen = came, now


def portion(job: jobs.Job, small: bool = False) -> int:
    """Messages in one step of a job."""
    largest = jobs.BATCH[job.verb] // (SMALL if small else 1)
    rate = job.args.get("rate")
    return max(1, min(largest, int(rate * EVERY))) if rate else largest
