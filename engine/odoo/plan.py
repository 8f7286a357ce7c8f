"""What operations would change in Odoo, field by field, before anything is sent.

Guarantees: the same lookups and comparison as a delivery, and nothing is written. Operations are followed in
order: a value that an earlier operation of the plan would set counts as the old one of a later operation.

Refuses: what a delivery refuses, with the same error.
"""

from __future__ import annotations

from typing import Any, ClassVar

from engine.change import Change
from engine.model import Operation
from engine.odoo.acts import satisfied
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.externalid import encode
from engine.odoo.index import XidIndex
from engine.odoo.jobs import LOADED
from engine.odoo.records import MERGED, Records, Row
from engine.odoo.references import RELATIONS, Cell, Waiting
from engine.states import Result


class Planner:
    """Plans operations against one connection."""

    content: ClassVar[Any] = list[Operation]

    def __init__(self, client: OdooClient, index: XidIndex, records: Records, module: str) -> None:
        self._client = client
        self._index = index
        self._records = records
        self._module = module
        self._resolver = records.resolver()
        self._set: dict[tuple[str, str], dict[str, str]] = {}  # what earlier operations would have written

    async def plan(self, operations: list[Operation]) -> list[Change]:
        """The changes, in order; an operation that changes nothing gives one Change with a note."""
        changes: list[Change] = []
        for operation in operations:
            if operation.op in LOADED:
                changes += await self._loaded(operation)
            elif operation.op == "merge":
                changes.append(await self._merge(operation))
            else:
                changes.append(await self._call(operation))
        return changes

    async def _loaded(self, operation: Operation) -> list[Change]:
        fields = await self._client.fields_get(operation.model)
        await self._resolver.learn(operation.model, fields, [operation.values])
        try:
            row = self._records.row(self._resolver, operation, fields)
        except Waiting as missing:
            raise OdooError(
                f"the reference names a record of {missing.model} that Isthmus has not made in Odoo",
                result=Result.PERMANENT,
                code="odoo.reference",
                where=missing.where,
                todo="upsert that record first",
            ) from None
        await self._records.compare(operation.model, fields, [row], write=False)
        if row.merged and operation.op == "archive":
            return [self._change(operation, row.id, note=MERGED)]
        key = (operation.model, operation.key)
        planned = self._set.get(key)
        if row.id is None and planned is None and operation.op != "upsert":
            note = "nothing to archive" if operation.op == "archive" else "skipped: no such record"
            return [self._change(operation, None, note=note)]
        before = planned or {}
        differ = {cell.field for cell in row.columns(fields)}
        changes = [
            self._change(operation, row.id, cell.field, self._old(row, cell, before, fields), cell.text)
            for cell in row.cells
            if (before[cell.field] != cell.text if cell.field in before else cell.field in differ)
        ]
        self._set[key] = before | {cell.field: cell.text for cell in row.cells}
        self._resolver.planned.add(row.xid)
        if changes and row.refused is not None:
            raise row.refused
        note = "would be adopted" if row.adopted else "unchanged"
        return changes or [self._change(operation, row.id, note=note)]

    def _old(self, row: Row, cell: Cell, before: dict[str, str], fields: dict[str, Any]) -> Any:
        if cell.field in before:
            return before[cell.field]
        current = row.current.get(cell.field)
        if fields[cell.field]["type"] == "many2one" and current:
            return current[1]
        if current is False and fields[cell.field]["type"] not in {"boolean", *RELATIONS}:
            return ""
        return current

    async def _call(self, operation: Operation) -> Change:
        found = await self._find(operation, [operation.key])
        record = found.get(operation.key)
        if record is None:
            note = "would call" if (operation.model, operation.key) in self._set else "no such record"
        else:
            note = "done already" if await satisfied(self._client, operation, record) else "would call"
        return self._change(operation, record, note=f"{note}: {operation.method}")

    async def _merge(self, operation: Operation) -> Change:
        found = await self._find(operation, [operation.key, *operation.retired])
        survivor = found.get(operation.key)
        others: list[Any] = [
            found[key] for key in operation.retired if key in found and found[key] != survivor
        ]
        planned = [key for key in operation.retired if key not in found and self._planned(operation, key)]
        others += planned  # made by an earlier operation of the plan
        if not found and not planned:
            note = "nothing to merge"
        elif others:
            stays = survivor or self._planned(operation, operation.key)
            note = "would merge" if stays else "would take over the retired record"
        else:
            note = "done already" if len(found) > len(operation.retired) else "would name the survivor"
        new = survivor or operation.key
        return Change("merge", operation.model, operation.key, survivor, old=others, new=new, note=note)

    def _planned(self, operation: Operation, key: str) -> bool:
        return (operation.model, key) in self._set

    async def _find(self, operation: Operation, keys: list[str]) -> dict[str, int]:
        names = {key: f"{self._module}.{encode(operation.model, key)}" for key in keys}
        found = await self._index.resolve(self._client, names.values(), fresh=True)
        return {key: found[name].id for key, name in names.items() if name in found}

    @staticmethod
    def _change(
        operation: Operation,
        record: int | None,
        field: str = "",
        old: Any = None,
        new: Any = None,
        note: str = "",
    ) -> Change:
        return Change(operation.op, operation.model, operation.key, record, field, old, new, note)
