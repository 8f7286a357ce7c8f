"""`upsert`, `write` and `archive`: many operations on one model, compared with what is there, then loaded.

Guarantees: only columns that change are written, and a record that would not change is not written at all;
a record is found by its external id alone, never by a search (two writers that search and then create make
duplicates), unless `adopt` names a field for its model; `write` and `archive` make no record, but of one that is
deleted in the very moment between their look and their write.

Refuses: fields that Odoo does not have, and to adopt when several records fit.

| found out | done |
|---|---|
| external id known, record gone (deleted, merged) | asked again; still gone: `load` makes it anew |
| external ids may not be read | upserts are loaded without comparison; write and archive are CONFIG |
| deleted or merged before `load` came to it | once more: it was made of the changed columns alone, or could not be |
| a reference was out of date | forgotten, looked up again, sent once more |
| the key was merged away, and the record would be archived | it is not: it is the survivor's, who goes on |
| an invoice is no draft any more | what would change it is PERMANENT (see documents.py) |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from engine.model import Operation
from engine.odoo import documents
from engine.odoo.client import Fields, OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.externalid import retired
from engine.odoo.index import Found, XidIndex
from engine.odoo.jobs import Job
from engine.odoo.loading import LARGEST, Loader, Verdict
from engine.odoo.references import Cell, Lookups, Resolver, Waiting
from engine.odoo.values import refuse, together
from engine.states import Result

MERGED = "kept: merged into another"
_COLUMN = attrgetter("column")
NEW_FIELDS = 60.0  # seconds between two looks for a field that is not there


@dataclass
class Row:
    """One record to be: what it is in Odoo now, and what of it changes. Identical operations share it."""

    operation: Operation
    xid: str
    cells: list[Cell]
    jobs: list[Job] = field(default_factory=list)
    id: int | None = None
    current: dict[str, Any] = field(default_factory=dict)
    adopted: bool = False
    document: int | None = None  # the invoice that a line is on
    refused: OdooError | None = None  # why it may not change
    merged: bool = False  # its key was merged away: the record is another one's, and is not archived for it

    def columns(self, fields: Fields) -> list[Cell]:
        """The cells to send: all for a new record, the changed ones for a known one."""
        if self.id is None:
            return self.cells
        current = self.current
        changed: set[str] = set()
        for cell in self.cells:
            name, _, text, _, _ = cell
            old = current.get(name)  # never None where Odoo has read it
            if old == text or (old is False and not text):
                continue  # the same for every type: what most cells are, without asking for the type
            if name not in current or not cell.unchanged(fields[name], old):
                changed.add(name)
        if not changed:
            return []
        kept = together(fields, changed, {cell.field for cell in self.cells})
        return [cell for cell in self.cells if cell.field in kept]


class Records:
    """The records of one connection, as one destination writes them."""

    def __init__(
        self,
        client: OdooClient,
        index: XidIndex,
        lookups: Lookups,
        module: str,
        adopt: Mapping[str, str] | None = None,
    ) -> None:
        self._client = client
        self._index = index
        self._lookups = lookups
        self._module = module
        self._adopt = dict(adopt or {})

    def resolver(self) -> Resolver:
        """A resolver for one batch."""
        return Resolver(self._client, self._index, self._lookups, self._module)

    async def run(self, model: str, jobs: list[Job]) -> None:
        """Run the heads of `jobs`: each is done, failed, or waits for a record."""
        fields = await self._client.fields_get(model)
        if not all(job.head.values.keys() <= fields.keys() for job in jobs):
            fields = await self._client.fields_get(model, NEW_FIELDS)  # perhaps a module was just installed
        rows: dict[str, Row] = {}
        resolver = self.resolver()
        await resolver.learn(model, fields, [job.head.values for job in jobs])
        for job in jobs:
            try:
                row = self.row(resolver, job.head, fields)
            except Waiting as missing:
                job.waiting = ((missing.model, missing.key), missing.where)
            except OdooError as error:
                job.fail(error)
            else:
                rows.setdefault(row.xid, row).jobs.append(job)
        await self.compare(model, fields, list(rows.values()))
        groups: dict[tuple[str, ...], list[tuple[Row, list[Cell]]]] = {}
        for row in rows.values():
            if row.jobs[0].active and not self._settled(row):
                cells = sorted(row.columns(fields), key=_COLUMN)
                if (cells or row.id is None) and row.refused is not None:
                    _fail(row, row.refused)
                elif cells or row.id is None:
                    groups.setdefault(tuple(map(_COLUMN, cells)), []).append((row, cells))
                else:
                    _done(row, "adopted" if row.adopted else "unchanged", [])
        for columns, group in groups.items():
            await self._load(model, columns, group)

    def row(self, resolver: Resolver, operation: Operation, fields: Fields) -> Row:
        """The row for an operation; raises Waiting or OdooError."""
        if operation.op == "archive":
            if "active" not in fields:
                raise refuse(f"{operation.model}.active", "records of this model cannot be archived")
            cells = [Cell("active", "active", "0")]
        else:
            cells = resolver.cells(operation, fields)
        return Row(operation, resolver.xid(operation.model, operation.key), cells)

    async def compare(self, model: str, fields: Fields, rows: list[Row], write: bool = True) -> None:
        """Find the records and read what they hold; adopt where that is wanted (not if `write` is False)."""
        names = sorted({*(cell.field for row in rows for cell in row.cells), *documents.also(model)})
        await self._spare(rows)
        pending = rows
        for fresh in (False, True):
            found = await self._index.resolve(self._client, [row.xid for row in pending], fresh)
            ids = {found[row.xid].id for row in pending if row.xid in found}
            values = {
                item["id"]: item
                for item in (
                    await self._client.read(model, sorted(ids), names or ["write_date"]) if ids else []
                )
            }
            for row in pending:
                if row.xid in found and found[row.xid].id in values:
                    row.id = found[row.xid].id
                    row.current = values[row.id]
            pending = [row for row in pending if row.xid in found and row.id is None]
            if not pending:
                break
            self._index.forget(row.xid for row in pending)
        fresh_rows = [row for row in rows if row.id is None and row.operation.op == "upsert"]
        if model in self._adopt and fresh_rows:
            await self._adopt_rows(model, self._adopt[model], fresh_rows, names, write)
        await documents.examine(self._client, model, rows)

    async def _spare(self, rows: list[Row]) -> None:
        """Who lives on as another is not archived."""
        marks = {retired(row.xid): row for row in rows if any(map(_archives, row.cells))}
        for mark in await self._index.resolve(self._client, marks) if marks else ():
            row = marks[mark]
            row.merged, row.cells = True, [cell for cell in row.cells if not _archives(cell)]

    def _settled(self, row: Row) -> bool:
        """Whether there is no record to write to, which ends `write` and `archive`."""
        if row.merged and row.operation.op == "archive" and row.id is not None:
            _done(row, MERGED, [])
            return True
        if row.operation.op == "upsert" or row.id is not None:
            return False
        if not self._index.readable:
            _fail(
                row,
                OdooError(
                    "external ids cannot be read, so an existing record cannot be found",
                    result=Result.CONFIG,
                    code="odoo.access",
                    where="ir.model.data",
                ),
            )
        elif row.operation.op == "archive":
            _done(row, "nothing to archive", [])
        else:
            _done(row, "skipped: no such record", [])
        return True

    async def _load(self, model: str, columns: tuple[str, ...], group: list[tuple[Row, list[Cell]]]) -> None:
        attempts = max(job.delivery.attempts for row, _ in group for job in row.jobs)
        limit = LARGEST >> min(max(attempts - 1, 0), 7)  # a batch that failed twice goes in smaller parts
        for row, cells in group:
            for job in row.jobs:
                values = {cell.column: cell.text for cell in cells}
                job.sent({"op": row.operation.op, "model": model, "id": row.xid, "values": values})
        document = documents.DOCUMENTS.get(model)
        verdicts: list[Verdict]
        if document is not None and not self._index.readable:
            verdicts = [documents.unreadable()] * len(group)
        elif document is not None and model == document.lines:
            lines = [(row.xid, row.document, cells) for row, cells in group]
            verdicts = await documents.load_lines(self._client, self._index, document, lines, limit)
        else:
            data = [(row.xid, *(cell.text for cell in cells)) for row, cells in group]
            verdicts = await Loader(self._client, model, ("id", *columns), limit).load(data)
        for (row, cells), verdict in zip(group, verdicts, strict=True):
            self._judge(row, cells, verdict)

    def _judge(self, row: Row, cells: list[Cell], verdict: Verdict) -> None:
        if isinstance(verdict, int):
            how = "updated" if row.id is not None else "loaded" if not self._index.readable else "created"
            if row.adopted:
                how = "adopted"
            self._index.learn(row.xid, Found(row.operation.model, verdict))
            if row.id not in (None, verdict) and not any(job.again for job in row.jobs):
                _again(row)
                return
            row.id = verdict
            _done(row, "archived" if row.operation.op == "archive" else how, cells)
            return
        if self._stale(row, cells, verdict):
            _again(row)
            return
        _fail(row, verdict)

    def _stale(self, row: Row, cells: list[Cell], error: OdooError) -> bool:
        """Whether the error may come of a lookup that is out of date; it is then forgotten."""
        if error.result != Result.PERMANENT or any(job.again for job in row.jobs):
            return False
        field_name = error.where.removeprefix(f"{row.operation.model}.")
        used = [item for cell in cells if cell.field == field_name for item in cell.used]
        if error.code == "odoo.missing":
            used = [item for cell in cells for item in cell.used] + [row.xid]
        elif row.id is not None:
            used.append(row.xid)  # gone since it was compared, it wants columns that did not change
        for item in used:
            if isinstance(item, str):
                self._index.forget([item])
            else:
                self._lookups.forget(item)
        return bool(used)

    async def _adopt_rows(
        self, model: str, name: str, rows: list[Row], columns: list[str], write: bool
    ) -> None:
        wanted = {str(row.operation.values[name]): row for row in rows if row.operation.values.get(name)}
        if not wanted:
            return
        found = await self._client.search_read(
            model, [[name, "in", sorted(wanted)]], [name], context={"active_test": False}
        )
        ids = [item["id"] for item in found]
        domain = [["module", "=", self._module], ["model", "=", model], ["res_id", "in", ids]]
        named = await self._client.search_read("ir.model.data", domain, ["res_id"]) if ids else []
        owned = {item["res_id"] for item in named}
        for value, row in wanted.items():
            fits = [item["id"] for item in found if item[name] == value and item["id"] not in owned]
            if len(fits) > 1:
                _fail(
                    row,
                    OdooError(
                        f"{len(fits)} records in Odoo fit this one",
                        result=Result.PERMANENT,
                        code="odoo.ambiguous",
                        where=f"{model}.{name}",
                        todo="merge them in Odoo, then resend",
                    ),
                )
            elif fits:
                if write:
                    await name_record(self._client, self._index, row.xid, Found(model, fits[0]))
                row.id = fits[0]
                row.adopted = True
                row.current = (await self._client.read(model, fits, columns or ["write_date"]))[0]


def _archives(cell: Cell) -> bool:
    return cell.field == "active" and cell.text == "0"


async def name_record(client: OdooClient, index: XidIndex, xid: str, record: Found) -> Found:
    """Give a record an external id; gives the record that has it, should another have been quicker."""
    module, _, name = xid.partition(".")
    values = {"module": module, "name": name, "model": record.model, "res_id": record.id}
    try:
        await client.call("ir.model.data", "create", vals_list=[values])
    except OdooError as error:
        if error.code != "odoo.validation":
            raise
        known = (await index.resolve(client, [xid], fresh=True)).get(xid)
        if known is None:
            raise
        return known
    index.learn(xid, record)
    return record


def _again(row: Row) -> None:
    for job in row.jobs:
        job.again = True


def _done(row: Row, how: str, cells: list[Cell]) -> None:
    for job in row.jobs:
        response = {"id": row.id, "result": how, "fields": [cell.field for cell in cells]}
        job.done(row.operation.model, row.id, response)


def _fail(row: Row, error: OdooError) -> None:
    for job in row.jobs:
        job.fail(error)
