"""The pages: rendered on the server, live with htmx and server-sent events, plainer without JavaScript."""

from __future__ import annotations

from fastapi import FastAPI

from console.pages import (
    account,
    configuration,
    dashboard,
    editing,
    exporting,
    messages,
    oidc,
    patients,
    people,
    tables,
    tokens,
    work,
)
from console.pages.render import error_page

PAGES = tuple(
    module.router
    for module in (
        account,
        tokens,
        oidc,
        dashboard,
        messages,
        editing,
        exporting,
        patients,
        work,
        configuration,
        tables,
        people,
    )
)


def include(app: FastAPI) -> None:
    """Add all pages; they are not part of the OpenAPI."""
    for router in PAGES:
        app.include_router(router, include_in_schema=False)


__all__ = ["PAGES", "error_page", "include"]
