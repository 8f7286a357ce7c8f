"""The routing side: RECEIVED messages, in order of receipt, through their pipeline to C2.

Guarantees: messages of an order group (a channel, or channels joined by `order_with`) are routed in order of
receipt; routing never waits for a destination; a message that raises, loops or eats memory becomes ERROR and the
next one goes on; one that was at work when the process died, twice, becomes ERROR `poison`;
memory holds at most `WINDOW` messages, and what does not fit is read again from the store when its turn comes
(so a restart and a long queue are the same thing).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

import structlog
from msgspec.structs import replace
from twisted.internet.defer import ensureDeferred

from channels import once
from channels.arrived import DAMAGED, POISON, Arrived, Batch, refused
from channels.guard import Guard
from channels.parts import parts
from channels.pipeline import Pipeline, Rendered, failed
from channels.states import States
from engine.clock import Micros
from engine.errors import StepTimeout
from engine.spec.lookups import LookupDown, Wanted, fetch_all
from engine.store import messages, snapshots
from engine.store.seen import Seen
from engine.store.sqlite import momentary
from engine.store.together import route_all, sparing
from engine.store.writer import Writer

log = structlog.get_logger()

WINDOW = 2_000  # messages waiting in memory
WINDOW_BYTES = 32 << 20  # of them all
READ = 64  # messages read from the store at a time
SLICE = 32  # messages routed before the reactor gets its turn
FETCH_AGAIN, FETCH_LONGEST = 1.0, 60.0  # seconds until a lookup that cannot be answered is tried again
CROWD = 100  # messages that wait: more are a crowd
CAREFUL = 100  # messages found at the start that are routed one by one, each marked first
LIVES = 2  # deaths of the process with this message at work
Made = list[tuple[Arrived, Rendered]]
"""Messages that went through their pipelines, in order."""


class Unrouted(Protocol):
    """Reads RECEIVED messages from the store, in order."""

    def __call__(self, after: int, limit: int) -> list[Arrived]:
        """At most `limit` messages with an id above `after`."""


class Router:
    """Routes one order group. `done(arrived, rendered)` is called after C2's commit, in order."""

    def __init__(
        self,
        pipelines: dict[str, Pipeline],
        writer: Writer,
        clock: Any,
        now: Callable[[], Micros],
        read: Unrouted,
        done: Callable[[Made], None],
        guard: Guard,
        states: States,
        *,
        careful: int = CAREFUL,
    ) -> None:
        self.pipelines = pipelines
        self.writer = writer
        self.clock = clock
        self.now = now
        self.read = read
        self.done = done
        self.guard = guard
        self.states = states
        self.paused = False
        self._held = False  # while channels are put together anew: see channels.wiring
        self._pausing: set[str] = set()
        self._careful = careful  # what is left of the first messages after a start
        self._marked: Arrived | None = None  # found at the start, and marked as being at work
        self._marking = False  # the mark is not durable yet
        self.pending = 0  # messages rendered, C2 not committed
        self._queue: deque[Arrived] = deque()
        self._bytes = 0  # of the messages in it
        self._behind = True  # the store may hold RECEIVED messages after `_last` that are not in memory
        self._last = 0  # id of the last message taken into memory
        self._rewound = False  # a C2 failed: read again from the store once nothing is pending
        self._scheduled: Any = None
        self._batch: Batch | None = None  # waits for its lookups
        self.waits_for = ""  # the lookup that cannot be answered, and why

    def offer(self, arrived: list[Arrived]) -> None:
        """New messages, just stored (received or replayed), in order. Dropped when memory is full: the store
        has them, behind `_last`."""
        if not self._behind:
            size = sum(len(one.raw) for one in arrived)
            if len(self._queue) + len(arrived) > WINDOW or self._bytes + size > WINDOW_BYTES:
                self._behind = True
            else:
                self._queue += arrived
                self._bytes += size
                self._last = max(self._last, arrived[-1].meta.id)
        self.wake()

    def wake(self) -> None:
        """Go on with the next slice in the next turn of the reactor."""
        if self._scheduled is None and not (self.paused or self._held):
            self._scheduled = self.clock.callLater(0, self._slice)

    def pause(self, channel: str) -> None:
        """Route nothing once all channels are paused; while one is not, the lanes keep the order of all."""
        self._pausing.add(channel)
        self.paused = self._pausing >= self.pipelines.keys()

    def resume(self, channel: str) -> None:
        """Route on."""
        self._pausing.discard(channel)
        self.paused = False
        self.wake()

    def hold(self, held: bool) -> None:
        """Begin nothing more, whatever people do meanwhile; or no longer so."""
        self._held = held
        self.wake()

    def take_over(self, pausing: Iterable[str]) -> None:
        """Pause for those of its channels that are paused already."""
        self._pausing = self.pipelines.keys() & set(pausing)
        self.paused = self._pausing >= self.pipelines.keys()

    def read_again(self, first: int) -> None:
        """A RECEIVED message could not be offered: they come again from the store, from this id on, in order."""
        self._rewind(first)

    @property
    def crowded(self) -> bool:
        """It routes as fast as it can, and what comes now waits for many."""
        working = not (self.paused or self._held or self.waits_for)
        return working and (self._behind or len(self._queue) + self.pending > CROWD)

    @property
    def idle(self) -> bool:
        """Nothing is on its way to the store."""
        return not self.pending and not self._marking

    def use(self, pipelines: dict[str, Pipeline]) -> None:
        """Route by these from the next message on. What was rendered keeps the version that rendered it."""
        self.pipelines = {**self.pipelines, **pipelines}
        if (
            old := self._batch
        ) is not None:  # what it waits for is perhaps not wanted any more, or can be had now
            self._batch = Batch(old.first, old.messages, marked=None if old.marked is None else False)
            self.waits_for = ""
            self.wake()

    def _slice(self) -> None:
        self._scheduled = None
        if self._batch is not None and not self._batch.ready:
            return
        if self.paused or self._held or self.pending >= WINDOW:
            return  # C2's commit wakes us again
        if self._rewound and self.pending:
            return
        self._rewound = False
        if self._batch is not None:
            self._go_on(self._batch)
            return
        if not self._queue and self._behind and not self._catch_up():
            return
        if self._marking:
            return
        if not self._behind:
            self._careful = 0
        if self._careful and self._marked is None:
            self._mark()
            return
        first = self._marked or (self._queue[0] if self._queue else None)
        if first is None:
            return
        for pipeline in self.pipelines.values():
            for lookup in pipeline.lookups:
                lookup.begin(self.clock.seconds())
        marked = None if self._marked is None else True
        self._go_on(Batch(first.meta.id, self._take(), marked=marked))

    def _go_on(self, batch: Batch) -> None:
        """Run a batch; when values must be looked up for it, fetch them and run those messages again."""
        self._batch = None
        if batch.marked is False:
            self._batch, batch.ready, batch.marked = batch, False, True
            self._count(batch.messages[0][0], 1, partial(self._ready, batch))
            return
        try:
            wanted = self._render(batch)
        except (Exception, StepTimeout) as error:  # an interruption that came between two messages
            log.error("route.interrupted", error=type(error).__name__)
            self._rewind(batch.first)
            return
        if wanted:
            self._batch, batch.ready = batch, False
            if batch.marked:  # who waits for others is not at work: a death meanwhile is not its doing
                batch.marked = False
                self._count(batch.messages[0][0], 0, lambda *_: None)
            self._fetch(batch, wanted)
            return
        group = [(arrived, rendered) for arrived, rendered in batch.messages if rendered is not None]
        self._commit(group)

    def _fetch(self, batch: Batch, wanted: list[Wanted]) -> None:
        """Everything that these steps want, each lookup once. An outage: the messages wait, and it is tried again."""
        if self._batch is not batch:
            return  # a rewind, or a reload: they run again

        def fetched(_: Any) -> None:
            if self._batch is not batch:
                return
            self.waits_for = ""
            batch.ready = True
            self.wake()

        def failed(failure: Any) -> None:
            if self._batch is not batch:
                return
            down = failure.check(LookupDown)
            why = f"{failure.value.code}: {failure.value.what}" if down else failure.type.__name__
            held = down is not None and failure.value.held  # a wrong key or right: people must mend it
            told = f"{wanted[0].lookup.label}: {why}"
            if held and told != self.waits_for:
                todo = failure.value.todo
                log.error("lookup.held", lookup=wanted[0].lookup.label, why=why, todo=todo)
            elif not self.waits_for:
                log.warning("lookup.down", lookup=wanted[0].lookup.label, why=why)
            self.waits_for = told
            seconds = FETCH_LONGEST if held else min(FETCH_AGAIN * 2**batch.failures, FETCH_LONGEST)
            batch.failures += 1
            self.clock.callLater(seconds, self._fetch, batch, wanted)

        work = ensureDeferred(fetch_all(wanted, self.clock.seconds()))
        work.addCallbacks(fetched, failed)

    def _take(self) -> list[tuple[Arrived, Rendered | None]]:
        """The next messages."""
        taken = [self._marked] if self._marked else []
        self._marked = None
        limit = 1 if self._careful else SLICE
        while self._queue and len(taken) < limit:
            taken.append(self._next())
        return [(arrived, None) for arrived in taken]

    def _render(self, batch: Batch) -> list[Wanted]:
        """Run the messages of a batch that are not done through their pipelines; gives what they want looked up."""
        wanted: list[Wanted] = []
        self.states.begin()
        with self.guard.bounded():
            for index, (arrived, done) in enumerate(batch.messages):
                if done is not None:
                    continue
                self.guard.arm()
                try:
                    pipeline = self.pipelines[arrived.meta.channel]
                    if pipeline.notes is not None:
                        pipeline.notes.agreement.settled()
                    run = self.states.run
                    rendered = run(pipeline, arrived.raw, arrived.meta) if arrived.raw else replace(DAMAGED)
                    if rendered is None:
                        continue
                except Wanted as one:
                    wanted.append(one)
                    continue
                except (Exception, StepTimeout) as error:
                    if momentary(error):
                        raise  # the store: they come again
                    rendered = failed(error, "route")
                finally:
                    self.guard.disarm()
                rendered.version = pipeline.version
                batch.messages[index] = arrived, rendered
        return wanted

    def _next(self) -> Arrived:
        arrived = self._queue.popleft()
        self._bytes -= len(arrived.raw)
        return arrived

    def _mark(self) -> None:
        """After a start: note in the store which message is at work, then route it alone."""
        if not self._queue:
            return
        self._careful -= 1
        arrived = self._next()
        if arrived.attempts >= LIVES:
            version = self.pipelines[arrived.meta.channel].version
            self._commit([(arrived, replace(POISON, version=version))])
            return
        self._marked, self._marking = arrived, True
        self._count(arrived, 1, self._now_marked)

    def _count(self, arrived: Arrived, more: int, done: Callable[[Any, BaseException | None], None]) -> None:
        attempts = arrived.attempts + more
        self.writer.submit(lambda tx: messages.mark_attempt(tx, arrived.meta.id, attempts), done)

    def _ready(self, batch: Batch, _: Any, _error: BaseException | None) -> None:
        if self._batch is batch:
            batch.ready = True
            self.wake()

    def _now_marked(self, _: Any, _error: BaseException | None) -> None:
        self._marking = False
        self.wake()

    def _catch_up(self) -> bool:
        """Read on. False when the store cannot be read now: tried again in a second."""
        try:
            found = self.read(self._last, READ)
        except Exception as error:
            log.error("route.unreadable", code=getattr(error, "code", type(error).__name__))
            self.clock.callLater(1, self.wake)
            return False
        if found:
            self._queue += found
            self._bytes += sum(len(one.raw) for one in found)
            self._last = found[-1].meta.id
        else:
            self._behind = False
        return True

    def _rewind(self, first: int) -> None:
        """From this message on nothing of C2 is in the store: they are RECEIVED, and come again from there."""
        self._queue.clear()
        self._bytes = 0
        self._marked = self._batch = None
        self.states.forget()
        self._behind = self._rewound = True
        self._last = min(self._last, first - 1)
        if self._scheduled is not None:
            self._scheduled.cancel()  # else it goes round and round while the store takes nothing
        self._scheduled = self.clock.callLater(1, self._slice)

    def _commit(self, group: Made) -> None:
        self.pending += len(group)
        self.writer.submit(sparing(group, self._store, refused), partial(self._stored, group))
        self.wake()

    def _store(self, tx: Any, group: Made) -> list[Rendered | None]:
        """C2: what became of each message, and its deliveries with their payloads; None: it was not RECEIVED."""
        at = self.now()
        group = [(arrived, once.decide(made, Seen(tx, arrived.meta))) for arrived, made in group]
        routed = route_all(
            tx,
            [
                messages.Routed(
                    id=arrived.meta.id,
                    state=rendered.state,
                    at=at,
                    deliveries=[messages.NewDelivery(name, payload) for name, payload in rendered.payloads],
                    reason=rendered.reason or None,
                    error_code=rendered.code or None,
                    error_text=rendered.text or None,
                    error_place=rendered.place or None,
                    config_version=rendered.version or None,
                    columns=rendered.columns,
                )
                for arrived, rendered in group
            ],
        )
        for (arrived, rendered), now in zip(group, routed, strict=True):
            if rendered.snapshot is not None and now:
                snapshots.put(tx, arrived.meta.channel, rendered.snapshot)
            for reference in rendered.met if now else ():
                snapshots.meet(tx, arrived.meta.channel, reference)
            if rendered.parts and now:
                rendered.part_ids = [
                    messages.add_part(tx, part)
                    for part in parts(arrived.meta, arrived.keys, rendered, at, tx)
                ]
        return [rendered if now else None for (_, rendered), now in zip(group, routed, strict=True)]

    def _stored(
        self, group: Made, stored: list[tuple[Any, Rendered | None]] | None, _error: BaseException | None
    ) -> None:
        self.pending -= len(group)
        if stored is None:
            self._rewind(group[0][0].meta.id)
            return
        for arrived, rendered in group:
            self.states.stored(arrived.meta.channel, rendered.snapshot)
        self.done([(arrived, made) for (arrived, _), made in stored if made])
        self.wake()
