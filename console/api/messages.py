"""Messages: search, one with its timeline, what it holds, acts on many, errors by cause, jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from console import message_view, queries
from console.again import Again, again
from console.api.answers import answer, desk_of, stores_of
from console.api.openapi import gives
from console.preview import Preview
from console.problems import Refused
from console.rights import Operator, Revealer, Viewer
from console.tracing import trace
from engine.security.roles import Identity, Role
from engine.store import causes, jobs
from engine.store import search as searching
from engine.store.exporting import as_text
from engine.store.search import show as show_all

router = APIRouter(tags=["messages"])
MessageId = Annotated[int, Path(ge=1, lt=queries.LARGEST_ID)]
Segment = Annotated[
    int,
    Query(ge=1, lt=2**31, description="The tree of HL7 begins with this segment: `next` of the view before."),
]
JobId = Annotated[int, Path(ge=1, lt=2**53)]
OBJECT = {"schema": {"type": "object"}}
RECORD: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": OBJECT, "application/msgpack": OBJECT}}
}


class Found(msgspec.Struct):
    """Messages, the newest first; `next`: continue below this id. By text, `looked_at` messages were looked into, the
    last of them received at `back_to`: with a `next` there are more, even where none was found."""

    messages: list[searching.Row]
    next: int | None
    looked_at: int | None = None
    back_to: int | None = None


class Weight(msgspec.Struct):
    """What stands against an act: `stale` are messages that newer data was delivered after."""

    messages: int
    without_content: list[int]
    stale: list[dict[str, Any]]


class Made(msgspec.Struct):
    """A job, and the messages that it leaves out as their content is not kept any more."""

    job: jobs.Job
    without_content: list[int]


@router.post("/messages/search", summary="The newest messages that fit", responses=gives(Found))
def search(
    request: Request,
    identity: Viewer,
    query: queries.Query,
    after: queries.After = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Filters are in the body, so that no identifier of a patient stands in an address."""
    found = queries.found(stores_of(request), identity, query, after=after, limit=limit)
    if any(getattr(query, field) for field in queries.PRIVATE):
        desk_of(request).audited("messages.search", "", lambda tx: None, "by patient data")
    looked_at = found.looked_at if query.text else None
    return answer(Found(found.rows, found.next, looked_at, found.back_to))


def seen(
    request: Request, identity: Identity, message_id: int, reveal: bool, segment: int = 1
) -> message_view.MessageView:
    """One message, or Refused 404, also where they may not see its channel."""
    with stores_of(request).reading() as tx:
        found = message_view.view(tx, message_id, reveal, partial(identity.may, Role.VIEWER), segment)
    if found is None or not identity.may(Role.VIEWER, found.channel):
        raise Refused(404, "message.unknown", f"there is no message {message_id}")
    return found


@router.get(
    "/messages/{message_id:int}",
    summary="One message, its values masked",
    responses=gives(message_view.MessageView),
)
def show(request: Request, identity: Viewer, message_id: MessageId, segment: Segment = 1) -> Response:
    """States with their times, deliveries, the form of what was received and sent."""
    return answer(seen(request, identity, message_id, False, segment))


@router.post(
    "/messages/{message_id:int}/reveal",
    summary="One message with what it holds; audited",
    responses=gives(message_view.MessageView),
)
def reveal(request: Request, identity: Revealer, message_id: MessageId, segment: Segment = 1) -> Response:
    """The same, unmasked. Who saw it is kept before it is shown."""
    found = seen(request, identity, message_id, True, segment)
    desk_of(request).saw(str(message_id))
    return answer(found)


@router.post(
    "/messages/{message_id:int}/record",
    summary="Everything that the store has of a message; audited",
    responses=RECORD,
)
def record(
    request: Request,
    identity: Revealer,
    message_id: MessageId,
    accept: Annotated[str, Header(max_length=200)] = "",
) -> Response:
    """As `isthmus messages show --json`; with `Accept: application/msgpack` as MessagePack, bytes as they are."""
    with stores_of(request).reading() as tx:
        found = show_all(tx, message_id)
    if found is None or not identity.may(Role.VIEWER, str(found["channel"])):
        raise Refused(404, "message.unknown", f"there is no message {message_id}")
    desk_of(request).saw(str(message_id))
    if "msgpack" in accept:
        return Response(msgspec.msgpack.encode(found), media_type="application/msgpack")
    return Response(as_text(found), media_type="application/json")


@router.post(
    "/messages/acts",
    summary="Replay, resend or discard the messages that fit, as a job",
    status_code=202,
    responses=gives(Made, 202),
)
def act(request: Request, identity: Operator, act: queries.Act) -> Response:
    """Refused (409 `stale`) where older data would be put over newer, unless `force`."""
    job, gone = desk_of(request).act(act)
    return answer(Made(job, gone), 202, {"Location": f"/api/v1/jobs/{job.id}"})


@router.post("/messages/acts/weigh", summary="How many an act would be about", responses=gives(Weight))
def weigh(request: Request, identity: Operator, act: queries.Act) -> Response:
    """Which have no content any more, and which are older than what was delivered since; nothing is done."""
    kept, gone, older = desk_of(request).weigh(act)
    return answer(Weight(len(kept), gone, [one._asdict() for one in older]))


@router.post(
    "/messages/acts/preview",
    summary="What an act would change in the destinations, record by record",
    responses=gives(Preview),
)
def preview(
    request: Request,
    identity: Operator,
    act: queries.Act,
    reveal: Annotated[bool, Query(description="With keys and values; audited.")] = False,
) -> Response:
    """Old and new of every field; nothing is done."""
    return answer(desk_of(request).preview(act, request.app.state.config, reveal))


@router.get("/errors", summary="Open errors grouped by their cause", responses=gives(list[causes.ErrorGroup]))
def errors(
    request: Request,
    identity: Viewer,
    channel: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """How many, where, since when, and what to do."""
    return answer(groups(request, identity, channel))


def groups(request: Request, identity: Identity, channel: str | None = None) -> list[causes.ErrorGroup]:
    """Error groups of the channels that they may see."""
    with stores_of(request).reading() as tx:
        found = causes.error_groups(tx, channel)
    return [group for group in found if identity.may(Role.VIEWER, group.channel)]


class Kind(BaseModel):
    """One group of open errors."""

    model_config = ConfigDict(extra="forbid")

    channel: str = Field(max_length=200, description="As the group tells it.")
    cause: str = Field(min_length=1, max_length=64, description="As the group tells it.")
    destination: str = Field(default="", max_length=200, description="As the group tells it.")


@router.post(
    "/errors/again", summary="How many messages of one kind of error would now pass", responses=gives(Again)
)
def try_again(request: Request, identity: Operator, kind: Kind) -> Response:
    """They run through today's channel, a sample where they are many; nothing is stored or sent."""
    config = request.app.state.config
    return answer(again(desk_of(request), config, kind.channel, kind.cause, kind.destination))


@router.get(
    "/messages/{message_id:int}/trace",
    summary="What today's channel makes of a message, without values",
    responses=gives(dict[str, Any]),
)
def trace_masked(request: Request, identity: Viewer, message_id: MessageId) -> Response:
    """Steps, canonical events, and from which field, template line and table each value is; nothing is sent."""
    return answer(traced(request, identity, message_id, False))


@router.post(
    "/messages/{message_id:int}/trace",
    summary="The same with values; audited",
    responses=gives(dict[str, Any]),
)
def trace_revealed(request: Request, identity: Revealer, message_id: MessageId) -> Response:
    """Who saw it is kept before it is shown."""
    return answer(traced(request, identity, message_id, True))


def traced(request: Request, identity: Identity, message_id: int, reveal: bool) -> dict[str, Any]:
    """The trace of one message; audited when it is revealed."""
    found = trace(stores_of(request), request.app.state.workbench, identity, message_id, reveal)
    if reveal:
        desk_of(request).saw(str(message_id), "trace")
    return found


@router.get("/jobs", summary="Jobs, the newest first", responses=gives(list[jobs.Job]))
def list_jobs(
    request: Request,
    identity: Viewer,
    after: queries.After = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Acts on many messages and their progress, as far as they are about channels that they may see."""
    return answer(desk_of(request).newest_jobs(limit, after))


@router.get("/jobs/{job_id:int}", summary="One job", responses=gives(jobs.Job))
def show_job(request: Request, identity: Viewer, job_id: JobId) -> Response:
    """As it stands now."""
    return answer(desk_of(request).job(job_id))


@router.post("/jobs/{job_id:int}/{act}", summary="Pause, resume or cancel a job", responses=gives(jobs.Job))
def move_job(
    request: Request,
    identity: Operator,
    job_id: JobId,
    act: Literal["pause", "resume", "cancel"],
) -> Response:
    """From its next step on."""
    return answer(desk_of(request).move(job_id, act))
