"""A batch of deliveries to one Odoo database: every delivery goes in, exactly one outcome for each comes out.

Design. The deliveries of a batch advance together: at each step the largest group of head operations of one
kind on one model runs as one (see jobs.py), so that 200 messages `patient, visit, appointment` cost three
loads and not 600. A reference by key to a record of the same batch therefore finds it loaded already.

Guarantees: `deliver` never fails; what goes wrong is in the outcomes. An error of Odoo that names no row is
pinned on the delivery that causes it by running the group one by one.

| failure | outcome |
|---|---|
| RETRY, UNKNOWN or CONFIG for a whole call | that, for all deliveries of the group |
| PERMANENT for a whole call | the group runs one by one |
| a fault of our own | one by one; then PERMANENT `internal`, without the exception's text |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred

from engine.change import Change
from engine.model import Delivery, Operation, Outcome
from engine.odoo.acts import call_method
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.index import XidIndex
from engine.odoo.jobs import LOADED, Job, Schedule, dangling
from engine.odoo.merge import Merger
from engine.odoo.plan import Planner
from engine.odoo.records import Records
from engine.odoo.references import Lookups
from engine.states import Result


class Writer:
    """One destination's way into Odoo. `seconds` is a clock's; `module` prefixes the external ids."""

    def __init__(
        self,
        client: OdooClient,
        seconds: Callable[[], float],
        module: str,
        *,
        adopt: Mapping[str, str] | None = None,
        index: XidIndex | None = None,
    ) -> None:
        self._client = client
        self._index = index or XidIndex(seconds)
        self._records = Records(client, self._index, Lookups(seconds), module, adopt)
        self._merger = Merger(client, self._index, module)
        self._module = module

    def deliver(self, batch: list[Delivery]) -> Deferred[list[Outcome]]:
        """An outcome for each delivery of the batch."""
        return Deferred.fromCoroutine(self._deliver(batch))

    def plan(self, operations: list[Operation]) -> Deferred[list[Change]]:
        """What the operations would change, old and new; writes nothing. Fails with an OdooError."""
        return Deferred.fromCoroutine(self.planner().plan(operations))

    def planner(self) -> Planner:
        """For plans one after another: what an earlier one would write counts for the later ones."""
        return Planner(self._client, self._index, self._records, self._module)

    async def _deliver(self, batch: list[Delivery]) -> list[Outcome]:
        jobs = [Job(delivery) for delivery in batch]
        schedule = Schedule(jobs)
        while any(job.active for job in jobs):
            group = schedule.select()
            if not group:
                stuck = [(job, dangling(jobs, job)) for job in jobs if job.active and job.waiting]
                for job, error in stuck:
                    job.fail(error)
                continue
            late = [(job, job.waiting) for job in group if job.waiting]
            await self._run(group)
            for job, missing in late:
                if job.active and job.waiting == missing:  # its maker is through, and it is still not there
                    job.fail(dangling(jobs, job))
        return [job.outcome for job in jobs if job.outcome is not None]

    async def _run(self, group: list[Job]) -> None:
        before = [job.position for job in group]
        try:
            await self._act(group)
            return
        except OdooError as error:
            failure = error
        except Exception as error:
            failure = OdooError(
                f"a fault in Isthmus itself ({type(error).__name__})",
                result=Result.PERMANENT,
                code="internal",
                todo="report it with the version and the template; resending is safe",
            )
        left = [job for job, was in zip(group, before, strict=True) if job.active and job.position == was]
        if failure.result == Result.PERMANENT and len(left) > 1:
            for job in left:
                await self._run([job])
        else:
            for job in left:
                job.fail(failure)

    async def _act(self, group: list[Job]) -> None:
        head = group[0].head
        if head.op in LOADED:
            await self._records.run(head.model, group)
            return
        for job in group:
            try:
                if head.op == "merge":
                    await self._merger.run(job)
                else:
                    await call_method(self._client, self._index, self._module, job)
            except OdooError as error:
                job.fail(error)
