"""The whole engine on a clock of the test's own: real store, real channels, a destination that does as it is told.

No sleeps and no sockets: `settle` runs everything that is due now, commits included; `advance` moves the clock.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

from pydantic import Field
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.testing import MemoryReactorClock

from engine.app import Engine
from engine.model import Delivery, Incoming, Outcome, Scope
from engine.spec.channel import load
from engine.spec.component import BuildContext, Component, Settings, registry
from engine.states import Result
from engine.store import commands, jobs

START = 1_700_000_000_000_000  # microseconds
DESTINATIONS: dict[str, Scripted] = {}
HEADER = "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000||{kind}|{control_id}|P|2.5.1\rPID|1||{patient}^^^RGH^MR\r"


CONFIG = """
channels:
  adt:
    listener: {{mllp: {{port: 2575}}}}
    lanes: {lanes}
    destinations:
      out:
        scripted: {{name: out, batch_size: {batch}, in_flight: {flight}}}
        on_error: {on_error}
        retry: {{initial: 1, factor: 2, max: 60, jitter: 0{retry}}}
"""


def config(
    on_error: str = "hold_key", batch: int = 200, flight: int = 4, lanes: int = 64, retry: str = ""
) -> str:
    """The configuration of a desk with the one channel `adt`."""
    return CONFIG.format(on_error=on_error, batch=batch, flight=flight, lanes=lanes, retry=retry)


class FlowReactor(MemoryReactorClock):
    """A reactor that runs when it is told to; the commit thread hands its calls over."""

    def __init__(self) -> None:
        super().__init__()
        self.handed: SimpleQueue[Any] = SimpleQueue()

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        self.handed.put((function, arguments))

    def run_handed(self, wait: bool) -> bool:
        """Run what threads asked for; True when there was something."""
        try:
            function, arguments = self.handed.get(timeout=10) if wait else self.handed.get_nowait()
        except Empty:
            assert not wait, "the commit thread does not answer"
            return False
        function(*arguments)
        return True


class ScriptedSettings(Settings):
    """A destination for tests."""

    answers: ClassVar[str] = "hl7v2"

    name: str
    connection: str = ""
    batch_size: int = Field(default=200)
    in_flight: int = Field(default=1)

    def build(self, context: BuildContext) -> Scripted:
        return DESTINATIONS.setdefault(self.name, Scripted()).again(self)


class Call:
    """One call of `deliver`."""

    def __init__(self, batch: list[Delivery]) -> None:
        self.batch = batch
        self.done: Deferred[list[Outcome]] = Deferred()


class Scripted:
    """Answers every call with `auto(delivery)`, or keeps it in `calls` until `answer`. It outlives restarts.

    `sent` is everything that was asked of it, `effects` what it did, by control id, in order.
    """

    def __init__(self) -> None:
        self.auto: Any = lambda delivery: Result.SENT
        self.calls: list[Call] = []
        self.sent: list[str] = []
        self.effects: list[str] = []
        self.watch: Any = lambda batch: None
        self.reply: Any = lambda delivery: b""  # what is stored as the answer
        self.refuses: Exception | None = None  # to start

    def again(self, settings: ScriptedSettings) -> Scripted:
        """A new engine: what was on its way to the old one is never answered."""
        self.batch_size, self.in_flight = settings.batch_size, settings.in_flight
        self.calls.clear()
        return self

    def render(self, scope: Scope) -> bytes:
        return (scope.message.control_id or scope.message.type).encode()

    def start(self) -> Deferred[None]:
        return succeed(None) if self.refuses is None else fail(self.refuses)

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def deliver(self, batch: list[Delivery]) -> Deferred[list[Outcome]]:
        self.watch(batch)
        self.sent += [delivery.payload.decode() for delivery in batch]
        call = Call(batch)
        self.calls.append(call)
        if self.auto is not None:
            self.answer(self.auto)
        return call.done

    def answer(self, judge: Any, index: int = 0) -> None:
        """Answer one call: `judge` is a Result, or a function of a delivery that gives one, or raises."""
        call = self.calls.pop(index)
        outcomes = []
        for delivery in call.batch:
            result = judge(delivery) if callable(judge) else judge
            if result == Result.SENT:
                self.effects.append(delivery.payload.decode())
            code = "" if result == Result.SENT else f"test.{result}"
            outcomes.append(
                Outcome(delivery.message_id, result, code, "as told", response=self.reply(delivery))
            )
        call.done.callback(outcomes)

    def asked(self) -> list[str]:
        """What is not answered yet."""
        return [name for call in self.waiting() for name in call]

    def waiting(self) -> list[list[str]]:
        """What stands in the calls that are not answered."""
        return [[delivery.payload.decode() for delivery in call.batch] for call in self.calls]


class Sent(Incoming):
    """A message that keeps its answers."""

    def __init__(self, raw: bytes, at: int) -> None:
        super().__init__(raw, "test:1", at)
        self.answers: list[Any] = []

    def answer(self, data: Any) -> None:
        assert not self.answers, "answered twice"
        self.answers.append(data)


@contextmanager
def scripted():
    """Within this, `scripted: {name: ...}` is a destination."""
    key = ("destination", "scripted")
    registry.load()._components[key] = Component(*key, ScriptedSettings, "scripted: {name: x}")
    DESTINATIONS.clear()
    try:
        yield DESTINATIONS
    finally:
        del registry._components[key]
        DESTINATIONS.clear()


class Desk:
    """An engine, its reactor, and short verbs. Use within `scripted()`."""

    def __init__(self, folder: Any, config: str, seed: int = 0) -> None:
        self.folder = folder
        self.path = folder / "channels.yaml"
        self.path.write_text(config)
        self.seed = seed
        self.elapsed = 0.0  # of the engines before this one
        self.start()

    def start(self) -> None:
        """An engine on the data folder, all ports open, everything due done."""
        configuration = load(self.path, {})
        assert not configuration.errors, [str(problem) for problem in configuration.errors]
        reactor = self.reactor = FlowReactor()
        reactor.rightNow = self.elapsed
        self.engine = Engine(
            configuration, self.folder / "data", reactor, now=self.now, rng=random.Random(self.seed)
        )
        self.engine.guard.install = lambda: None  # SIGALRM belongs to pytest here
        self.engine.upkeep._in_thread = self.engine.reloader.in_thread = (
            maybeDeferred  # no thread but the commits'
        )
        self.failures: list[Any] = []
        self.engine.start().addErrback(self.failures.append)
        self.settle()
        assert not self.failures

    def now(self) -> int:
        """Microseconds since the epoch, by the test's clock."""
        return START + int(self.reactor.seconds() * 1e6)

    def crash(self) -> None:
        """As kill -9: what is not committed is gone, nobody is told anything, a new engine starts."""
        writer, store = self.engine.writer, self.engine.store
        writer._queue.clear()
        if writer._committing is not None:
            self.reactor.handed.get(timeout=10)
            writer._committing = None
        elif store._writing.db.in_transaction:
            store._writing.db.execute("ROLLBACK")
        store.close()
        self.elapsed = self.reactor.seconds()
        self.start()

    def stop(self) -> None:
        """In order; the store is closed."""
        done: list[Any] = []
        self.engine.stop().addBoth(done.append)
        for _ in range(2000):
            if done:
                break
            self.settle()
            self.reactor.advance(0.02)
        assert done == [None], done

    def settle(self) -> None:
        """Everything that is due now, until nothing is."""
        reactor, writer = self.reactor, self.engine.writer
        for _ in range(100_000):
            probe = writer._probing if writer.state == "failed" else None
            if reactor.run_handed(
                wait=writer._committing is not None or (probe is not None and not probe.active())
            ):
                continue
            due = [call for call in reactor.getDelayedCalls() if call.getTime() <= reactor.seconds()]
            if not due and not writer.backlog:
                return
            reactor.advance(0)
        raise AssertionError("it never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, then settle."""
        self.reactor.advance(seconds)
        self.settle()

    # Messages ---------------------------------------------------------------------------------------------

    def receive(self, control_id: str, patient: str, channel: str = "adt", merged: str = "") -> Sent:
        """From the wire, not settled."""
        raw = HEADER.format(
            kind="ADT^A40" if merged else "ADT^A08", control_id=control_id, patient=patient
        ) + (f"MRG|{merged}^^^RGH^MR\r" if merged else "")
        incoming = Sent(raw.encode(), self.now())
        self.engine.channels[channel].receive(incoming)
        return incoming

    def send(self, *messages: tuple[str, ...], channel: str = "adt") -> None:
        """Several (control id, patient[, merged patient]), settled, each acknowledged."""
        sent = [self.receive(one[0], one[1], channel, one[2] if len(one) > 2 else "") for one in messages]
        self.settle()
        for one in sent:
            assert one.answers and b"\rMSA|AA|" in one.answers[0], one.answers

    # The store --------------------------------------------------------------------------------------------

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return self.engine.store.reader.rows(sql, values)

    def states(self) -> dict[str, str]:
        """The state of each delivery by control id (replays: `id*`); of a message without one, its own."""
        return {
            (control_id if parent is None else f"{control_id}*"): delivery or state
            for control_id, parent, state, delivery in self.rows(
                "SELECT m.control_id, m.parent_id, m.state, d.state FROM message m"
                " LEFT JOIN delivery d ON d.message_id = m.id ORDER BY m.id"
            )
        }

    def id_of(self, control_id: str) -> int:
        return self.rows("SELECT id FROM message WHERE control_id = ? AND parent_id IS NULL", control_id)[0][
            0
        ]

    def act(self, verb: str, *control_ids: str, **arguments: Any) -> jobs.Job:
        """Replay, resend or discard, as console and CLI ask for it."""
        return self.act_on([self.id_of(one) for one in control_ids], verb, **arguments)

    def act_on(self, ids: list[int], verb: str, **arguments: Any) -> jobs.Job:
        """The same by id."""

        def make(tx: Any) -> int:
            return jobs.submit(lambda work: work(tx), "test", verb, ids, **arguments)

        made: list[int] = []
        self.engine.writer.run(make).addCallback(made.append)
        self.settle()
        for _ in range(1000):
            found = jobs.get(self.engine.store.reader, made[0])
            if found is not None and found.over:
                return found
            self.advance(0.01)
        raise AssertionError("the job does not end")

    def channel(self, act: str, name: str = "adt") -> str:
        """Start, stop, pause or resume; gives the state."""
        numbers: list[int] = []
        arguments = {"name": name, "act": act}
        self.engine.writer.run(lambda tx: commands.add(tx, "test", "channel", arguments)).addCallback(
            numbers.append
        )
        self.settle()
        self.advance(0.25)
        found = commands.get(self.engine.store.reader, numbers[0])
        assert found is not None and found.state == "done", found
        state: str = found.result["state"]
        return state

    def open(self) -> dict[str, int]:
        """Unfinished work by channel: as the engine counts it, which must be what is in the store."""
        from engine.store.standing import unfinished

        counted = {name: channel.open for name, channel in self.engine.channels.items()}
        assert counted == {name: unfinished(self.engine.store.reader, name) for name in counted}
        return counted
