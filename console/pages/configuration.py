"""The configuration: its files and their history; one file with its checks, a message to try, what would change.

Every button is one of a plain form; with the script they answer in place, and checks come while one types.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import Response

from console.api.answers import stores_of
from console.api.configuration import workshop_of
from console.configuring import Edits, Sample, Workshop
from console.pages.render import page
from console.problems import Refused, status_of
from console.rights import Analyst
from engine.errors import IsthmusError
from engine.security.roles import Role
from engine.store import commands

router = APIRouter(prefix="/config")
ACTS = ("check", "diff", "try", "plan", "reveal", "sample", "adopt", "deploy")


def _running(request: Request) -> dict[str, Any]:
    with stores_of(request).reading() as tx:
        told = commands.engine_status(tx)
        return dict((told or {}).get("status") or {}) if commands.beating(told, tx.now()) else {}


@router.get("")
def overview(request: Request, identity: Analyst) -> Response:
    """Files and history."""
    return _overview(request)


def _overview(request: Request, status: int = 200, **told: Any) -> Response:
    workshop = workshop_of(request)
    values = {"outcome": None, "wrong": None, "compared": None, "before": "", "after": ""} | told
    return page(
        request, "config.html", status, found=workshop.look(), history=workshop.history(), engine=_running(request),
        **values,
    )  # fmt: skip


@router.post("/diff")
def compare(
    request: Request,
    identity: Analyst,
    before: Annotated[str, Form(max_length=80)] = "",
    after: Annotated[str, Form(max_length=80)] = "",
) -> Response:
    """Two versions; without `after`, a version and the files as they are."""
    compared = workshop_of(request).diff({}, before, after)
    return _overview(request, compared=compared, before=before, after=after)


@router.post("/rollback")
def rollback(
    request: Request,
    identity: Analyst,
    version: Annotated[str, Form(max_length=80)],
    seen: Annotated[str, Form(max_length=80)],
    note: Annotated[str, Form(max_length=500)] = "",
    force: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """Go back to a version."""
    try:
        outcome = workshop_of(request).rollback(version, seen, note, bool(force))
    except Refused as error:
        return _overview(request, error.status, wrong=error)
    return _overview(request, outcome=outcome)


@router.get("/edit")
def editor(request: Request, identity: Analyst, file: str = "", at: int = 0) -> Response:
    """One file."""
    found = workshop_of(request).look()
    name = file or found["main"] or next((one["name"] for one in found["files"]), "")
    kept = next((one for one in found["files"] if one["name"] == name), None)
    if kept is not None and kept["text"] is None:
        raise Refused(422, "config.name", "this file is no text")
    text = kept["text"] if kept else ""
    return _editor(request, found, name, text, found["etag"], {"at": str(at or "")})


@router.post("/edit")
def act(
    request: Request,
    identity: Analyst,
    file: Annotated[str, Form(max_length=300)],
    seen: Annotated[str, Form(max_length=80)],
    act: Annotated[str, Form(max_length=10)],
    text: Annotated[str, Form(max_length=2 << 20)] = "",
    note: Annotated[str, Form(max_length=500)] = "",
    channel: Annotated[str, Form(max_length=200)] = "",
    sample: Annotated[str, Form(max_length=300)] = "",
    message: Annotated[str, Form(max_length=1 << 20)] = "",
    message_id: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """One of the buttons; with htmx only its result."""
    if act not in ACTS:
        raise Refused(422, "config.act", "there is no such button")
    workshop = workshop_of(request)
    edits: Edits = {} if file.startswith("/") else {file: text.replace("\r\n", "\n")}
    form = {"note": note, "channel": channel, "sample": sample, "message": message, "message_id": message_id}
    result: dict[str, Any] = {}
    status = 200
    try:
        result, seen, form = _result(workshop, act, edits, seen, form)
    except IsthmusError as error:
        status = status_of(error)
        result = {"wrong": error, "problems": getattr(error, "problems", None) or None}
    if request.headers.get("hx-request"):
        return page(request, "_workshop.html", **(BLANK | result | {"form": form}))
    found, shown = workshop.look(), edits.get(file) or text
    outcome = result.get("outcome")
    if outcome is not None:
        seen = outcome.etag
        if outcome.taken is not False:  # as it was written, the hidden values hidden again
            shown = next((one["text"] for one in found["files"] if one["name"] == file), shown)
    return _editor(request, found, file, shown, seen, form, status, **result)


def _result(
    workshop: Workshop, act: str, edits: Edits, seen: str, form: dict[str, str]
) -> tuple[dict[str, Any], str, dict[str, str]]:
    channel = form["channel"]
    if act == "check":
        return {"problems": workshop.lint(edits)}, seen, form
    if act == "diff":
        return {"compared": workshop.diff(edits)}, seen, form
    if act == "sample":
        return {}, seen, form | {"message": workshop.sample(form["sample"])}
    if act == "adopt":  # the files changed meanwhile; what they changed is shown against this text
        return {"compared": workshop.diff(edits)}, str(workshop.look()["etag"]), form
    if act == "deploy":
        return {"outcome": workshop.deploy(edits, seen, form["note"])}, seen, form
    if act == "try":
        return {"traces": workshop.trace(channel, _sample(form), edits)}, seen, form
    reveal = act == "reveal"
    return {"effects": workshop.plan(channel, _sample(form), edits, reveal), "revealed": reveal}, seen, form


BLANK: dict[str, Any] = dict.fromkeys(("problems", "compared", "outcome", "traces", "effects", "wrong"))
BLANK["revealed"] = False


def _sample(form: dict[str, str]) -> Sample:
    try:
        if form["message_id"].strip():
            return Sample.model_validate({"message_id": form["message_id"].strip()})
        return Sample(text=form["message"])
    except ValidationError:
        raise Refused(422, "sample.number", "this is not the number of a message") from None


def _editor(
    request: Request,
    found: dict[str, Any],
    name: str,
    text: str,
    seen: str,
    form: dict[str, str],
    status: int = 200,
    **result: Any,
) -> Response:
    workshop = workshop_of(request)
    mine = [one for one in found["channels"] if workshop.desk.identity.may(Role.ANALYST, one)]
    editable = not name.startswith("/")
    blank = {"note": "", "channel": "", "sample": "", "message": "", "message_id": "", "at": ""}
    return page(
        request, "config_edit.html", status, found=found, name=name, text=text, seen=seen, editable=editable,
        channels=mine,
        known=any(one["name"] == name for one in found["files"]), form=blank | form, **(BLANK | result),
    )  # fmt: skip
