"""Invoices: records that stop being ours when accounting posts them, and lines that are written through them.

Design. Odoo keeps the tax and receivable lines of an invoice in step with its invoice lines only when these are
written through the invoice: written alone, a changed quantity is refused by Odoo 16 ("not balanced"), and a new
line is accepted on a posted invoice by both 16 and 19 (seen). So rows of `account.move.line` go out as sub-rows of
`account.move.load()`, each with an external id of its own, which leaves the other lines alone.

Guarantees: an invoice or line that would change is only written while the invoice is a draft; a line never goes
to another invoice; what would not change is no error, whatever the state.
Refuses: to post, reset or cancel. Between reading the state and writing, a person may still post it: Odoo 19
refuses the write then, Odoo 16 does not.

| the invoice is | and the row | done |
|---|---|---|
| a draft | changes | written |
| posted or cancelled | would not change | nothing |
| posted or cancelled | would change, or is new | PERMANENT `odoo.closed` |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from engine.model import Operation
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.index import XidIndex
from engine.odoo.loading import Loader, Verdict
from engine.odoo.references import Cell
from engine.states import Result


@dataclass(frozen=True)
class Document:
    """A model with lines: `parent` is the line's field, `field` the document's; open while `state` is `draft`."""

    model: str
    lines: str
    parent: str
    field: str
    state: str = "state"
    draft: str = "draft"


INVOICE = Document("account.move", "account.move.line", "move_id", "invoice_line_ids")
DOCUMENTS = dict.fromkeys((INVOICE.model, INVOICE.lines), INVOICE)
"""By the model of the document and of its lines."""

FORMS_ONLY = frozenset(
    {("account.move", "move_type"), ("account.move", "partner_id"), ("account.move.line", "move_id")}
)
"""Fields that `fields_get` calls read-only because forms do not edit them; a new record takes them."""


class Written(Protocol):
    """What is needed of a row of engine.odoo.records."""

    operation: Operation
    cells: list[Cell]
    id: int | None
    current: dict[str, Any]
    document: int | None
    refused: OdooError | None


def also(model: str) -> tuple[str, ...]:
    """The fields to read of a record beside those that are compared."""
    document = DOCUMENTS.get(model)
    if document is None:
        return ()
    return (document.state,) if model == document.model else (document.parent,)


async def examine(client: OdooClient, model: str, rows: Iterable[Written]) -> None:
    """Find the document of each row, and why the row may not change it (`refused`)."""
    document = DOCUMENTS.get(model)
    if document is None:
        return
    if model == document.model:
        for row in rows:
            if row.id is not None and row.current.get(document.state) != document.draft:
                row.refused = _closed(model)
        return
    for row in rows:
        _place(document, row)
    ids = sorted({row.document for row in rows if row.document is not None})
    states = {item["id"]: item[document.state] for item in await client.read(
        document.model, ids, [document.state])} if ids else {}  # fmt: skip
    for row in rows:
        if row.document is not None and states.get(row.document, document.draft) != document.draft:
            row.refused = row.refused or _closed(model)


def _place(document: Document, row: Written) -> None:
    cell = next((cell for cell in row.cells if cell.field == document.parent), None)
    wanted = next(iter(cell.ids), None) if cell is not None and cell.ids else None
    there = row.current.get(document.parent)
    row.document = there[0] if there else wanted
    where = f"{document.lines}.{document.parent}"
    if there and wanted is not None and wanted != there[0]:
        row.refused = OdooError(
            "the line is on another invoice already",
            result=Result.PERMANENT,
            code="odoo.closed",
            where=where,
            todo="move it in Odoo, or give the line a key that names its invoice",
        )
    elif row.document is None and row.operation.op == "upsert" and (cell is None or not cell.used):
        row.refused = OdooError(
            "the line does not say which invoice it is on",
            result=Result.PERMANENT,
            code="odoo.value",
            where=where,
            todo=f"give `{document.parent}` a reference",
        )


def _closed(where: str) -> OdooError:
    return OdooError(
        "the invoice is no draft any more, so nothing of it is changed",
        result=Result.PERMANENT,
        code="odoo.closed",
        where=where,
        todo="correct it in Odoo (credit note, or reset to draft and resend), or discard this",
    )


async def load_lines(
    client: OdooClient,
    index: XidIndex,
    document: Document,
    rows: Sequence[tuple[str, int | None, list[Cell]]],
    limit: int,
) -> list[Verdict]:
    """Load lines (external id, document, cells) as sub-rows of their documents; a verdict for each."""
    columns = [f"{document.field}/{cell.column}" for cell in rows[0][2] if cell.field != document.parent]
    data = [
        (str(parent), xid, *(cell.text for cell in cells if cell.field != document.parent))
        for xid, parent, cells in rows
    ]
    loader = Loader(client, document.model, (".id", f"{document.field}/id", *columns), limit)
    verdicts = await loader.load(data)
    written = [row[0] for row, verdict in zip(rows, verdicts, strict=True) if isinstance(verdict, int)]
    made = await index.resolve(client, written, fresh=True)
    return [
        verdict
        if isinstance(verdict, OdooError)
        else made[row[0]].id
        if row[0] in made
        else _unnamed(document)
        for row, verdict in zip(rows, verdicts, strict=True)
    ]


def unreadable() -> OdooError:
    """Where external ids cannot be read, nobody knows whether an invoice is a draft."""
    return OdooError(
        "external ids cannot be read, so nobody knows whether the invoice is still a draft",
        result=Result.CONFIG,
        code="odoo.access",
        where="ir.model.data",
    )


def _unnamed(document: Document) -> OdooError:
    return OdooError(
        "Odoo loaded a line without keeping its external id",
        result=Result.UNKNOWN,
        code="odoo.answer",
        where=document.lines,
        todo="it is sent again unchanged",
    )
