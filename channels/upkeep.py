"""The store looks after itself while it works: retention, re-encryption after a new key, a watch on the disk.

Guarantees: an ACK never waits for it: rows are looked for in a thread with a connection of its own, and changed a
small batch a transaction, with pauses between, only while the writer has little to do (under a load that never
ends: a quarter of a batch at a time, so that the store does not grow until it ends); what is cut off by a stop, a
crash or a full disk is done in the next run; a run that changed something leaves one event with its counts.
Refuses to delete what is not finished: see engine.store.retention.

| happens                                  | then                                                          |
|------------------------------------------|---------------------------------------------------------------|
| the writer is busy                       | wait; after `PATIENCE` seconds small batches until it is not  |
| the disk is full, the store cannot write | the run ends; the next one goes on                            |
| a message is resent while it is due      | seen inside the transaction: passed over                      |
| a delivery in ERROR is given up          | discarded with an event; what waited for it goes on           |
| killed between two batches               | what is done is done; found again by the next run             |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import structlog
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.task import LoopingCall, deferLater
from twisted.python.failure import Failure

from channels.channel import Channel
from channels.diskwatch import DiskWatch
from engine.clock import Micros, iso
from engine.errors import IsthmusError, StoreError, places
from engine.security.keyring import Keyring
from engine.spec.channel import Configuration
from engine.spec.options import ChannelOptions
from engine.spec.retention import Retention
from engine.store import maintenance, retention, seen
from engine.store.levels import set_levels
from engine.store.operate import Discarded
from engine.store.retention import ROWS, Rule
from engine.store.store import Store
from engine.store.tx import Tx

log = structlog.get_logger()

LOOK_EVERY = 2.0  # seconds between two looks at the disk
FIRST_RUN = 10.0  # seconds after the start
SHORTEST, LONGEST = 60.0, 3600.0  # seconds between two runs
WHOLE_EVERY = 86_400_000_000  # microseconds; then the tables are walked from their beginning again
PAUSE = 0.02  # seconds between two batches
QUIET = 4  # works in the writer's queue
PATIENCE = 5.0  # seconds
BUSY_ROWS = ROWS // 4  # half a millisecond of the reactor's time

InThread = Callable[..., Deferred[Any]]
Released = Callable[[list[Discarded]], None]
"""Told of the deliveries that were given up, to let go who waits for them."""


class Upkeep:
    """One for an engine; `start` after its channels exist, `stop` before its store closes."""

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        reactor: Any,
        now: Callable[[], Micros],
        channels: dict[str, Channel],
        configuration: Configuration,
        released: Released,
        in_thread: InThread | None = None,
    ) -> None:
        self._store = store
        self._writer = store.writer
        self._keyring = keyring
        self._clock = reactor
        self._now = now
        self._options = _options(configuration)
        self._released = released
        self._in_thread = in_thread or partial(threaded, reactor)
        self.disk = DiskWatch(Path(store.path), configuration.disk, channels.values)
        self._look = LoopingCall(self.disk.look)
        self._look.clock = reactor
        self._next: Any = None  # the delayed call of the next run
        self._running: Deferred[Any] | None = None
        self._stopping = False
        self._reader: Tx | None = None  # while a run reads
        self._seen: dict[tuple[str, str], int] = {}  # (channel, what) -> message id up to which it is done
        self._whole: Micros = 0  # when the tables were last walked from their beginning
        self._sizes: dict[str, retention.Sizes] = {}
        self._levels: Mapping[str, str] | None = None
        self._counts: Counter[str] = Counter()  # of the run at work, or the last one
        self._at: Micros = 0  # its begin
        self._sweeps = (0, 1)  # of it: how many are done, of how many
        self._part = 0.0  # of it that is done
        self._reencrypting = False
        self._pressed = False  # the writer has been busy for PATIENCE

    # Life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Obey the storage levels from the first message on; watch the disk; run now and then."""
        self._obey_levels()
        self._look.start(LOOK_EVERY, now=True)
        self._next = self._clock.callLater(FIRST_RUN, self.run)

    def stop(self) -> Deferred[Any]:
        """Begin nothing more, cut off what is being read. Fires when the batch at work is durable."""
        self._stopping = True
        if self._reader is not None:
            self._reader.db.interrupt()
        if self._look.running:
            self._look.stop()
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._running is None:
            return succeed(None)
        waiting: Deferred[Any] = Deferred()
        self._running.addBoth(lambda _: waiting.callback(None))
        return waiting

    def status(self) -> dict[str, Any]:
        """For people and `status --json`."""
        return {
            "disk": self.disk.status(),
            "retention": {
                "running": self._running is not None,
                "part": self._part,
                "at": iso(self._at) if self._at else None,
                "counts": dict(self._counts),
            },
            "reencrypting": self._reencrypting,
        }

    def run(self) -> bool:
        """Do everything that is due, in the background. False when that is being done already."""
        if self._running is not None or self._stopping:
            return False
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._running = Deferred()
        self._run().addErrback(self._failed).addBoth(self._ended)
        return True

    def _failed(self, failure: Any) -> None:
        error = failure.value
        if self._stopping:
            return
        if isinstance(error, IsthmusError):
            log.warning("upkeep.interrupted", code=error.code, why=error.what)
        else:
            log.error("upkeep.failed", why=failure.type.__name__, where=places(failure.getTracebackObject()))

    def _ended(self, _: Any) -> None:
        waiting, self._running = self._running, None
        if not self._stopping:
            self._next = self._clock.callLater(self._interval(), self.run)
        if waiting is not None:
            waiting.callback(None)

    def _interval(self) -> float:
        """A tenth of the shortest age: what is kept for 15 minutes goes within 16 and a half."""
        if self._writer.state == "open" and self._reencrypting:
            return PATIENCE
        kept = [options.retention for options in self._options.values()]
        ages = [
            age for one in kept for age in (one.content, one.messages, one.errors) if isinstance(age, int)
        ]
        return max(SHORTEST, min([LONGEST, *[age / 10 for age in ages]]))

    # A run ------------------------------------------------------------------------------------------------

    @inlineCallbacks
    def _run(self) -> Any:
        self._at, self._counts, self._part = self._now(), Counter(), 0.0
        if self._at - self._whole >= WHOLE_EVERY:
            self._seen.clear()
            self._whole = self._at
        self._obey_levels()
        try:
            yield self._reencrypt()
            yield self._forget()
            if any(map(_keeps_less, self._options.values())):
                yield self._retain()
        finally:
            counts = dict(self._counts)
            if counts:
                log.info("retention", **counts)
                detail = ", ".join(f"{name}={count}" for name, count in sorted(counts.items()))
                self._writer.submit(lambda tx: tx.event("retention", actor=retention.ACTOR, detail=detail))

    @inlineCallbacks
    def _forget(self) -> Any:
        """What `duplicate` filters need no more."""
        while seen.stale(self._store.reader, self._at) and (yield self._turn()):
            self._counts["seen"] += yield self._writer.run(lambda tx: seen.forget(tx, self._at, ROWS))

    @inlineCallbacks
    def _retain(self) -> Any:
        reader = self._reader = yield self._in_thread(self._store.open_reader)
        try:
            kept = list(self._options.items())
            self._sweeps = 0, sum(len(retention.rules(name, options, self._at)) for name, options in kept)
            for name, options in kept:
                yield self._retain_one(reader, name, options)
        finally:
            self._reader = None
            reader.db.close()

    @inlineCallbacks
    def _retain_one(self, reader: Tx, name: str, options: ChannelOptions) -> Any:
        before = retention.errors_before(options, self._at)
        if before:
            yield self._give_up(name, before)
        for rule in retention.rules(name, options, self._at):
            yield self._sweep(reader, rule, (name, rule.what))
            self._sweeps = self._sweeps[0] + 1, self._sweeps[1]
        if options.retention.max_size is not None:
            sizes = self._sizes.setdefault(name, retention.Sizes(name))
            floor = yield self._in_thread(sizes.floor, reader, options.retention.max_size)
            if floor is not None:
                rule = retention.content_rule(name, options, self._at, until=floor)
                yield self._sweep(reader, rule)

    @inlineCallbacks
    def _sweep(self, reader: Tx, rule: Rule, key: tuple[str, str] | None = None) -> Any:
        """Find what is due, a window of the table at a time, and prune it batch by batch."""
        windows = retention.walk(reader, rule, self._seen.get(key, 0) if key else 0)
        while not self._stopping:
            window: retention.Window | None = yield self._in_thread(next, windows, None)
            if window is None:
                return
            ids = window.ids
            while ids:
                rows = yield self._turn()
                if not rows:
                    return
                done = yield self._writer.run(partial(_prune, rule, ids, rows))
                ids = ids[done.done :]
                self._counts[f"{rule.channel}.{rule.what}"] += done.messages
            if key:
                self._seen[key] = window.upto
                self._part = (self._sweeps[0] + window.part) / self._sweeps[1]

    @inlineCallbacks
    def _give_up(self, name: str, before: Micros) -> Any:
        while True:
            rows = yield self._turn()
            if not rows:
                return
            given_up = yield self._writer.run(lambda tx: retention.give_up(tx, name, before))
            if not given_up:
                return
            self._counts[f"{name}.errors"] += len(given_up)
            self._released(given_up)

    @inlineCallbacks
    def _turn(self) -> Any:
        """Wait until the writer has time: how many rows may be changed now; 0 when the engine stops."""
        waited = 0.0
        while True:
            yield deferLater(self._clock, PAUSE)
            waited += PAUSE
            if self._stopping:
                return 0
            if self._writer.state != "open":
                raise self._writer.error or StoreError("the store cannot write", code="store.io")
            if self._writer.backlog <= QUIET:
                self._pressed = False
                return ROWS
            if self._pressed or waited >= PATIENCE:
                self._pressed = True
                return BUSY_ROWS

    def use(self, configuration: Configuration) -> None:
        """The configuration has changed."""
        self._options = _options(configuration)
        self.disk.use(configuration.disk)
        self._obey_levels()

    def _obey_levels(self) -> None:
        levels: dict[str, str] = {name: options.storage for name, options in self._options.items()}
        if levels != self._levels:
            self._levels = levels
            self._writer.submit(lambda tx: set_levels(tx, levels), self._obeyed)

    def _obeyed(self, _: Any, error: BaseException | None) -> None:
        if error is not None:
            self._levels = None  # the next run does it

    # What people ask for ----------------------------------------------------------------------------------

    def commands(self) -> dict[str, Callable[[dict[str, Any]], Any]]:
        """Verbs for `Operator.register`."""
        return {
            "prune": lambda _args: {"started": self.run()},
            "rotate-key": lambda _args: self.rotate(),
            "drop-keys": lambda args: self.drop_keys([int(key) for key in args["keys"]]),
        }

    # Keys -------------------------------------------------------------------------------------------------

    @inlineCallbacks
    def rotate(self) -> Any:
        """A new key for new bodies; the old ones are encrypted again in the background."""
        yield self._writer.run(maintenance.begin_reencryption)
        key_id = self._keyring.rotate()
        self._reencrypting = True
        log.info("key.rotated", key=key_id)
        self.run()
        return {"key": key_id}

    @inlineCallbacks
    def drop_keys(self, keys: Sequence[int]) -> Any:
        """Forget old keys that nothing is encrypted with any more (whoever asks has looked: `keys_in_use`)."""
        if maintenance.reencrypting(self._store.reader) is not None:
            raise maintenance.UNDER_WAY
        yield self._writer.run(lambda tx: maintenance.forget_keys(tx, keys))
        self._keyring.drop(keys)
        log.info("key.dropped", keys=list(keys))
        return {"dropped": list(keys)}

    @inlineCallbacks
    def _reencrypt(self) -> Any:
        while maintenance.reencrypting(self._store.reader) is not None:
            self._reencrypting = True
            rows = yield self._turn()
            if not rows:
                return
            changed = yield self._writer.run(partial(_reencrypt, rows))
            self._counts["reencrypted"] += changed
        self._reencrypting = False


def threaded(reactor: Any, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Run a function in a thread of its own; the Deferred fires on the reactor thread."""
    result: Deferred[Any] = Deferred()

    def work() -> None:
        try:
            value = function(*args)
        except Exception:
            reactor.callFromThread(result.errback, Failure())
        else:
            reactor.callFromThread(result.callback, value)

    Thread(target=work, name="isthmus-work", daemon=True).start()
    return result


def _options(configuration: Configuration) -> dict[str, ChannelOptions]:
    """Of all channels: those that do not run keep no longer what they have."""
    return {name: spec.options for name, spec in configuration.channels.items()}


def _keeps_less(options: ChannelOptions) -> bool:
    """Whether retention or storage of a channel ask for anything."""
    return options.storage != "full" or options.retention != Retention()


def _reencrypt(rows: int, tx: Tx) -> int:
    return maintenance.reencrypt_next(tx, rows)


def _prune(rule: Rule, ids: Sequence[int], rows: int, tx: Tx) -> retention.Pruned:
    return retention.prune(tx, rule, ids, rows)
