"""The console's application: the composition root of pages and API.

Guarantees: everything goes through the gate (console.guard); every error of ours is answered in its own words,
anything else as 500 without a word of what it was about.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from console import health, pages
from console.api import account, channels, configuration, editing, exporting, messages, patients, people
from console.api.openapi import describe
from console.exporting import Exports
from console.guard import Guard
from console.oidc import Provider, SignOn
from console.overview import EVERY
from console.problems import problem, status_of
from console.repeated import Repeated
from console.stores import Stores
from console.throttle import Throttle
from console.watching import Watch
from console.workbench import Workbench
from engine.errors import IsthmusError

log = structlog.get_logger()
API = (
    account.router,
    channels.router,
    messages.router,
    configuration.router,
    editing.router,
    exporting.router,
    patients.router,
    people.router,
)
PREFIX = "/api/v1"
STATIC = Path(__file__).parent / "static"


def make_app(data_dir: Path, config: Path, providers: Mapping[str, Provider] | None = None) -> FastAPI:
    """The application on one data folder; `config` is the channel file that it shows and edits."""
    stores = Stores(data_dir)
    app = FastAPI(
        title="Isthmus", version="1", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json",
        lifespan=_lifespan,
    )  # fmt: skip
    app.state.stores, app.state.watch, app.state.config = stores, Watch(stores), config
    app.state.throttle, app.state.exports = Throttle(), Exports()
    app.state.workbench, app.state.sign_on = Workbench(config, data_dir), SignOn(providers or {})
    for router in API:
        app.include_router(router, prefix=PREFIX)
    app.include_router(health.router)
    pages.include(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Repeated, stores=stores)
    app.add_middleware(Guard, stores=stores, failed=_unexpected)
    app.add_exception_handler(IsthmusError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    sampling = asyncio.create_task(_sample(app))
    yield
    sampling.cancel()
    app.state.workbench.close()
    await run_in_threadpool(app.state.stores.close)


async def _sample(app: FastAPI) -> None:
    """Rates need samples also while nobody looks."""

    def look() -> None:
        app.state.watch.look(EVERY / 2)
        app.state.workbench.tidy()

    while True:
        try:
            await run_in_threadpool(look)
        except IsthmusError as error:
            log.debug("console.waiting", code=error.code)
        await asyncio.sleep(EVERY)


def _wants_page(request: Request) -> bool:
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


async def _told(request: Request, error: Any) -> Response:
    status = status_of(error)
    if _wants_page(request):
        return pages.error_page(request, status, error.what, error.todo, error.code)
    more = {"errors": error.problems} if getattr(error, "problems", None) else {}
    return problem(status, error.code, error.what, todo=error.todo, **more)


async def _invalid(request: Request, error: Any) -> Response:
    """What was wrong and where; never the value itself, which may be patient data."""
    found = [
        {"where": ".".join(map(str, item["loc"])), "what": item["msg"].removeprefix("Value error, ")}
        for item in error.errors()
    ]
    if _wants_page(request):
        return pages.error_page(request, 422, found[0]["what"], found[0]["where"], "invalid")
    return problem(422, "invalid", "the request does not fit", errors=found)


def _allowed(path: str) -> str:
    """The methods of every endpoint with this path: each route knows its own alone (RFC 9110, 15.5.6)."""
    routes = (route for router in API for route in router.routes if isinstance(route, APIRoute))
    inside = path.removeprefix(PREFIX)
    return ", ".join(
        sorted({one for route in routes if route.path_regex.match(inside) for one in route.methods or ()})
    )


async def _http(request: Request, error: Any) -> Response:
    if _wants_page(request):
        return pages.error_page(request, error.status_code, str(error.detail), "", "http")
    headers = error.headers
    if error.status_code == 405 and request.url.path.startswith(PREFIX):
        headers = {"Allow": _allowed(request.url.path)}
    return problem(error.status_code, "http", str(error.detail), headers=headers)


def _unexpected(request: Request, error: Exception) -> Response:
    # Where it happened, and not what it says: that may be patient data.
    places = [f"{one.filename}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)[-5:]]
    log.error("console.failed", path=request.url.path, error=type(error).__name__, at=places)
    if _wants_page(request):
        return pages.error_page(
            request, 500, "something went wrong here", "the log of the console tells", "internal"
        )
    return problem(500, "internal", "something went wrong here; the log of the console tells")
