"""`call`: a method of one record, such as `action_confirm`, at most once as far as its guard can tell.

Guarantees: with a guard (`unless: {state: sale}`) the record is read first, and a call whose outcome is
unknown is not sent again before the record was read. Without a guard an unknown outcome is PERMANENT: a
person looks, because sending again could do it twice.

Refuses: a record that Isthmus does not know.
"""

from __future__ import annotations

from typing import Any

from engine.model import Operation
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.externalid import encode
from engine.odoo.index import XidIndex
from engine.odoo.jobs import Job
from engine.odoo.references import RELATIONS
from engine.odoo.values import cell, same
from engine.states import Result


async def call_method(client: OdooClient, index: XidIndex, module: str, job: Job) -> None:
    """Run the head of `job`."""
    operation = job.head
    where = f"{operation.model}.{operation.method}"
    record = await existing(client, index, f"{module}.{encode(operation.model, operation.key)}")
    if record is None:
        raise OdooError(
            "the record to call a method of does not exist in Odoo",
            result=Result.PERMANENT,
            code="odoo.missing",
            where=where,
            todo="upsert it first",
        )
    if await satisfied(client, operation, record):
        job.done(operation.model, record, {"id": record, "result": "done already"})
        return
    job.sent({"op": "call", "model": operation.model, "id": record, "method": operation.method})
    try:
        answer = await client.call(
            operation.model, operation.method, [record], *operation.args, **operation.kwargs
        )
    except OdooError as error:
        if error.result != Result.UNKNOWN:
            raise
        if not operation.unless:
            raise OdooError(
                "whether the method ran is not known, and the operation has no guard to tell",
                result=Result.PERMANENT,
                code="odoo.call_unknown",
                where=where,
                todo="look at the record in Odoo, then resend or discard; give the operation `unless`",
            ) from error
        if not await satisfied(client, operation, record):
            raise
        answer = None
    shown = answer if isinstance(answer, (bool, int, float)) else None
    job.done(operation.model, record, {"id": record, "result": "called", "answer": shown})


async def existing(client: OdooClient, index: XidIndex, xid: str) -> int | None:
    """The id of the record that an external id names, asked anew."""
    found = (await index.resolve(client, [xid], fresh=True)).get(xid)
    if found is None and not index.readable:
        raise OdooError(
            "external ids cannot be read, so an existing record cannot be found",
            result=Result.CONFIG,
            code="odoo.access",
            where="ir.model.data",
        )
    return found.id if found else None


async def satisfied(client: OdooClient, operation: Operation, record: int) -> bool:
    """Whether the guard says that the call is done already."""
    if not operation.unless:
        return False
    fields = await client.fields_get(operation.model)
    rows = await client.read(operation.model, [record], list(operation.unless))
    if not rows:
        raise OdooError(
            "the record does not exist any more",
            result=Result.PERMANENT,
            code="odoo.missing",
            where=operation.model,
        )
    return all(
        _holds(fields.get(name, {}), wanted, rows[0][name], f"{operation.model}.{name}")
        for name, wanted in operation.unless.items()
    )


def _holds(info: dict[str, Any], wanted: Any, current: Any, where: str) -> bool:
    if info.get("type") in RELATIONS:
        return bool(wanted) == bool(current) if isinstance(wanted, bool) else wanted == current
    return same(info, cell(info, wanted, where), current)
