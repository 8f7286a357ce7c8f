"""Pages by patient."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console import patients
from console.api.answers import desk_of
from console.pages.messages import PAGE
from console.pages.render import page
from console.queries import LARGEST_ID, After
from console.rights import Viewer

router = APIRouter()


@router.get("/patients")
def ask(request: Request, identity: Viewer) -> Response:
    """Whom to look for."""
    return page(request, "patients.html")


@router.post("/patients")
async def find(request: Request, identity: Viewer) -> Response:
    """By the number, which is in no address."""
    form = await request.form()
    given = str(form.get("mrn") or "")[:200]
    reference = await run_in_threadpool(patients.of_number, desk_of(request), given)
    return RedirectResponse(f"/patients/{reference}", 303)


@router.post("/messages/{message_id}/patient")
def by_message(request: Request, identity: Viewer, message_id: int) -> Response:
    """The patient whom a message is about."""
    number = message_id if 0 < message_id < LARGEST_ID else 0
    return RedirectResponse(f"/patients/{patients.of_message(desk_of(request), number)}", 303)


@router.get("/patients/{reference}")
def show(request: Request, identity: Viewer, reference: str, after: After = None) -> Response:
    """Messages of all channels, and the records that they wrote."""
    found = patients.look(desk_of(request), reference, after, PAGE)
    return page(request, "patient.html", found=found, rows=found.messages, next=None)
