"""What is to be done and what is under way: errors by cause, and jobs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console.again import again
from console.api.answers import desk_of
from console.api.messages import groups
from console.pages.render import page
from console.problems import Refused
from console.rights import Operator, Viewer, moves

router = APIRouter()


@router.get("/errors")
def errors(request: Request, identity: Viewer) -> Response:
    """Open errors, grouped by their cause."""
    return page(request, "errors.html", groups=groups(request, identity))


@router.post("/errors/again")
async def try_again(request: Request, identity: Operator) -> Response:
    """Whether the messages of one kind would now pass; a part of the page that asks, or a page of its own."""
    form = await request.form()
    named = [str(form.get(name) or "")[:200] for name in ("channel", "cause", "destination")]
    found, wrong = None, ""
    try:
        found = await run_in_threadpool(again, desk_of(request), request.app.state.config, *named)
    except Refused as error:
        wrong = str(error)
    name = "_again.html" if request.headers.get("hx-request") else "again.html"
    return page(request, name, found=found, wrong=wrong)


@router.get("/jobs")
def list_jobs(request: Request, identity: Viewer) -> Response:
    """The newest jobs."""
    return page(request, "jobs.html", jobs=desk_of(request).newest_jobs())


@router.get("/jobs/{job_id}")
def show_job(request: Request, identity: Viewer, job_id: int) -> Response:
    """One job; asked again by the page until it is over."""
    found = desk_of(request).job(job_id)
    name = "_job.html" if request.headers.get("hx-request") else "job.html"
    return page(request, name, job=found, movable=moves(identity, found))


@router.post("/jobs/{job_id}/{act}")
def move(request: Request, identity: Operator, job_id: int, act: str) -> Response:
    """Pause, resume or cancel."""
    desk_of(request).move(job_id, act)
    return RedirectResponse(f"/jobs/{job_id}", 303)
