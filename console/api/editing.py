"""Edit and replay, and the comparison of two messages."""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from console.acting import Desk
from console.api.answers import answer, desk_of, stores_of
from console.api.messages import MessageId
from console.api.openapi import gives
from console.compare import Comparison, compare
from console.editing import Edit
from console.preview import Foreseen
from console.problems import Refused
from console.queries import LARGEST_ID
from console.rights import Editor, Revealer, Viewer
from engine.security.roles import Identity, Role
from engine.store.messages import raw

router = APIRouter(tags=["messages"])
Other = Annotated[int, Query(ge=1, lt=LARGEST_ID, description="The newer message.")]


class Copy(msgspec.Struct):
    """The new message, and the one that it is an edited copy of."""

    id: int
    parent_id: int


class Consequences(msgspec.Struct):
    """What was changed, what was delivered since, and what the copy would do."""

    difference: Comparison
    stale: list[dict[str, Any]]
    effects: list[Foreseen]


class Edited(BaseModel):
    """A message as it should have been."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(default="", max_length=3_000_000, description="The whole message; a line each segment.")
    content: str = Field(
        default="",
        max_length=4_000_000,
        pattern=r"^[A-Za-z0-9+/]*={0,2}$",
        description="Instead of `text`: the whole message, byte for byte, in base64.",
    )
    note: str = Field(default="", max_length=500, description="Why; kept with it; no patient data.")
    force: StrictBool = Field(default=False, description="Put older data over newer, too.")

    def of(self, desk: Desk, message_id: int) -> Edit:
        """The edit of a message. Refused unless it is either a text or bytes."""
        try:
            content = b64decode(self.content, validate=True)
        except ValueError:
            raise Refused(422, "edit.form", "content is not base64") from None
        if bool(self.text) is bool(content):
            raise Refused(422, "edit.form", "an edit is either its text or its content")
        return Edit(desk, message_id, self.text, content)


@router.post(
    "/messages/{message_id:int}/edit",
    summary="Replay an edited copy of a message",
    status_code=201,
    responses=gives(Copy, 201),
)
async def edit(request: Request, identity: Editor, message_id: MessageId, wanted: Edited) -> Response:
    """A new message whose parent is this one. Refused (409 `stale`, `errors` are what is newer) where newer data was
    delivered, unless `force`."""

    def work() -> int:
        return wanted.of(desk_of(request), message_id).replay(wanted.note, wanted.force)

    made = await run_in_threadpool(work)
    return answer(Copy(made, message_id), 201, {"Location": f"/api/v1/messages/{made}"})


@router.post(
    "/messages/{message_id:int}/edit/preview",
    summary="What an edited copy of a message would do",
    responses=gives(Consequences),
)
def preview_edit(request: Request, identity: Editor, message_id: MessageId, wanted: Edited) -> Response:
    """The fields that were changed, what is newer, and old and new of every field in the destinations; audited."""
    desk = desk_of(request)
    found = wanted.of(desk, message_id)
    older = [one._asdict() for one in found.stale()]
    told = Consequences(found.difference, older, found.effects(request.app.state.config))
    desk.saw(str(message_id), "preview of edit")
    return answer(told)


@router.get(
    "/messages/{message_id:int}/compare",
    summary="Which fields of two messages differ",
    responses=gives(Comparison),
)
def compare_masked(request: Request, identity: Viewer, message_id: MessageId, other: Other) -> Response:
    """Segments in line with each other, fields by their names, without values."""
    return answer(compared(request, identity, message_id, other, False))


@router.post(
    "/messages/{message_id:int}/compare",
    summary="Two messages side by side, with values; audited",
    responses=gives(Comparison),
)
def compare_revealed(request: Request, identity: Revealer, message_id: MessageId, other: Other) -> Response:
    """The same, unmasked."""
    return answer(compared(request, identity, message_id, other, True))


def compared(request: Request, identity: Identity, old: int, new: int, reveal: bool) -> Comparison:
    """From one message to another; Refused where one is not there for them."""
    contents = []
    with stores_of(request).reading() as tx:
        for number in (old, new):
            rows = tx.rows("SELECT channel FROM message WHERE id = ?", (number,))
            if not rows or not identity.may(Role.VIEWER, rows[0][0]):
                raise Refused(404, "message.unknown", f"there is no message {number}")
            content = raw(tx, number)
            if content is None:
                raise Refused(409, "message.gone", f"the content of message {number} is not kept any more")
            contents.append(content)
    if reveal:
        desk_of(request).saw(f"{old},{new}", "comparison")
    return compare(contents[0], contents[1], reveal)
