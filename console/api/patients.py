"""View by patient."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from console import patients
from console.api.answers import answer, desk_of
from console.api.messages import MessageId
from console.api.openapi import gives
from console.queries import After
from console.rights import Viewer

router = APIRouter(tags=["patients"])
Reference = Annotated[str, Path(max_length=200)]
Limit = Annotated[int, Query(ge=1, le=500)]


class Wanted(BaseModel):
    """Whom to look for."""

    model_config = ConfigDict(extra="forbid")

    mrn: str = Field(min_length=1, max_length=200, description="The number (PID-3.1), exactly.")


@router.post(
    "/patients",
    summary="Everything about one patient: messages of all channels, records in Odoo",
    responses=gives(patients.PatientView),
)
def find(request: Request, identity: Viewer, wanted: Wanted, limit: Limit = 50) -> Response:
    """The newest messages; `reference` names the patient in the address of the next page. Audited."""
    desk = desk_of(request)
    return answer(patients.look(desk, patients.of_number(desk, wanted.mrn), limit=limit))


@router.post(
    "/messages/{message_id:int}/patient",
    summary="Everything about the patient of a message",
    responses=gives(patients.PatientView),
)
def of_message(request: Request, identity: Viewer, message_id: MessageId, limit: Limit = 50) -> Response:
    """Messages of all channels, records in Odoo. Audited."""
    desk = desk_of(request)
    return answer(patients.look(desk, patients.of_message(desk, message_id), limit=limit))


@router.get(
    "/patients/{reference}",
    summary="The same, by a reference that was given before",
    responses=gives(patients.PatientView),
)
def show(
    request: Request, identity: Viewer, reference: Reference, after: After = None, limit: Limit = 50
) -> Response:
    """A reference says nothing about the patient and is good for twelve hours. Audited."""
    return answer(patients.look(desk_of(request), reference, after, limit))
