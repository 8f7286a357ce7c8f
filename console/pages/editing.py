"""Pages to edit and replay a message, and to compare two."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console import editing, queries
from console.api.answers import desk_of
from console.api.editing import compared
from console.pages.render import page
from console.problems import Refused
from console.rights import Editor, Revealer, Viewer
from engine.security.roles import Identity

router = APIRouter()


@router.post("/messages/{message_id}/edit")
async def edit(request: Request, identity: Editor, message_id: int) -> Response:
    """The message as text, to be changed; audited. With `text`: as it was edited already."""
    form = await request.form()
    desk = desk_of(request)

    def text() -> str:
        content = editing.content_of(desk, known(message_id))
        found = str(form.get("text") or "") or editing.text_of(content)
        desk.saw(str(message_id), "edit")
        return found

    return page(
        request,
        "edit.html",
        id=message_id,
        text=await run_in_threadpool(text),
        note=str(form.get("note") or ""),
    )


@router.post("/messages/{message_id}/edit/preview")
async def preview(request: Request, identity: Editor, message_id: int) -> Response:
    """What was changed, before it is replayed."""
    form = await request.form()
    desk, text = desk_of(request), str(form.get("text") or "")

    def look() -> tuple[editing.Edit, Any, Any]:
        found = editing.Edit(desk, known(message_id), text)
        told = found, found.difference, found.stale()
        desk.saw(str(message_id), "preview of edit")
        return told

    found, difference, older = await run_in_threadpool(look)
    return page(
        request, "edited.html", id=message_id, text=text, note=str(form.get("note") or ""), older=older,
        comparison=difference, same=found.old == found.new,
    )  # fmt: skip


@router.post("/messages/{message_id}/edit/effects")
async def effects(request: Request, identity: Editor, message_id: int) -> Response:
    """What the edited message would change in the destinations; a part of the page that asks."""
    form = await request.form()
    text, found, wrong = str(form.get("text") or ""), [], ""
    try:
        edit = await run_in_threadpool(editing.Edit, desk_of(request), known(message_id), text)
        found = await run_in_threadpool(edit.effects, request.app.state.config)
    except Refused as error:
        wrong = str(error)
    return page(request, "_effects.html", effects=found, wrong=wrong)


@router.post("/messages/{message_id}/edit/replay")
async def replay(request: Request, identity: Editor, message_id: int) -> Response:
    """Run the edited copy; shows the new message."""
    form = await request.form()
    text, note = str(form.get("text") or ""), str(form.get("note") or "")[:500]

    def work() -> int:
        return editing.Edit(desk_of(request), known(message_id), text).replay(note, bool(form.get("force")))

    return RedirectResponse(f"/messages/{await run_in_threadpool(work)}", 303)


@router.post("/messages/compare")
async def choose(request: Request, identity: Viewer) -> Response:
    """The two that are ticked."""
    form = await request.form()
    ticked = sorted({queries.id_of(one) for one in form.getlist("id")})
    if len(ticked) != 2:
        raise Refused(422, "compare.two", "tick two messages to compare them")
    return RedirectResponse(f"/messages/{ticked[0]}/compare?other={ticked[1]}", 303)


@router.get("/messages/{message_id}/compare")
def compare(request: Request, identity: Viewer, message_id: int, other: int) -> Response:
    """Two messages, masked."""
    return _compared(request, identity, message_id, other, False)


@router.post("/messages/{message_id}/compare")
def reveal(request: Request, identity: Revealer, message_id: int, other: int) -> Response:
    """With their values; audited."""
    return _compared(request, identity, message_id, other, True)


def _compared(request: Request, identity: Identity, old: int, new: int, unmasked: bool) -> Response:
    found = compared(request, identity, known(old), known(new), unmasked)
    return page(request, "compare.html", old=old, new=new, comparison=found)


def known(number: int) -> int:
    """Refused when it cannot be the id of a message."""
    if not 0 < number < queries.LARGEST_ID:
        raise Refused(404, "message.unknown", f"there is no message {number}")
    return number
