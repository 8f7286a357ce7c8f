"""The dashboard: every channel at a glance, live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console import language
from console.api.answers import desk_of, stores_of
from console.api.channels import overview_for
from console.guard import known
from console.pages.render import fragment, page
from console.rights import Analyst, Operator, Viewer, on_channel
from console.watching import Watch
from engine.errors import IsthmusError
from engine.security.roles import Identity, Role

router = APIRouter()
EVERY = 2.0  # seconds between looks for who watches: all look at the same time, so that one look is enough


@router.get("/")
def dashboard(request: Request, identity: Viewer, tag: str = "") -> Response:
    """All channels, or those with a tag."""
    return page(request, "dashboard.html", **_shown(request, identity, tag))


@router.get("/live")
async def live(request: Request, identity: Viewer, tag: str = "") -> Response:
    """The dashboard's table again whenever it changes; ends with the session or the token, and follows its rights."""
    watch: Watch = request.app.state.watch

    def look() -> str | None:
        with (
            watch.turn,
            stores_of(request).reading() as tx,
        ):  # in turn: twenty at once would open twenty readers
            found = known(tx, request.headers)
        if found is None:
            return None
        now = found[0]  # with the rights of now
        exports = [(one.id, one.done) for one in request.app.state.exports.running(now.name)]
        key = now.grants, tag, language.wanted(request), tuple(exports)
        return watch.made(
            key,
            EVERY / 2,
            lambda: fragment(request, "_channels.html", **_shown(request, now, tag, EVERY / 2)),
        )

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
            await asyncio.sleep(EVERY - time.monotonic() % EVERY)

    return EventSourceResponse(events())


@router.post("/reload")
async def reload(request: Request, identity: Analyst, name: str = "") -> Response:
    """Take up the configuration as its files are; with a name, make that channel anew."""
    found = await run_in_threadpool(desk_of(request).reload, name)
    template = "_reloaded.html" if request.headers.get("hx-request") else "reloaded.html"
    return page(request, template, found=found)


@router.post("/channels/{name}/{act}")
async def act(request: Request, identity: Operator, name: str, act: str, tag: str = "") -> Response:
    """Start, stop, pause or resume; then the dashboard again."""
    on_channel(identity, Role.OPERATOR, name)
    await run_in_threadpool(desk_of(request).channel, name, act)
    if request.headers.get("hx-request"):
        return await run_in_threadpool(
            lambda: page(request, "_channels.html", **_shown(request, identity, tag))
        )
    return RedirectResponse(f"/?{urlencode({'tag': tag})}" if tag else "/", 303)


def _shown(request: Request, identity: Identity, tag: str = "", oldest: float = 0.0) -> dict[str, Any]:
    return {
        "overview": overview_for(request, identity, tag, oldest),
        "exports": request.app.state.exports.running(identity.name),
    }
