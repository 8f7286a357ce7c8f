"""What people do from the console: each act is checked, written to the store, and audited in the same transaction.

Guarantees: an engine carries it out (commands, jobs); who asked for what is in the audit log whether or not it was
allowed; nothing older is put over newer data without `force`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from console.preview import Preview, preview
from console.problems import Refused
from console.queries import PRIVATE, Act, Query, chosen
from console.rights import moves, sees
from console.stores import Stores
from engine.errors import IsthmusError
from engine.security.roles import Identity, Role
from engine.store import audit, commands, jobs, operate, search
from engine.store.stale import Stale, stale
from engine.store.tx import Tx

T = TypeVar("T")
COMMAND_WAIT = 10.0  # seconds
RELOAD_WAIT = 90.0  # seconds: the engine waits up to a minute for deliveries on their way
CHANNEL_ACTS = ("start", "stop", "pause", "resume")


class Desk:
    """Acts for one request: knows who asks and from where."""

    def __init__(self, stores: Stores, identity: Identity, address: str) -> None:
        self.stores = stores
        self.identity = identity
        self.address = address

    def audited(self, action: str, object: str, work: Callable[[Tx], T], detail: str = "") -> T:
        """Run `work` and its audit row in one transaction; what is refused is kept, too."""

        def both(tx: Tx) -> T:
            result = work(tx)
            audit.record(tx, self.identity.name, action, object, detail=detail, address=self.address)
            return result

        try:
            return self.stores.write(both)
        except IsthmusError as error:
            self.refused(action, object, error.code)
            raise

    def refused(self, action: str, object: str, why: str) -> None:
        """Keep that something was asked for and not done."""
        self.stores.write(
            partial(
                audit.record, actor=self.identity.name, action=action, object=object, outcome="refused", detail=why,
                address=self.address,
            )
        )  # fmt: skip

    def saw(self, object: str, detail: str = "") -> None:
        """Patient data was shown."""
        self.audited("phi.reveal", object, lambda tx: None, detail)

    def channel(self, name: str, act: str) -> dict[str, Any]:
        """Start, stop, pause or resume a channel; waits for the engine's answer."""
        if act not in CHANNEL_ACTS:
            raise Refused(
                422, "channel.act", f"a channel cannot {act!r}", f"one of {', '.join(CHANNEL_ACTS)}"
            )
        with self.stores.reading() as tx:
            status = (commands.engine_status(tx) or {}).get("status", {})
            known = name in status.get("channels", {}) or name in search.counts(tx)
        if not known:
            raise Refused(404, "channel.unknown", "there is no such channel")
        return self.command("channel", {"name": name, "act": act}, f"channel.{act}", name)

    def reload(self, name: str = "", note: str = "") -> dict[str, Any]:
        """Let the engine take up the files as they are, and make channel `name` anew: what changed, or why not."""
        if not self.identity.may(Role.ANALYST):
            raise Refused(403, "forbidden", "this needs the role analyst on all channels")
        with self.stores.reading() as tx:
            if not commands.beating(commands.engine_status(tx), tx.now()):
                raise Refused(
                    409, "engine.absent", "no engine is running on this store", "start it with `isthmus run`"
                )
        return self.command("reload", {"name": name, "note": note}, "config.reload", name, wait=RELOAD_WAIT)

    def command(
        self,
        verb: str,
        args: dict[str, Any],
        action: str,
        object: str,
        detail: str = "",
        sealed: bytes = b"",
        wait: float | None = None,
    ) -> dict[str, Any]:
        """Ask the engine for something and wait for its answer, so many seconds. `sealed` is patient data about it."""

        def ask(tx: Tx) -> int:
            secret = {"sealed": commands.seal(tx, object, sealed)} if sealed else {}
            return commands.add(tx, self.identity.name, verb, args | secret)

        number = self.audited(action, object, ask, detail)
        until = time.monotonic() + (COMMAND_WAIT if wait is None else wait)
        while time.monotonic() < until:
            with self.stores.reading() as tx:
                command = commands.get(tx, number)
            if command is not None and command.state in ("done", "failed"):
                if command.state == "failed":
                    raise Refused(409, "command.failed", str(command.result["error"]))
                return dict(command.result or {})
            time.sleep(0.05)
        raise Refused(
            504,
            "command.waiting",
            "no engine has answered yet",
            "it stays queued until an engine runs on this store",
        )

    # Messages ---------------------------------------------------------------------------------------------

    def weigh(self, act: Act) -> tuple[list[int], list[int], list[Stale]]:
        """The messages that an act is about, those without content, and what is older than what was delivered."""
        ids = chosen(self.stores, self.identity, act)
        with self.stores.reading() as tx:
            gone = operate.contentless(tx, ids) if act.verb != "discard" else []
            kept = sorted(set(ids) - set(gone))
            only = {} if act.verb == "replay" else act.query.only
            return kept, gone, stale(tx, act.verb, kept, **only)

    def replayed(self, act: Act) -> list[tuple[int, int]]:
        """Of messages that were named to be replayed: those that were replayed already, each with its newest."""
        if act.verb != "replay" or not act.query.ids:
            return []
        ids = chosen(self.stores, self.identity, act)
        with self.stores.reading() as tx:
            return operate.replayed(tx, ids)

    def preview(self, act: Act, config: Path, reveal: bool) -> Preview:
        """What an act would change in the destinations; with its values only to who may see them, and audited."""
        if act.verb == "discard":
            raise Refused(422, "preview.verb", "to discard changes nothing in a destination")
        if reveal and not self.identity.reveal:
            raise Refused(403, "forbidden", "this needs the right to see patient data")
        kept, _, _ = self.weigh(act)
        found = preview(config, self.stores.data_dir, act, kept, reveal)
        if reveal:
            self.saw(audit.span(kept[: found.looked_at]), f"preview of {act.verb}")
        return found

    def act(self, act: Act) -> tuple[jobs.Job, list[int]]:
        """Make the job. Gives it, and the messages that were left out as their content is not kept."""
        if not self.identity.somewhere(Role.OPERATOR):
            raise Refused(403, "forbidden", "this needs the role operator")
        kept, gone, older = self.weigh(act)
        if older and not act.force:
            self.refused(f"messages.{act.verb}", audit.span(kept), "stale")
            count = len({one.id for one in older})
            raise Refused(
                409, "stale", f"{count} of {len(kept)} are older than what was delivered since",
                "choose the later messages too, or put older data over newer on purpose",
            )  # fmt: skip
        if not kept:
            raise Refused(
                422,
                "query.nothing",
                "no messages fit" if not gone else "their content is not kept any more",
                "" if gone else "somebody may have dealt with them meanwhile: the page Jobs tells who",
            )
        only = {} if act.verb == "replay" else act.query.only
        self.audited(f"messages.{act.verb}", audit.span(kept), lambda tx: None, _detail(act, len(kept)))
        number = jobs.submit(
            self.stores.write, self.identity.name, act.verb, kept, rate=act.rate, note=act.note, **only
        )
        with self.stores.reading() as tx:
            job = jobs.get(tx, number)
        assert job is not None
        return job, gone

    def newest_jobs(self, limit: int = 50, after: int | None = None) -> list[jobs.Job]:
        """The newest jobs that they may see; `after` continues below that id."""
        found: list[jobs.Job] = []
        with self.stores.reading() as tx:
            while len(found) < limit and (some := jobs.newest(tx, 500, after)):
                after = some[-1].id
                found += [job for job in some if sees(self.identity, job)]
        return found[:limit]

    def job(self, job_id: int) -> jobs.Job:
        """One job. Refused 404 when there is none that they may see."""
        with self.stores.reading() as tx:
            return self._job(tx, job_id)

    def _job(self, tx: Tx, job_id: int) -> jobs.Job:
        found = jobs.get(tx, job_id) if 0 < job_id < 2**53 else None
        if found is None or not sees(self.identity, found):
            raise Refused(404, "job.unknown", f"there is no job {job_id}")
        return found

    def move(self, job_id: int, act: str) -> jobs.Job:
        """Pause, resume or cancel a job."""
        if act not in jobs.MOVES:
            raise Refused(422, "job.act", f"a job cannot {act!r}", f"one of {', '.join(jobs.MOVES)}")

        def work(tx: Tx) -> jobs.Job:
            job = self._job(tx, job_id)
            if not moves(self.identity, job):
                raise Refused(403, "forbidden", "this needs the role operator on all channels of the job")
            if not jobs.move(tx, job_id, act, self.identity.name):
                raise Refused(409, "job.state", f"job {job_id} is {job.state}, so it cannot {act}")
            return self._job(tx, job_id)

        return self.audited(f"job.{act}", str(job_id), work)


def described(query: Query) -> dict[str, Any]:
    """What was chosen, without identifiers of patients: of these only that they were given (`by`)."""
    told = {
        name: value
        for name, value in query.model_dump(exclude_none=True, exclude={"ids", *PRIVATE}).items()
        if value
    }
    return {**told, "by": [name for name in PRIVATE if getattr(query, name)]}


def _detail(act: Act, count: int) -> str:
    told = {"count": count, **described(act.query), "force": act.force, "note": act.note}
    return orjson.dumps(told).decode()
