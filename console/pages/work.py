"""What is to be done and what is under way: errors by cause, and jobs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.api.answers import desk_of, stores_of
from console.api.messages import groups
from console.pages.render import page
from console.problems import Refused
from console.rights import Operator, Viewer
from engine.store import jobs

router = APIRouter()


@router.get("/errors")
def errors(request: Request, identity: Viewer) -> Response:
    """Open errors, grouped by their cause."""
    return page(request, "errors.html", groups=groups(request, identity))


@router.get("/jobs")
def list_jobs(request: Request, identity: Viewer) -> Response:
    """The newest jobs."""
    with stores_of(request).reading() as tx:
        found = jobs.newest(tx)
    return page(request, "jobs.html", jobs=found)


@router.get("/jobs/{job_id}")
def show_job(request: Request, identity: Viewer, job_id: int) -> Response:
    """One job; asked again by the page until it is over."""
    with stores_of(request).reading() as tx:
        found = jobs.get(tx, job_id) if 0 < job_id < 2**53 else None
    if found is None:
        raise Refused(404, "job.unknown", f"there is no job {job_id}")
    name = "_job.html" if request.headers.get("hx-request") else "job.html"
    return page(request, name, job=found)


@router.post("/jobs/{job_id}/{act}")
def move(request: Request, identity: Operator, job_id: int, act: str) -> Response:
    """Pause, resume or cancel."""
    desk_of(request).move(job_id, act)
    return RedirectResponse(f"/jobs/{job_id}", 303)
