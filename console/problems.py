"""Errors over HTTP: problem+json (RFC 9457) for programs, a page for people.

Guarantees: a stable `type`, the error's own words and what to do; never a traceback, never patient data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse

from engine.errors import IsthmusError, StoreError, UserError

STATUS = {
    "user.unknown": 404,
    "column.unknown": 422,
    "column.blind": 422,
    "user.taken": 409,
    "user.last_admin": 409,
    "job.unknown": 404,
    "channel.unknown": 404,
    "engine.absent": 503,
    "command.waiting": 504,
    "command.failed": 409,
}


class Refused(UserError):
    """An error that knows its HTTP status."""

    def __init__(
        self, status: int, code: str, what: str, todo: str = "", problems: Sequence[dict[str, Any]] = ()
    ) -> None:
        super().__init__(what, code=code, todo=todo)
        self.status = status
        self.problems = list(problems)
        """Of a configuration: each with its file, line and column."""


def problem(
    status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An answer of type application/problem+json."""
    body = {"type": f"urn:isthmus:{code}", "title": code, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def status_of(error: IsthmusError) -> int:
    """The HTTP status of one of our errors."""
    if isinstance(error, Refused):
        return error.status
    if error.code in STATUS:
        return STATUS[error.code]
    return 503 if isinstance(error, StoreError) else 422
