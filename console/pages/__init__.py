"""The pages: rendered on the server, live with htmx and server-sent events, plainer without JavaScript."""

from __future__ import annotations

from fastapi import FastAPI

from console.pages import account, dashboard, messages, people, work
from console.pages.render import error_page


def include(app: FastAPI) -> None:
    """Add all pages; they are not part of the OpenAPI."""
    for module in (account, dashboard, messages, work, people):
        app.include_router(module.router, include_in_schema=False)


__all__ = ["error_page", "include"]
