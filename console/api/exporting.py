"""Export: messages as one file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from console import exporting, queries
from console.api.answers import desk_of
from console.rights import Operator
from engine.store.exporting import Form

router = APIRouter(tags=["messages"])
LINES = "application/x-ndjson"
FILES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            kind.partition(";")[0]: {"schema": {"type": "array" if name == "json" else "string"}}
            for name, kind in {**exporting.TYPES, "lines": LINES}.items()
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
    limit: Annotated[
        int | None, Query(ge=1, lt=queries.LARGEST_ID, description="The oldest so many.")
    ] = None,
    dismissed: Annotated[
        bool, Query(description="Also errors that somebody has dealt with; `ids` choose them in any case.")
    ] = True,
    accept: Annotated[str, Header(max_length=200)] = "",
) -> Response:
    """Streamed. Without `reveal` values of messages are masked. With `Accept: application/x-ndjson` a line for each
    message, `{"kind": "message", "id", "content"}` (base64), and at the end `{"kind": "end", "chosen"}`."""
    lines = "ndjson" in accept
    pieces = exporting.stream(
        desk_of(request), query, format, reveal, limit=limit, dismissed=dismissed, lines=lines
    )
    return StreamingResponse(pieces, media_type=LINES) if lines else download(pieces, format)


def download(pieces: object, form: Form) -> Response:
    """A file that a browser saves."""
    name = f"messages.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(pieces, media_type=exporting.TYPES[form], headers=headers)  # type: ignore[arg-type]
