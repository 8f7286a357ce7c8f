"""Export: messages as one file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from console import exporting, queries
from console.api.answers import desk_of
from console.rights import Operator
from engine.store.exporting import Form

router = APIRouter(tags=["messages"])
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            kind.partition(";")[0]: {"schema": {"type": "array" if name == "json" else "string"}}
            for name, kind in exporting.TYPES.items()
        }
    }
}


@router.post(
    "/messages/export",
    summary="The messages that fit, the oldest first, as one file; audited",
    responses=FILES,
)
def export(
    request: Request,
    identity: Operator,
    query: queries.Query,
    format: Annotated[
        Form, Query(description="Byte for byte, everything as JSON, or a table without content.")
    ],
    reveal: Annotated[bool, Query(description="With patient data; needs the right to see it.")] = False,
) -> Response:
    """Streamed. Without `reveal` values of messages are masked."""
    pieces = exporting.stream(desk_of(request), query, format, reveal)
    return download(pieces, format)


def download(pieces: object, form: Form) -> Response:
    """A file that a browser saves."""
    name = f"messages.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=exporting.TYPES[form], headers=headers)  # type: ignore[arg-type]
