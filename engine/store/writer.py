"""The one writer: runs submitted works in grouped transactions, and calls back when they are durable.

Design. Works run on the reactor thread, in order of submission, inside one transaction; its COMMIT (the
fdatasync) runs in one commit thread. While it runs, new works queue; when it ends, the next group is executed
and its COMMIT started before the callbacks of the finished group run, so disk and CPU work at the same
time and a group is as large as the load makes it: no timer, no added wait. Nothing but the commit thread
touches the connection while a COMMIT runs. (`inline=N` commits groups of up to N works on the reactor thread
while commits are fast; measured slower at 1 and at 8 connections, so it is off.)

Guarantees: `done(result, None)` only after COMMIT returned; each work is applied wholly or not at all; works
of one group see each other; callbacks run in order of submission.
Refuses: to write once a newer engine owns the database; to accept works while the disk cannot take them.

| what happens                       | what the writer does                                                  |
|------------------------------------|-----------------------------------------------------------------------|
| a work raises                      | group rolled back and run again with a savepoint a work: only the     |
|                                    | guilty one gets its error                                             |
| another process writes (BUSY)      | the group waits and tries again by callLater; nothing fails           |
| disk full, IO error, read-only,    | rolled back; every work gets StoreError with its code; state `failed`;|
| corrupt; at BEGIN, a work, COMMIT  | later works fail at once; a probe a second; back to `open` by itself  |
| the disk fails during a COMMIT,    | as any failed COMMIT: the file system itself is asked afterwards      |
| which returns as if it had not     | (`witness`); after a checkpoint also before the log is overwritten    |
| COMMIT fails after it was written  | the works get an error although they may be found when the store goes |
|                                    | on, or after a restart: channels look for them (channels.recovery), a |
|                                    | resend meets the duplicate check, so nothing is lost and nothing twice|
| a newer engine took over (epoch)   | rolled back; every work gets `store.fenced`; state `fenced` for good  |
| a callback raises                  | logged; the others run                                                |
| killed                             | a group is there wholly or not at all, and told of only when it is    |
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from engine.errors import StoreError
from engine.store import crashpoints
from engine.store.checkpoint import Checkpointer
from engine.store.sqlite import classify
from engine.store.tx import Tx

T = TypeVar("T")
Work = Callable[[Tx], Any]
Done = Callable[[Any, BaseException | None], None]
Group = list[tuple[Work, Done | None]]
Outcomes = list[tuple[Any, BaseException | None]]
OPEN, FAILED, FENCED, CLOSED = "open", "failed", "fenced", "closed"
BUSY_WAIT = 0.003  # seconds until the next try when another process writes
BUSY_LIMIT = 10.0  # seconds that a COMMIT or a synchronous writer waits for another process
PROBE_EVERY = 1.0  # seconds
FAST_COMMIT = 0.001  # seconds; slower commits always go to the thread
PROBE_BYTES = 65536
log = Logger()


class Writer:
    """Owns the writing connection. With `reactor=None` every submit executes and commits at once."""

    def __init__(
        self,
        tx: Tx,
        *,
        reactor: Any = None,
        epoch: int | None = None,
        checkpointer: Checkpointer | None = None,
        witness: Callable[[], StoreError | None] | None = None,
        inline: int = 0,
        max_group: int = 256,
    ) -> None:
        self.state = OPEN
        self.error: StoreError | None = None
        self.epoch = epoch
        self._tx = tx
        self._db = tx.db
        self._reactor = reactor
        self._checkpointer = checkpointer
        self._witness = witness or (lambda: None)
        self._inline = inline
        self._max_group = max_group
        self._queue: deque[tuple[Work, Done | None]] = deque()
        self._outcomes: Outcomes = []
        self._scheduled = False  # a turn will come
        self._committing: Group | None = None  # what the commit thread works on
        self._commit_time = 0.0  # moving average, seconds
        self._idle: list[Deferred[None]] = []
        self._listeners: list[Callable[[str, StoreError | None], None]] = []
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._probing: Any = None  # the delayed call of the next probe
        self._busy_since = 0.0
        self._thread: Thread | None = None
        if reactor is not None:
            self._thread = Thread(target=self._work_jobs, name="isthmus-commit", daemon=True)
            self._thread.start()

    # -- what callers use ---------------------------------------------------------------------------

    def submit(self, work: Work, done: Done | None = None) -> None:
        """Run `work(tx)` in the next group; `done(result, error)` on the reactor thread once it is durable.

        `work` may run twice (see the table), so it changes nothing but the database.
        """
        self._queue.append((work, done))
        if self._reactor is None:
            self._turn()
        elif not self._scheduled and self._committing is None:
            self._later(0)

    def run(self, work: Callable[[Tx], T]) -> Deferred[T]:
        """`submit` as a Deferred."""
        result: Deferred[T] = Deferred()

        def done(value: T, error: BaseException | None) -> None:
            if error is None:
                result.callback(value)
            else:
                result.errback(Failure(error))

        self.submit(work, done)
        return result

    def call(self, work: Callable[[Tx], T]) -> T:
        """`submit` of a synchronous writer: the result, or the error raised."""
        assert self._reactor is None, "call() is for a writer without a reactor"
        outcome: list[tuple[T, BaseException | None]] = []
        self.submit(work, lambda value, error: outcome.append((value, error)))
        value, error = outcome[0]
        if error is not None:
            raise error
        return value

    def flush(self) -> Deferred[None]:
        """Fires when everything that was submitted has been answered."""
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        self._tell_idle()
        return waiting

    def close(self) -> Deferred[None]:
        """Answer what was submitted, then end the commit thread. The connection stays open."""
        return self.flush().addCallback(lambda _: self._close())

    def on_state(self, listener: Callable[[str, StoreError | None], None]) -> None:
        """Call `listener(state, error)` at every change of state."""
        self._listeners.append(listener)

    @property
    def backlog(self) -> int:
        """Works that are not durable yet."""
        return len(self._queue) + len(self._committing or ())

    # -- one group ----------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Execute the next group and commit it, here or in the thread."""
        self._scheduled = False
        group = self._start()
        if group is None:
            return
        if self._reactor is None or (len(group) <= self._inline and self._commit_time < FAST_COMMIT):
            error = self._commit(patient=self._reactor is None)
            if error is None or error.code != "store.busy" or self._reactor is None:
                self._committing = None
                self._answer(group, self._outcomes, error)
                return
        self._jobs.put(self._commit_and_report)

    def _start(self) -> Group | None:
        """Begin and execute a group; None when there is none, or when it has been answered or must wait."""
        while self._queue and self._committing is None:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_group))]
            if self.state != OPEN:
                self._finish(group, [], self.error)
                continue
            try:
                self._execute(group)
            except StoreError as error:
                self._rollback()
                if error.code != "store.busy":
                    self._fail(error)
                    self._finish(group, [], error)
                    continue
                self._queue.extendleft(reversed(group))
                if self._reactor is not None:
                    self._later(BUSY_WAIT)
                    return None
                if not self._wait_for_others():
                    self._queue.clear()
                    self._finish(group, [], error)
                continue
            self._committing = group
            return group
        self._tell_idle()
        return None

    def _execute(self, group: Group) -> None:
        tx = self._tx
        try:
            self._begin()
            try:
                self._outcomes = [(work(tx), None) for work, _ in group]
                tx.flush()
            except Exception as error:
                fault = classify(error)
                if fault is not None and not isinstance(error, StoreError):
                    raise
                self._rollback()
                self._begin()
                self._outcomes = [self._alone(work) for work, _ in group]
        except sqlite3.Error as error:
            raise classify(error) or StoreError("the store failed", code="store.io") from error
        self._busy_since = 0.0

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        copied = self._checkpointer is not None and self._checkpointer.may_have_ended()
        if copied and (lost := self._witness()) is not None:
            raise lost  # before the log is overwritten, which may be all that there is
        if self.epoch is not None:
            newest = self._db.execute("SELECT max(epoch) FROM node").fetchone()[0]
            if newest != self.epoch:
                raise StoreError(
                    "a newer engine has taken this database over",
                    code="store.fenced",
                    todo="this process must be stopped",
                )

    def _alone(self, work: Work) -> tuple[Any, BaseException | None]:
        """One work within its own savepoint; a fault of the store itself is raised."""
        db, tx = self._db, self._tx
        db.execute("SAVEPOINT work")
        try:
            result = work(tx)
            tx.flush()
        except Exception as error:
            if isinstance(error, sqlite3.Error) and classify(error) is not None:
                raise
            tx.forget()
            db.execute("ROLLBACK TO work")
            db.execute("RELEASE work")
            return None, error
        db.execute("RELEASE work")
        return result, None

    def _commit(self, patient: bool) -> StoreError | None:
        """COMMIT, in whichever thread this is; None when it is durable. `patient`: may wait for others."""
        started = time.perf_counter()
        marks = self._tx.marks
        if crashpoints.ARMED:
            for mark in sorted(marks):
                crashpoints.hit(f"{mark}.before_commit")
        while True:
            try:
                self._db.execute("COMMIT")
                break
            except sqlite3.Error as error:
                fault = classify(error) or StoreError("COMMIT failed", code="store.io")
                waited = time.perf_counter() - started
                if fault.code != "store.busy" or not patient or waited > BUSY_LIMIT:
                    return fault
                time.sleep(BUSY_WAIT)
        if (lost := self._witness()) is not None:
            return lost
        if crashpoints.ARMED:
            for mark in sorted(marks):
                crashpoints.hit(f"{mark}.after_commit")
            marks.clear()
        took = time.perf_counter() - started
        self._commit_time += (took - self._commit_time) / 8
        if self._checkpointer is not None and self._committing is not None:
            self._checkpointer.committed(len(self._committing), patient)
        return None

    def _commit_and_report(self) -> None:
        error = self._commit(patient=True)
        self._reactor.callFromThread(self._committed, error)

    def _committed(self, error: StoreError | None) -> None:
        """The commit thread is done: start the next group first, then tell the callers of the last one."""
        group, outcomes = self._committing, self._outcomes
        self._committing = None
        assert group is not None
        if error is None and not self._scheduled and self._start() is not None:
            self._jobs.put(self._commit_and_report)
        self._answer(group, outcomes, error)

    def _answer(self, group: Group, outcomes: Outcomes, error: StoreError | None) -> None:
        """After a COMMIT: tell the callers, and see to it that what they submit meanwhile is taken up."""
        if error is not None:
            self._rollback()
            self._fail(error)
        self._finish(group, outcomes, error)
        if self._queue and self._committing is None and not self._scheduled:
            if self._reactor is None:
                self._turn()
            else:
                self._later(0)
        self._tell_idle()

    def _finish(self, group: Group, outcomes: Outcomes, error: StoreError | None) -> None:
        """Tell the callers of a group: their outcomes, or the one error that all of them share."""
        if error is not None:
            outcomes = [(None, error)] * len(group)
        for (_, done), (result, failure) in zip(group, outcomes, strict=True):
            if done is not None:
                try:
                    done(result, failure)
                except Exception:
                    log.failure("a callback of the store failed")

    def _rollback(self) -> None:
        self._tx.forget()
        if self._committing is None and self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                log.failure("the store could not roll back")

    # -- trouble ------------------------------------------------------------------------------------

    def _fail(self, error: StoreError) -> None:
        if self.state != OPEN or error.code == "store.busy":
            return
        self._set_state(FENCED if error.code == "store.fenced" else FAILED, error)
        if self.state == FAILED and self._reactor is not None:
            self._probe_later()

    def _probe_later(self) -> None:
        self._probing = self._reactor.callLater(PROBE_EVERY, self._jobs.put, self._probe_and_report)

    def _probe_and_report(self) -> None:
        self._reactor.callFromThread(self._probed, self._probe())

    def _probe(self) -> StoreError | None:
        """Try to write durably: what the disk could not take, or None."""
        db = self._db
        if (lost := self._witness()) is not None:
            return lost
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.execute("INSERT OR REPLACE INTO probe (id, data) VALUES (1, randomblob(?))", (PROBE_BYTES,))
            db.execute("DELETE FROM probe")
        except sqlite3.Error as error:
            return classify(error) or StoreError("the store failed", code="store.io")
        return self._witness()

    def _probed(self, error: StoreError | None) -> None:
        if self.state != FAILED:
            return
        if error is None:
            self._set_state(OPEN, None)
        else:
            self.error = error
            self._probe_later()

    def _set_state(self, state: str, error: StoreError | None) -> None:
        self.state, self.error = state, error
        for listener in self._listeners:
            listener(state, error)

    # -- plumbing -----------------------------------------------------------------------------------

    def _later(self, seconds: float) -> None:
        self._scheduled = True
        self._reactor.callLater(seconds, self._turn)

    def _wait_for_others(self) -> bool:
        """A synchronous writer waits a little; False when it has waited long enough."""
        self._busy_since = self._busy_since or time.perf_counter()
        time.sleep(BUSY_WAIT)
        return time.perf_counter() - self._busy_since < BUSY_LIMIT

    def _tell_idle(self) -> None:
        if self._idle and not self._queue and self._committing is None:
            waiting, self._idle = self._idle, []
            for one in waiting:
                one.callback(None)

    def _work_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _close(self) -> None:
        if self.state == CLOSED:
            return
        self._set_state(CLOSED, StoreError("the store is closed", code="store.closed"))
        if self._probing is not None and self._probing.active():
            self._probing.cancel()
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
