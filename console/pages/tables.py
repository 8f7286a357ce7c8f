"""Code tables: their rows with how often each was asked for, codes that no row answers, and a click to add them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from console.api.configuration import workshop_of
from console.pages.render import page
from console.problems import Refused, status_of
from console.rights import Analyst
from engine.errors import IsthmusError

router = APIRouter(prefix="/config/tables")
LAST = 200  # messages of each channel that are counted


@router.get("")
def tables(request: Request, identity: Analyst, name: str = "", last: int = LAST) -> Response:
    """All tables, or one with its rows."""
    return _tables(request, name, last)


def _tables(request: Request, name: str, last: int, status: int = 200, **told: Any) -> Response:
    workshop = workshop_of(request)
    found = workshop.tables()
    try:
        seen = workshop.census(min(max(last, 1), 5000))
    except IsthmusError:  # the rows can be edited also when nothing can be counted
        seen = {}
    table = next((one for one in found["tables"] if one["name"] == name), None)
    if name and table is None:
        raise Refused(404, "table.unknown", "there is no such table")
    blank = {"messages": 0, "channels": [], "counts": {}, "missing": {}, "long": 0}
    values = {"outcome": None, "wrong": None, "typed": {}} | told
    return page(
        request, "config_tables.html", status, found=found, table=table, last=last,
        seen={one["name"]: blank | seen.get(one["name"], {}) for one in found["tables"]},
        editable=workshop.allowed is None, **values,
    )  # fmt: skip


@router.post("")
async def save(
    request: Request,
    identity: Analyst,
    name: Annotated[str, Form(max_length=200)],
    code: Annotated[str, Form(max_length=200)],
    seen: Annotated[str, Form(max_length=80)],
    act: Annotated[str, Form(max_length=10)] = "save",
    note: Annotated[str, Form(max_length=500)] = "",
    last: Annotated[int, Form()] = LAST,
) -> Response:
    """Write a code with the values of the form's `column:NAME` fields, or take it away."""
    form = await request.form()
    row = {
        key.removeprefix("column:"): str(value)[:1000]
        for key, value in form.items()
        if key.startswith("column:") and str(value)
    }

    def work() -> Response:
        try:
            outcome = workshop_of(request).code(
                name, code.strip(), None if act == "remove" else row, seen, note
            )
        except IsthmusError as error:
            return _tables(request, name, last, status_of(error), wrong=error, typed={code: row})
        return _tables(request, name, last, outcome=outcome)

    return await run_in_threadpool(work)
