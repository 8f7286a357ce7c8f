"""/health and /ready, for load balancers and monitors: open to everybody, and without a word about channels.

`/health`: this console answers (200), and what it knows. `/ready`: the store can be read and an engine is at work that
stores what comes: 200, else 503 with the checks that fail. `/ready?engine=no` asks about the console alone.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from console.api.answers import answer, stores_of
from console.api.openapi import gives
from engine.errors import IsthmusError
from engine.store import commands

router = APIRouter(tags=["health"])


class Health(msgspec.Struct):
    """`status`: ok, degraded or unavailable; each check says `ok` or what is wrong."""

    status: str
    checks: dict[str, str]


def checks(request: Request) -> dict[str, str]:
    """Each thing that is looked at: `ok`, or what is wrong with it."""
    found = {
        "console": "ok",
        "store": "ok",
        "engine": "ok",
        "disk": "ok",
        "channels": "ok",
        "configuration": "ok",
    }
    try:
        with stores_of(request).reading() as tx:
            told, now = commands.engine_status(tx), tx.now()
    except IsthmusError as error:
        return found | {"store": error.code, "engine": "unknown", "disk": "unknown", "channels": "unknown"}
    if told is None or not commands.beating(told, now):
        return found | {
            "engine": "absent",
            "disk": "unknown",
            "channels": "unknown",
            "configuration": "unknown",
        }
    status: dict[str, Any] = told["status"]
    store = status.get("store", {})
    failed = sum(channel.get("state") == "failed" for channel in status.get("channels", {}).values())
    if store.get("state", "open") != "open":
        found["store"] = str(store["state"])
    if (store.get("disk") or {}).get("state", "ok") != "ok":
        found["disk"] = str(store["disk"]["state"])
    if failed:
        found["channels"] = f"{failed} failed"
    if status.get("config_problem"):
        found["configuration"] = "not taken"
    return found


NEEDED = ("store", "engine", "disk")
"""What must be well to be ready: a failed channel or an edit that is not taken leaves the others at work."""


@router.get("/health", summary="Whether this console answers", responses=gives(Health))
def health(request: Request) -> Response:
    """Always 200; the checks say how everything does."""
    found = checks(request)
    well = all(value == "ok" for value in found.values())
    return answer(Health("ok" if well else "degraded", found))


@router.get(
    "/ready",
    summary="Whether messages are taken and stored",
    responses=gives(Health) | gives(Health, 503, "Not ready."),
)
def ready(request: Request, engine: Literal["yes", "no"] = "yes") -> Response:
    """200, or 503 with what is wrong."""
    found = checks(request)
    needed = NEEDED if engine == "yes" else ("store",)
    well = all(found[name] == "ok" for name in needed)
    return answer(Health("ok" if well else "unavailable", found), 200 if well else 503)
