"""Acts on many messages: replay, resend and discard as jobs that are done in batches.

Design. A job is a row and the ids of its messages. A step takes the next ids in order of receipt, acts on them and
deletes them from the job, all in one transaction: so every message is acted on exactly once, whoever takes the
steps and however often they are killed, and a job goes on where it was.

Guarantees: progress that is committed with what it counts; pause and cancel hold from the next step on; who asked
for it, and who paused or cancelled it, are kept.
Refuses: acts it does not know.

| state     | meaning                                        | next                       |
|-----------|------------------------------------------------|----------------------------|
| filling   | its ids are being written                      | running, cancelled         |
| running   | steps are taken while an engine runs           | paused, done, cancelled    |
| paused    | an operator said so; kept over a restart       | running, cancelled         |
| done      | every message was acted on, or failed          |                            |
| cancelled | the messages that were left are left alone     |                            |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
import orjson

from engine.clock import Micros
from engine.errors import IsthmusError, StoreError
from engine.store import operate
from engine.store.rekey import Keys
from engine.store.tx import Tx

BATCH = {"replay": 25, "resend": 125, "discard": 125}  # messages in one transaction: about 5 ms of work
FILL = 2_000  # ids written or deleted in one transaction: a few ms that a sender may wait
OPEN = "('filling', 'running', 'paused')"
MOVES = {"pause": ("running", "paused"), "resume": ("paused", "running"), "cancel": (OPEN, "cancelled")}


class Job(msgspec.Struct):
    """One job. `done` of `total` messages were gone through, `changed` is what the act changed.

    `changed` counts new messages (replay) or deliveries and errors (resend, discard); `failed` are messages
    that could not be read. `args`: rate (messages a second), destination, state, code, cause, note.
    """

    id: int
    at: Micros
    actor: str
    verb: str
    args: dict[str, Any]
    state: str
    total: int
    done: int
    changed: int
    failed: int
    finished_at: Micros | None
    channels: list[str] = []  # of its messages; of jobs before this was kept: none

    @property
    def over(self) -> bool:
        """Whether it will change no more."""
        return self.state in ("done", "cancelled")


class Step(NamedTuple):
    """What one step did: `changed` is the result of the act (see engine.store.operate)."""

    ids: list[int]
    changed: list[Any]


_COLUMNS = "id, at, actor, verb, args, state, total, done, changed, failed, finished_at"


def submit(
    call: Callable[[Callable[[Tx], Any]], Any], actor: str, verb: str, ids: Sequence[int], **args: Any
) -> int:
    """Make a job through `call` (a synchronous writer's), in portions that hold up nobody. Gives its id."""
    job_id: int = call(partial(begin, actor=actor, verb=verb, args=args))
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), FILL):
        call(partial(fill, job_id=job_id, ids=wanted[start : start + FILL]))
    call(partial(release, job_id=job_id))
    return job_id


def begin(tx: Tx, actor: str, verb: str, args: dict[str, Any]) -> int:
    """A job without messages, not running yet."""
    if verb not in BATCH:
        raise StoreError(f"there is no act {verb!r}", code="job.verb", todo=f"Known: {', '.join(BATCH)}")
    given = {name: value for name, value in args.items() if value not in (None, "")}
    job_id = tx.execute(
        "INSERT INTO job (at, actor, verb, args) VALUES (?, ?, ?, ?)",
        (tx.now(), actor, verb, orjson.dumps(given).decode()),
    ).lastrowid
    assert job_id is not None
    return job_id


def fill(tx: Tx, job_id: int, ids: Sequence[int]) -> None:
    """Give a job more messages, before it runs."""
    added = tx.executemany(
        "INSERT OR IGNORE INTO job_item (job_id, message_id) VALUES (?, ?)", [(job_id, one) for one in ids]
    ).rowcount
    tx.execute("UPDATE job SET total = total + ? WHERE id = ?", (added, job_id))
    ((args,),) = tx.rows("SELECT args FROM job WHERE id = ?", (job_id,))
    told = orjson.loads(args)
    more = tx.rows(
        "SELECT DISTINCT channel FROM message WHERE id IN"
        " (SELECT message_id FROM job_item WHERE job_id = ? AND message_id BETWEEN ? AND ?)",
        (job_id, min(ids, default=0), max(ids, default=0)),
    )
    told["channels"] = sorted({*told.get("channels", ()), *(channel for (channel,) in more)})
    tx.execute("UPDATE job SET args = ? WHERE id = ?", (orjson.dumps(told).decode(), job_id))


def release(tx: Tx, job_id: int) -> None:
    """Let it run."""
    tx.execute("UPDATE job SET state = 'running' WHERE id = ? AND state = 'filling'", (job_id,))


def step(
    tx: Tx, job_id: int, limit: int, keys: Callable[[str], Keys | None] = lambda channel: None
) -> Step | None:
    """Act on the next `limit` messages; None when the job does not run (any more). `keys`: as for `replay`."""
    found = tx.rows("SELECT actor, verb, args FROM job WHERE id = ? AND state = 'running'", (job_id,))
    if not found:
        return None
    actor, verb, given = found[0]
    ids = _next(tx, job_id, limit)
    changed = _act(tx, verb, ids, actor, orjson.loads(given), keys)
    _advance(tx, job_id, ids, len(changed))
    return Step(ids, changed) if ids else None


def skip(tx: Tx, job_id: int, code: str) -> None:
    """The next message cannot be acted on: count it as failed and go on with the one after it."""
    ids = _next(tx, job_id, 1)
    for message_id in ids:
        tx.event("job", message_id=message_id, detail=f"job {job_id} failed on it: {code}")
    tx.execute("UPDATE job SET failed = failed + ? WHERE id = ?", (len(ids), job_id))
    _advance(tx, job_id, ids, 0)


def _next(tx: Tx, job_id: int, limit: int) -> list[int]:
    rows = tx.rows(
        "SELECT message_id FROM job_item WHERE job_id = ? ORDER BY message_id LIMIT ?", (job_id, limit)
    )
    return [row[0] for row in rows]


def _act(
    tx: Tx, verb: str, ids: list[int], actor: str, args: dict[str, Any], keys: Callable[[str], Keys | None]
) -> list[Any]:
    if verb == "replay":
        return operate.replay(tx, ids, actor, keys)
    only = {name: args.get(name) for name in ("destination", "state", "code", "cause")}
    if verb == "resend":
        return operate.resend(tx, ids, actor, **only)
    return operate.discard(tx, ids, actor, note=args.get("note", ""), **only)


def _advance(tx: Tx, job_id: int, ids: list[int], changed: int) -> None:
    if ids:
        tx.execute("DELETE FROM job_item WHERE job_id = ? AND message_id <= ?", (job_id, ids[-1]))
    more = bool(_next(tx, job_id, 1))
    tx.execute(
        "UPDATE job SET done = done + ?, changed = changed + ? WHERE id = ?", (len(ids), changed, job_id)
    )
    if not more:
        tx.execute("UPDATE job SET state = 'done', finished_at = ? WHERE id = ?", (tx.now(), job_id))


def move(tx: Tx, job_id: int, act: str, actor: str) -> bool:
    """`pause`, `resume` or `cancel`. False (and no change) when the job is in no state for it."""
    before, after = MOVES[act]
    states = before if before.startswith("(") else f"('{before}')"
    changed = tx.execute(
        f"UPDATE job SET state = ?, finished_at = ? WHERE id = ? AND state IN {states}",
        (after, tx.now() if after == "cancelled" else None, job_id),
    ).rowcount
    if changed:
        tx.event("job", actor=actor, detail=f"job {job_id}: {act}")
    if changed and after == "cancelled":
        tx.execute("DELETE FROM job_item WHERE job_id = ?", (job_id,))
    return changed == 1


def get(tx: Tx, job_id: int) -> Job | None:
    """One job as it stands now."""
    found = _jobs(tx, "WHERE id = ?", (job_id,))
    return found[0] if found else None


def newest(tx: Tx, limit: int = 50, after: int | None = None) -> list[Job]:
    """Jobs, the newest first; `after` continues below that id."""
    return _jobs(tx, "WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2", (after, limit))


def unfinished(tx: Tx) -> list[Job]:
    """Jobs that are not over, the oldest first: a cheap look, several times a second."""
    return _jobs(tx, f"WHERE state IN {OPEN} ORDER BY id", ())


def _jobs(tx: Tx, which: str, values: tuple[Any, ...]) -> list[Job]:
    rows = tx.rows(f"SELECT {_COLUMNS} FROM job {which}", values)
    found = [
        Job(number, at, actor, verb, orjson.loads(args), *rest)
        for number, at, actor, verb, args, *rest in rows
    ]
    for job in found:
        job.channels = job.args.pop("channels", [])
    return found


def drain(call: Callable[[Callable[[Tx], Any]], Any], job_id: int, size: int) -> None:
    """Take all steps of a job through `call` (a synchronous writer's): where no engine runs."""
    while True:
        try:
            if call(partial(step, job_id=job_id, limit=size)) is None:
                return
        except IsthmusError as error:
            if error.code == "store.busy":
                raise
            for _ in range(size):  # one of them cannot be read: find it
                try:
                    call(partial(step, job_id=job_id, limit=1))
                except IsthmusError as fault:
                    call(partial(skip, job_id=job_id, code=fault.code))
