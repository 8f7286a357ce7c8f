"""Channels: how they do; start, stop, pause and resume."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from console.api.answers import answer, desk_of, stores_of
from console.api.openapi import gives
from console.overview import Overview
from console.rights import Operator, Viewer, on_channel, sees
from console.watching import Watch
from engine.security.roles import Identity, Role
from engine.store import commands, jobs, search

router = APIRouter(tags=["channels"])


class Status(msgspec.Struct):
    """What the engine told last, and counts by channel: of all times, and of what waits now."""

    running: bool
    engine: dict[str, Any] | None
    totals: dict[str, dict[str, int]]
    now: dict[str, dict[str, int]]
    jobs: list[jobs.Job]


Name = Annotated[str, Path(max_length=200)]


def overview_for(request: Request, identity: Identity, tag: str = "", oldest: float = 0.0) -> Overview:
    """The overview, as far as they may see it; of channels with a tag; at most `oldest` seconds old."""
    watch: Watch = request.app.state.watch
    return watch.seen_by(identity, tag, oldest)


@router.get(
    "/channels",
    summary="Every channel with its state, counts, rates and destinations",
    responses=gives(Overview),
)
def channels(
    request: Request,
    identity: Viewer,
    tag: Annotated[str, Query(max_length=100, description="Only those with this tag.")] = "",
) -> Response:
    """What the dashboard shows."""
    return answer(overview_for(request, identity, tag))


@router.post(
    "/channels/{name}/{act}",
    summary="Start, stop, pause or resume a channel",
    responses=gives(dict[str, Any]),
)
async def act(
    request: Request,
    identity: Operator,
    name: Name,
    act: Literal["start", "stop", "pause", "resume"],
) -> Response:
    """Waits for the engine's answer."""
    on_channel(identity, Role.OPERATOR, name)
    return answer(await run_in_threadpool(desk_of(request).channel, name, act))


@router.get(
    "/status",
    summary="What the engine and its channels are doing, as `isthmus status --json` tells",
    responses=gives(Status),
)
def status(request: Request, identity: Viewer) -> Response:
    """Of the channels that they may see."""
    with stores_of(request).reading() as tx:
        engine, now = commands.engine_status(tx), tx.now()
        running = commands.beating(engine, now)
        totals, waiting, unfinished = search.counts(tx), search.backlog(tx), jobs.unfinished(tx)
    unfinished = [job for job in unfinished if sees(identity, job)]

    def mine(found: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in found.items() if identity.may(Role.VIEWER, name)}

    if engine is not None and not identity.may(Role.VIEWER):
        told = engine["status"]
        told |= {name: mine(told[name]) for name in ("channels", "totals_at_start") if name in told}
        if told.get("config_problem"):  # it may name any channel
            told["config_problem"] |= {"why": "see with who may see all channels"}
    return answer(Status(running, engine, mine(totals), mine(waiting), unfinished))
