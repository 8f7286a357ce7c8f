"""The message browser: search, the list, one message, and acts on what was found."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console import language, queries
from console.api.answers import desk_of, stores_of
from console.api.messages import Segment, seen, traced
from console.pages.render import page
from console.problems import Refused
from console.queries import PRIVATE
from console.rights import Operator, Revealer, Viewer
from engine.security.roles import Identity, Role
from engine.states import DeliveryState, MessageState
from engine.store import columns, saved, search

router = APIRouter()
PAGE = 50
COLUMN = "column."  # fields of searchable columns begin so
FIELDS = (
    "channel",
    "state",
    "delivery",
    "destination",
    "type",
    "control_id",
    "since",
    "until",
    "zone",
    "code",
    "cause",
)


def query_of(values: Any) -> queries.Query:
    """A query of a form's or an address's fields; Refused when one cannot be read."""
    given: dict[str, Any] = {
        name: values.get(name) for name in (*FIELDS, "mrn", "visit", "text") if values.get(name)
    }
    columns = {
        name.removeprefix(COLUMN): str(value)
        for name, value in values.items()
        if name.startswith(COLUMN) and value
    }
    if columns:
        given["columns"] = columns
    if values.get("ids"):
        given["ids"] = [part for part in str(values["ids"]).replace(",", " ").split() if part]
    try:
        return queries.Query.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(422, "query", f"{first['loc'][0]}: {first['msg']}") from None


def fields_of(query: queries.Query) -> dict[str, Any]:
    """A query as the fields of a form."""
    found = query.model_dump(exclude_none=True, mode="json")
    found |= {f"{COLUMN}{name}": value for name, value in (found.pop("columns", None) or {}).items()}
    return found


def _list(
    request: Request, identity: Identity, query: queries.Query, after: int | None, name: str = "messages.html"
) -> Response:
    found = queries.found(stores_of(request), identity, query, after=after, limit=PAGE)
    with stores_of(request).reading() as tx:
        names = sorted(set(search.counts(tx)) | {row.channel for row in found.rows})
        declared = {
            one.name: one.plain
            for some in columns.declared(tx, identity.channels(Role.VIEWER)).values()
            for one in some
        }
        kept = saved.searches(tx, identity.name)
    if any(getattr(query, field) for field in PRIVATE):
        desk_of(request).audited("messages.search", "", lambda tx: None, "by patient data")
    return page(
        request, name, rows=found.rows, looked=found, query=fields_of(query), declared=declared,
        channels=[one for one in names if identity.may(Role.VIEWER, one)], states=list(MessageState),
        delivery_states=list(DeliveryState), next=found.next, saved=kept,
        private=any(getattr(query, field) for field in PRIVATE),
    )  # fmt: skip


@router.get("/messages")
def browse(request: Request, identity: Viewer, after: queries.After = None) -> Response:
    """By everything but patient data, so that a search can be a link."""
    return _list(
        request,
        identity,
        query_of({name: request.query_params.get(name) for name in (*FIELDS, "ids")}),
        after,
        _template(request),
    )


def _template(request: Request) -> str:
    """The whole page, or the rows that go below those of before."""
    return "_rows.html" if request.headers.get("hx-target") == "more" else "messages.html"


@router.post("/messages")
async def find(request: Request, identity: Viewer) -> Response:
    """By everything; also the next page of such a search."""
    form = await request.form()
    after = str(form.get("after", ""))
    return await run_in_threadpool(
        _list,
        request,
        identity,
        query_of(form),
        queries.id_of(after) if after else None,
        _template(request),
    )


@router.post("/messages/saved")
async def save(request: Request, identity: Viewer) -> Response:
    """Keep the search by a name, or forget the name. Refused with what is patient data in it, and when it is empty."""
    form = await request.form()
    title = str(form.get("name", ""))[:100].strip()
    if not title:
        raise Refused(422, "query.name", "give the search a name")
    query = None if form.get("forget") else queries.kept(query_of(form))
    if query is not None and not query.keys() - {"zone"}:
        raise Refused(
            422, "query.empty", "this searches for nothing", "fill in what it shall find, then save it"
        )
    stores = stores_of(request)
    await run_in_threadpool(stores.write, lambda tx: saved.keep(tx, identity.name, title, query))
    return RedirectResponse(f"/messages?{urlencode(query)}" if query else "/messages", 303)


@router.get("/messages/{message_id}")
def show(request: Request, identity: Viewer, message_id: int, segment: Segment = 1) -> Response:
    """One message, masked."""
    return _one(request, identity, message_id, False, segment)


@router.post("/messages/{message_id}/reveal")
def reveal(request: Request, identity: Revealer, message_id: int, segment: Segment = 1) -> Response:
    """With what it holds; audited."""
    response = _one(request, identity, message_id, True, segment)
    desk_of(request).saw(str(message_id))
    return response


def _one(request: Request, identity: Identity, message_id: int, unmasked: bool, segment: int) -> Response:
    if not 0 < message_id < queries.LARGEST_ID:
        raise Refused(404, "message.unknown", f"there is no message {message_id}")
    language.choose(language.wanted(request))
    found = seen(request, identity, message_id, unmasked, segment)
    return page(request, "message.html", message=found, warning=None)


@router.get("/messages/{message_id}/trace")
def trace(request: Request, identity: Viewer, message_id: int) -> Response:
    """What today's channel makes of it, masked; a part of the page that asks, or a page of its own."""
    return _trace(request, identity, message_id, False)


@router.post("/messages/{message_id}/trace")
def trace_revealed(request: Request, identity: Revealer, message_id: int) -> Response:
    """With values; audited."""
    return _trace(request, identity, message_id, True)


def _trace(request: Request, identity: Identity, message_id: int, unmasked: bool) -> Response:
    told, wrong, number = None, "", message_id if 0 < message_id < queries.LARGEST_ID else 0
    try:
        told = traced(request, identity, number, unmasked)
    except Refused as error:
        if error.status == 404:
            raise
        wrong = str(error)
    name = "_steps.html" if request.headers.get("hx-request") else "trace.html"
    return page(request, name, id=message_id, trace=told, wrong=wrong, revealed=unmasked)


def wanted_act(form: Any) -> queries.Act:
    """The act of a form: on one message, the ticked ones, or all that a search finds."""
    ticked = [str(item) for item in form.getlist("id")]
    query = query_of({**dict(form), "ids": " ".join(ticked)}) if ticked else query_of(form)
    if ticked:
        query = queries.Query(ids=query.ids, cause=query.cause, destination=query.destination)
    try:
        return queries.Act.model_validate(
            {
                "verb": form.get("verb"), "query": query, "note": form.get("note") or "",
                "rate": form.get("rate") or None, "force": bool(form.get("force")),
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(422, "act", f"{first['loc'][0]}: {first['msg']}") from None


@router.post("/acts")
async def act(request: Request, identity: Operator) -> Response:
    """Replay, resend or discard; asks first, with what stands against it, and again when it was replayed meanwhile."""
    form = await request.form()
    wanted = wanted_act(form)
    desk = desk_of(request)
    again = await run_in_threadpool(desk.replayed, wanted)
    newest = str(max((new for _, new in again), default=0))
    if not form.get("sure") or newest != form.get("newest", newest):  # else somebody was quicker
        kept, gone, older = await run_in_threadpool(desk.weigh, wanted)
        return page(
            request, "confirm.html", act=wanted, kept=kept, gone=gone, older=older,
            query=fields_of(wanted.query), again=again, newest=newest,
        )  # fmt: skip
    job, _ = await run_in_threadpool(desk.act, wanted)
    return RedirectResponse(f"/jobs/{job.id}", 303)


@router.post("/acts/preview")
async def preview(request: Request, identity: Operator) -> Response:
    """What the act would change; a part of the page that asks, or a page of its own."""
    form = await request.form()
    found, wrong = None, ""
    try:
        found = await run_in_threadpool(
            desk_of(request).preview, wanted_act(form), request.app.state.config, bool(form.get("reveal"))
        )
    except Refused as error:
        wrong = str(error)
    name = "_preview.html" if request.headers.get("hx-request") else "preview.html"
    return page(request, name, preview=found, wrong=wrong)
