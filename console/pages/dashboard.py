"""The dashboard: every channel at a glance, live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console.api.answers import desk_of, stores_of
from console.api.channels import overview_for
from console.pages.render import fragment, page
from console.rights import Operator, Viewer, on_channel
from engine.errors import IsthmusError
from engine.security.roles import Role
from engine.store import users

router = APIRouter()
EVERY = 2.0  # seconds between looks for who watches


@router.get("/")
def dashboard(request: Request, identity: Viewer, tag: str = "") -> Response:
    """All channels, or those with a tag."""
    return page(request, "dashboard.html", overview=overview_for(request, identity, tag))


@router.get("/live")
async def live(request: Request, identity: Viewer, tag: str = "") -> Response:
    """The dashboard's table again whenever it changes; ends with the session."""

    def look() -> str | None:
        cookie = request.state.cookie
        with stores_of(request).reading() as tx:
            if cookie and users.session(tx, cookie) is None:
                return None
        return fragment(request, "_channels.html", overview=overview_for(request, identity, tag))

    async def events() -> AsyncIterator[ServerSentEvent]:
        last = ""
        while not await request.is_disconnected():
            try:
                now = await run_in_threadpool(look)
            except IsthmusError:
                now = last
            if now is None:
                return
            if now != last:
                yield ServerSentEvent(event="channels", data=now)
                last = now
            await asyncio.sleep(EVERY)

    return EventSourceResponse(events())


@router.post("/channels/{name}/{act}")
async def act(request: Request, identity: Operator, name: str, act: str) -> Response:
    """Start, stop, pause or resume; then the dashboard again."""
    on_channel(identity, Role.OPERATOR, name)
    await run_in_threadpool(desk_of(request).channel, name, act)
    if request.headers.get("hx-request"):
        overview = await run_in_threadpool(overview_for, request, identity)
        return page(request, "_channels.html", overview=overview)
    return RedirectResponse("/", 303)
