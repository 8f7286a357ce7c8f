"""Lanes, senders and backlog against a simple model: random outcomes, crashes, merges and operators, by seed.

Run: python tests/flow/simulation.py [--seeds 300] [--first 0]; a failing seed is printed, and enough to see it again.

What must hold, whatever happens:
- order: when a delivery is taken, no message that came earlier and shares a patient with it is open, on its way,
  or holds in ERROR (with `hold_lane`: shares a lane). What an operator sent again after it was done is exempt;
- nobody else is blocked: at rest, everything that waits waits for something that holds;
- nothing is lost: in the end every message is delivered, or discarded by an operator; nothing is delivered that an
  operator discarded before it was taken; what the engine counts as open is what the store holds.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import structlog  # noqa: E402
from desk import DESTINATIONS, Desk, scripted  # noqa: E402
from twisted.logger import globalLogPublisher  # noqa: E402

import channels.backlog  # noqa: E402
import channels.route  # noqa: E402
from engine.states import Result  # noqa: E402

PATIENTS = 6
LANES = 3
STEPS = 60
ONE = """
  {name}:
    listener: {{mllp: {{port: {port}}}}}
    {joined}
    lanes: {lanes}
    destinations:
      out:
        scripted: {{name: {name}, connection: clinic, batch_size: {batch}, in_flight: {flight}}}
        on_error: {on_error}
        retry: {{initial: 1, max: 8, attempts: {attempts}}}
"""


class Told:
    """What the model knows of one message."""

    def __init__(self, number: int, channel: str, patients: set[str]) -> None:
        self.number = number
        self.channel = channel
        self.patients = patients
        self.exempt = False  # sent again after it was done
        self.discarded = False

    def __repr__(self) -> str:
        return f"m{self.number}{sorted(self.patients)}"


class Simulation:
    """One seed: a random configuration and a random history."""

    def __init__(self, folder: Path, seed: int) -> None:
        rng = self.rng = random.Random(seed)
        self.messages: dict[str, Told] = {}
        self.holding = {"adt": rng.choice(["hold_key", "hold_key", "hold_lane", "skip"])}
        if rng.random() < 0.4:
            self.holding["siu"] = rng.choice(["hold_key", "hold_lane", "skip"])
        text = "channels:" + "".join(
            ONE.format(
                name=name,
                port=number + 1,
                joined="order_with: adt" if name == "siu" else "",
                lanes=LANES,
                batch=rng.randint(1, 5),
                flight=rng.randint(1, 3),
                on_error=on_error,
                attempts=rng.choice([0, 0, 3]),
            )
            for number, (name, on_error) in enumerate(self.holding.items())
        )
        channels.backlog.WINDOW = rng.choice([4, 10, 20_000])
        channels.backlog.CHUNK = rng.choice([2, 5, 1000])
        channels.backlog.CACHED = rng.choice([0, 3, 4000])
        channels.route.WINDOW = rng.choice([8, 2000])
        self.desk = Desk(folder, text, seed)
        for name in self.holding:
            destination = DESTINATIONS[name]
            destination.auto = None
            destination.watch = lambda batch, name=name: self.check_order(name, batch)
        self.wrong: list[str] = []

    # The model --------------------------------------------------------------------------------------------

    def states(self) -> dict[str, str]:
        return self.desk.states()

    def on_their_way(self) -> set[str]:
        return {name for one in DESTINATIONS.values() for name in one.asked()}

    def check_order(self, channel: str, batch: list[Any]) -> None:
        """The destination is asked to take these: may they go?"""
        states, way = self.states(), self.on_their_way()
        place = {name: number for number, name in enumerate(states)}  # the order of receipt is that of C1
        names = [delivery.payload.decode() for delivery in batch]
        for name in names:
            mine = self.messages[name]
            if mine.exempt:
                continue
            for other_name, other in self.messages.items():
                if other is mine or other.exempt or not self.bound(mine, other):
                    continue
                state = states.get(other_name, "")
                if other_name in way or other_name in names[: names.index(name)]:
                    self.wrong.append(f"{mine} is taken while {other} is on its way")
                elif place.get(other_name, 1e9) < place[name] and (
                    state in ("QUEUED", "RECEIVED")
                    or (state == "ERROR" and self.holding[other.channel] != "skip")
                ):
                    self.wrong.append(f"{mine} is taken before {other}, which is {state}")

    def bound(self, one: Told, other: Told) -> bool:
        """Whether two messages must stay in order."""
        return bool(one.patients & other.patients)

    def held(self, name: str, states: dict[str, str]) -> bool:
        """Whether something that holds stands, directly or through others, before this message."""
        place = {one: number for number, one in enumerate(states)}
        lanes_too = "hold_lane" in self.holding.values()
        before = [name]
        seen = set()
        while before:
            mine_name = before.pop()
            mine = self.messages[mine_name]
            for other_name, other in self.messages.items():
                if other_name in seen or other is mine:
                    continue
                if place[other_name] > place[mine_name] and not (other.exempt or mine.exempt):
                    continue
                if not (self.bound(mine, other) or lanes_too):
                    continue
                if states[other_name] == "ERROR" and self.holding[other.channel] != "skip":
                    return True
                if states[other_name] == "QUEUED":
                    seen.add(other_name)
                    before.append(other_name)
        return False

    # What happens -----------------------------------------------------------------------------------------

    def step(self) -> None:
        acts = (
            [self.receive] * 6
            + [self.answer] * 8
            + [self.wait] * 3
            + [self.resend, self.resend, self.discard, self.discard, self.crash, self.pause, self.resend_done]
        )
        self.rng.choice(acts)()
        if self.rng.random() < 0.8:
            self.desk.settle()

    def receive(self) -> None:
        for _ in range(self.rng.choice([1, 1, 2, 12])):
            number, channel = len(self.messages), self.rng.choice(list(self.holding))
            patients = self.rng.sample(
                [f"P{n}" for n in range(PATIENTS)], 2 if self.rng.random() < 0.15 else 1
            )
            if self.rng.random() < 0.05:
                patients = [""]
            name = f"m{number}"
            self.messages[name] = Told(number, channel, set(patients) - {""})
            self.desk.receive(name, patients[0], channel, patients[1] if len(patients) > 1 else "")
        self.desk.settle()

    def answer(self) -> None:
        destination = DESTINATIONS[self.rng.choice(list(self.holding))]
        if not destination.calls:
            return
        odds = self.rng.choice(["good", "mixed", "bad"])
        results = {
            "good": [Result.SENT],
            "mixed": [Result.SENT, Result.SENT, Result.RETRY, Result.UNKNOWN, Result.PERMANENT],
            "bad": [Result.RETRY, Result.UNKNOWN, Result.CONFIG],
        }[odds]

        def judge(delivery: Any) -> Result:
            result = self.rng.choice(results)
            if result == Result.UNKNOWN and self.rng.random() < 0.5:
                destination.effects.append(delivery.payload.decode())
            return result

        destination.answer(judge, self.rng.randrange(len(destination.calls)))

    def wait(self) -> None:
        self.desk.advance(self.rng.choice([0.1, 1, 5, 70]))

    def chosen(self, *states: str) -> list[str]:
        fits = [name for name, state in self.states().items() if state in states]
        return self.rng.sample(fits, min(len(fits), self.rng.choice([1, 1, 3])))

    def resend(self) -> None:
        self.resend_failed(self.chosen("ERROR"))

    def resend_failed(self, names: list[str]) -> None:
        for name in names:
            if self.holding[self.messages[name].channel] == "skip":
                self.messages[name].exempt = True  # others have passed it
        if names:
            self.desk.act("resend", *names)

    def resend_done(self) -> None:
        names = self.chosen("SENT", "DISCARDED")
        for name in names:
            self.messages[name].exempt = True
            self.messages[name].discarded = False
        if names:
            self.desk.act("resend", *names)

    def discard(self) -> None:
        names = self.chosen("QUEUED", "ERROR")
        if names:
            self.desk.act("discard", *names)
        states = self.states()
        for name in names:  # some may have been sent meanwhile
            self.messages[name].discarded = states[name] == "DISCARDED"

    def pause(self) -> None:
        name = self.rng.choice(list(self.holding))
        self.desk.channel("pause", name)
        if self.rng.random() < 0.5:
            self.receive()
        self.desk.channel("resume", name)

    def crash(self) -> None:
        self.desk.crash()

    # The judgement ----------------------------------------------------------------------------------------

    def rest(self) -> None:
        """All destinations are well: run until nothing changes."""
        self.desk.settle()
        for name in self.holding:
            DESTINATIONS[name].auto = lambda delivery: Result.SENT
            while DESTINATIONS[name].calls:
                DESTINATIONS[name].answer(Result.SENT)
            self.desk.channel("resume", name)
        for _ in range(6):
            self.desk.advance(70)

    def finish(self) -> None:
        self.rest()
        states = self.states()
        if len(states) != len(self.messages):
            self.wrong.append(f"{len(self.messages)} messages, {len(states)} in the store")
        for name, state in states.items():
            if state == "QUEUED" and not self.held(name, states):
                self.wrong.append(f"{self.messages[name]} waits for nothing that holds")
            if state == "RECEIVED":
                self.wrong.append(f"{self.messages[name]} was never routed")
        while errors := [name for name, state in self.states().items() if state == "ERROR"]:
            self.resend_failed(errors)
            self.rest()
        effects = {name for one in DESTINATIONS.values() for name in one.effects}
        for name, state in self.states().items():
            told = self.messages[name]
            if state != ("DISCARDED" if told.discarded else "SENT"):
                self.wrong.append(f"{told} ends as {state}")
            if state == "SENT" and name not in effects:
                self.wrong.append(f"{told} is SENT and was never done")
        if any(self.desk.open().values()):
            self.wrong.append(f"counted as open in the end: {self.desk.open()}")
        self.desk.stop()


def run(seed: int) -> list[str]:
    """Everything that was wrong with one seed."""
    with tempfile.TemporaryDirectory() as folder, scripted():
        simulation = Simulation(Path(folder), seed)
        try:
            for _ in range(STEPS):
                simulation.step()
                if simulation.wrong:
                    break
            else:
                simulation.finish()
        finally:
            if simulation.desk.engine.writer.state != "closed":
                simulation.desk.engine.writer._queue.clear()
                simulation.desk.engine.store.close()
        return simulation.wrong


@contextmanager
def quiet():
    """No log lines, and memory limits as they were afterwards."""
    limits = {
        (module, name): getattr(module, name)
        for module, names in (
            (channels.backlog, ("WINDOW", "CHUNK", "CACHED")),
            (channels.route, ("WINDOW",)),
        )
        for name in names
    }
    before = structlog.get_config()
    structlog.configure(processors=[_drop], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
        for (module, name), value in limits.items():
            setattr(module, name, value)


def _drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    failed = 0
    globalLogPublisher.addObserver(lambda event: print(event) if event.get("log_failure") else None)
    with quiet():
        for seed in range(given.first, given.first + given.seeds):
            try:
                wrong = run(seed)
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            if wrong:
                failed += 1
                print(f"seed {seed}: {wrong[0]} (and {len(wrong) - 1} more)")
    print(f"{given.seeds} seeds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
