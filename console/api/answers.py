"""Answers of the API: structs as JSON, and who a request is for."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console.acting import Desk
from console.rights import identity_of
from console.stores import Stores


def answer(
    value: Any, status: int = 200, headers: dict[str, str] | None = None, kind: str = "application/json"
) -> Response:
    """A struct, or plain data, as JSON."""
    return Response(msgspec.json.encode(value), status, headers, kind)


def stores_of(request: Request) -> Stores:
    """The store of the application."""
    stores: Stores = request.app.state.stores
    return stores


def desk_of(request: Request) -> Desk:
    """Where this request's acts are done."""
    return Desk(stores_of(request), identity_of(request), request.state.address)
