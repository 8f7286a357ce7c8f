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

from collections.abc import Iterable
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
        self._records: list[str] = []
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

    @property
    def rest(self) -> list[Operation]:
        """The operations after the head."""
        return self.operations[self.position + 1 :]

    def sent(self, request: Any) -> None:
        """Keep what goes out for the head."""
        if self._requests[-1:] != [request]:
            self._requests.append(request)

    def done(self, model: str, record: int | None, response: Any) -> None:
        """The head is done; `record` is the id it touched."""
        if record is not None:
            name = f"{model},{record}"
            if name in self._records:
                self._records.remove(name)
            self._records.insert(0, name)
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
            " ".join(self._records),
            dumps(self._requests),
            dumps(self._responses),
        )


def touched(operation: Operation) -> list[Key]:
    """The records that an operation is about."""
    return [(operation.model, key) for key in (operation.key, *operation.retired)]


def makes(operations: Iterable[Operation], key: Key) -> bool:
    """Whether one of the operations makes that record."""
    return any(
        (operation.op == "upsert" and (operation.model, operation.key) == key)
        or (operation.op == "merge" and key in touched(operation))
        for operation in operations
    )


def select(jobs: list[Job]) -> list[Job]:
    """The jobs whose heads run together now: the largest group of one kind and model.

    `jobs` is the batch in its order. Empty when all that are active wait for each other.
    """
    active = [job for job in jobs if job.active]
    claimed: dict[Key, Operation | None] = {}  # None: more than one operation claims it
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in active:
        head = job.head
        free = all(key not in claimed or claimed[key] == head for key in touched(head))
        if free and not (job.waiting and _coming(active, job)):
            kind = "load" if head.op in LOADED else head.op
            groups.setdefault((kind, head.model), []).append(job)
        for key in touched(head):
            claimed[key] = head if key not in claimed or claimed[key] == head else None
        for operation in job.rest:
            for key in touched(operation):
                claimed[key] = None
    return max(groups.values(), key=len, default=[])


def _coming(active: list[Job], job: Job) -> bool:
    """Whether another job will still make what `job` waits for."""
    assert job.waiting is not None
    key = job.waiting[0]
    return any(makes(other.operations[other.position :], key) for other in active if other is not job)


def dangling(jobs: list[Job], job: Job) -> OdooError:
    """The error for a reference to a record that nobody makes; RETRY when its maker may still come back."""
    assert job.waiting is not None
    key, where = job.waiting
    makers = [other for other in jobs if other is not job and makes(other.operations, key)]
    later = any(maker.outcome is None or maker.outcome.result != Result.PERMANENT for maker in makers)
    return OdooError(
        f"the reference names a record of {key[0]} that Isthmus has not made in Odoo",
        result=Result.RETRY if later else Result.PERMANENT,
        code="odoo.reference",
        where=where,
        todo="upsert that record first, in an operation before this one or in an earlier message",
    )
