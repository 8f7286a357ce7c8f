"""Deliveries on their way through a batch: which of their operations may run next. Pure.

Guarantees: the operations of one delivery run in their order, and none after a failed one; operations on one
key run in the order of their deliveries; every delivery ends with exactly one outcome. The order cannot
deadlock: only an earlier delivery of the batch can hold a later one back, so the first one is always free,
unless it waits for a record that another delivery makes.

| case | done |
|---|---|
| same operation, same values, same key in two deliveries | one row, both deliveries get its verdict |
| other values for the same key | the later delivery waits for the earlier one |
| reference to a record that another delivery of the batch makes | waits until that one is through |
| two deliveries wait for each other | RETRY |
"""

from __future__ import annotations

from typing import Any

import msgspec

from engine.model import Delivery, Operation, Outcome
from engine.odoo.errors import OdooError
from engine.odoo.protocol import dumps
from engine.states import Result

Key = tuple[str, str]  # model, key
LOADED = frozenset({"upsert", "write", "archive"})
LONGEST = 2000  # characters of an answer that are kept
_PARSE = msgspec.json.Decoder(list[Operation])


class Job:
    """One delivery: where it stands, what was sent and answered for it."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.operations: list[Operation] = []
        self.position = 0
        self.waiting: tuple[Key, str] | None = None  # the record, and the field that refers to it
        self.again = False  # the head ran once with lookups that were out of date
        self.outcome: Outcome | None = None
        self._records: dict[str, None] = {}  # those that were touched, the last one at the end
        self._requests: list[Any] = []
        self._responses: list[Any] = []
        try:
            self.operations = _PARSE.decode(delivery.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self.fail(
                OdooError(
                    "the payload is not a list of operations",
                    result=Result.PERMANENT,
                    code="odoo.payload",
                    todo="replay the message",
                )
            )
        else:
            self._advance()

    @property
    def active(self) -> bool:
        """Whether there is more to do."""
        return self.outcome is None

    @property
    def head(self) -> Operation:
        """The operation to run next."""
        return self.operations[self.position]

    def sent(self, request: Any) -> None:
        """Keep what goes out for the head."""
        if self._requests[-1:] != [request]:
            self._requests.append(request)

    def done(self, model: str, record: int | None, response: Any) -> None:
        """The head is done; `record` is the id it touched."""
        if record is not None:
            name = f"{model},{record}"
            self._records.pop(name, None)
            self._records[name] = None
        self._responses.append(response)
        self.position += 1
        self.waiting = None
        self.again = False
        self._advance()

    def fail(self, error: OdooError) -> None:
        """The head failed; later operations do not run."""
        self._responses.append(
            {"error": error.code, "name": error.name, "message": (error.detail or error.what)[:LONGEST]}
        )
        what = error.what
        if len(self.operations) > 1:
            what = f"operation {self.position + 1} of {len(self.operations)}: {what}"
        if error.todo:
            what = f"{what} ({error.todo})"
        self.outcome = self._outcome(error.result, error.code, what, error.where)

    def _advance(self) -> None:
        if self.position == len(self.operations):
            self.outcome = self._outcome(Result.SENT)

    def _outcome(self, result: str, code: str = "", text: str = "", place: str = "") -> Outcome:
        return Outcome(
            self.delivery.message_id,
            result,
            code,
            text,
            place,
            " ".join(reversed(self._records)),
            dumps(self._requests),
            dumps(self._responses),
        )


def touched(operation: Operation) -> list[Key]:
    """The records that an operation is about."""
    return [(operation.model, key) for key in (operation.key, *operation.retired)]


def makes(operation: Operation) -> list[Key]:
    """The records that an operation makes."""
    if operation.op == "merge":
        return touched(operation)
    return [(operation.model, operation.key)] if operation.op == "upsert" else []


class Schedule:
    """Which of the jobs of a batch run next. The work for a batch grows with its operations, not with their square:
    what the jobs have still to do is counted once, and counted off as they go on."""

    def __init__(self, jobs: list[Job]) -> None:
        """`jobs` is the batch in its order."""
        self._jobs = jobs
        self._seen = [0] * len(jobs)  # operations of each job that are counted off
        self._later = _Claims()  # records that operations behind the heads touch
        self._made = _Claims()  # records that heads and operations behind them make
        for number, job in enumerate(jobs):
            for place, operation in enumerate(job.operations):
                self._made.add(number, makes(operation))
                if place:
                    self._later.add(number, touched(operation))

    def select(self) -> list[Job]:
        """The jobs whose heads run together now: the largest group of one kind and model.

        Empty when all that are active wait for each other.
        """
        for number in range(len(self._jobs)):
            self._count_off(number)
        heads: dict[Key, Operation | None] = {}  # None: different heads claim it
        groups: dict[tuple[str, str], list[Job]] = {}
        for number, job in enumerate(self._jobs):
            if not job.active:
                continue
            head = job.head
            keys = touched(head)
            free = all(
                (key not in heads or heads[key] == head) and not self._later.before(number, key)
                for key in keys
            )
            if free and not (job.waiting and self._made.beside(number, job.waiting[0])):
                kind = "load" if head.op in LOADED else head.op
                groups.setdefault((kind, head.model), []).append(job)
            for key in keys:
                heads[key] = head if key not in heads or heads[key] == head else None
        return max(groups.values(), key=len, default=[])

    def _count_off(self, number: int) -> None:
        """Forget what a job has done, or will not do."""
        job = self._jobs[number]
        operations = job.operations
        end = job.position if job.active else len(operations)
        for place in range(self._seen[number], end):
            self._made.drop(number, makes(operations[place]))
            if place + 1 < len(operations):
                self._later.drop(number, touched(operations[place + 1]))
        self._seen[number] = end


class _Claims:
    """How many operations of which jobs are about a record; jobs are added in their order."""

    def __init__(self) -> None:
        self._jobs: dict[Key, dict[int, int]] = {}

    def add(self, job: int, keys: list[Key]) -> None:
        for key in keys:
            jobs = self._jobs.setdefault(key, {})
            jobs[job] = jobs.get(job, 0) + 1

    def drop(self, job: int, keys: list[Key]) -> None:
        for key in keys:
            jobs = self._jobs[key]
            jobs[job] -= 1
            if not jobs[job]:
                del jobs[job]

    def before(self, job: int, key: Key) -> bool:
        """Whether an earlier job claims it."""
        return next(iter(self._jobs.get(key, ())), job) < job

    def beside(self, job: int, key: Key) -> bool:
        """Whether another job claims it."""
        jobs = self._jobs.get(key, {})
        return len(jobs) > (job in jobs)


def dangling(jobs: list[Job], job: Job) -> OdooError:
    """The error for a reference to a record that nobody makes; RETRY when its maker may still come back."""
    assert job.waiting is not None
    key, where = job.waiting
    makers = [
        other for other in jobs if other is not job and any(key in makes(one) for one in other.operations)
    ]
    later = any(maker.outcome is None or maker.outcome.result != Result.PERMANENT for maker in makers)
    return OdooError(
        f"the reference names a record of {key[0]} that Isthmus has not made in Odoo",
        result=Result.RETRY if later else Result.PERMANENT,
        code="odoo.reference",
        where=where,
        todo="upsert that record first, in an operation before this one or in an earlier message",
    )
