"""Pages to export messages: what is asked for, how far it is, and the file."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console import queries
from console.api.answers import desk_of
from console.api.exporting import download
from console.exporting import TYPES, Exports
from console.pages.messages import query_of
from console.pages.render import page
from console.problems import Refused
from console.rights import Operator

router = APIRouter()


@router.post("/messages/export")
async def offer(request: Request, identity: Operator) -> Response:
    """Of the ticked messages, or of all that the search finds when none is ticked."""
    form = await request.form()
    kind = str(form.get("format"))
    if kind not in TYPES:
        raise Refused(422, "export.format", "this is no format", f"one of {', '.join(TYPES)}")
    ticked = [queries.id_of(one) for one in form.getlist("id")]
    query = queries.Query(ids=ticked) if ticked else query_of(form)
    desk, reveal = desk_of(request), bool(form.get("reveal"))
    made = await run_in_threadpool(exports_of(request).offer, desk, query, kind, reveal)  # type: ignore[arg-type]
    return RedirectResponse(f"/exports/{made.id}", 303)


@router.get("/exports/{name}")
def show(request: Request, identity: Operator, name: str) -> Response:
    """How far it is; asked again by the page until it is over."""
    found, _ = exports_of(request).get(desk_of(request), name)
    template = "_export.html" if request.headers.get("hx-request") else "export.html"
    return page(request, template, export=found)


@router.get("/exports/{name}/file")
def fetch(request: Request, identity: Operator, name: str) -> Response:
    """The file, once."""
    found, pieces = exports_of(request).fetch(desk_of(request), name)
    return download(pieces, found.form)


def exports_of(request: Request) -> Exports:
    """The exports of the application."""
    found: Exports = request.app.state.exports
    return found
