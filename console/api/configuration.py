"""The configuration: its files, checks on texts that are not saved, deployment, history.

Its ETag names exactly these files. What writes needs it as `If-Match`, so that nobody writes over an edit that they
have not seen: 428 without it, 412 when the files are others by now.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.responses import Response

from console.api.answers import answer, desk_of
from console.api.openapi import gives
from console.configuring import Outcome, Sample, Workshop
from console.preview import Foreseen
from console.problems import Refused
from console.rights import Analyst
from engine.store import versions

router = APIRouter(prefix="/configuration", tags=["configuration"])
Name = Annotated[str, Field(min_length=1, max_length=300)]
Texts = Annotated[
    dict[Name, str | None],
    Field(
        default={}, max_length=200, description="By file name, texts that are not saved; null: no such file."
    ),
]
IfMatch = Annotated[str | None, Header(max_length=200, description="The ETag of what was edited.")]
Version = Annotated[
    str, Path(max_length=80, description="A version, its beginning, or its number in the history.")
]


DEPLOYED = gives(Outcome) | gives(Outcome, 409, "The engine did not take it.")


class Text(msgspec.Struct):
    """The text of a file."""

    text: str


class Problems(msgspec.Struct):
    """What is wrong; none: nothing is."""

    problems: list[dict[str, Any]]


class Traces(msgspec.Struct):
    """Of each message its steps."""

    traces: list[dict[str, Any]]


class Effects(msgspec.Struct):
    """Of each message and destination what would change."""

    effects: list[Foreseen]


class History(msgspec.Struct):
    """What ran, the newest first."""

    entries: list[versions.Entry]


class Edited(BaseModel):
    """Texts that are not saved."""

    model_config = ConfigDict(extra="forbid")
    edits: Texts


class Trial(Edited):
    """A message, and the channel that it would go through."""

    channel: str = Field(max_length=200)
    message: Sample


class Comparison(Edited):
    """What to compare: `before` (else what was taken up last) and `after` (else the files with the edits)."""

    before: str = Field(default="", max_length=80)
    after: str = Field(default="", max_length=80)


class Deployment(Edited):
    """Texts to write, and why."""

    note: str = Field(default="", max_length=500, description="Why; kept in the history; no patient data.")


class Code(BaseModel):
    """One code of a table; null takes it away."""

    model_config = ConfigDict(extra="forbid")
    code: str = Field(min_length=1, max_length=200)
    row: dict[Name, Annotated[str, Field(max_length=1000)]] | None = Field(
        description="By column its values; the only column of a YAML table is called `value`."
    )
    note: str = Field(default="", max_length=500)


class Reload(BaseModel):
    """What to take up: everything that changed, and a channel anew although it did not."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(default="", max_length=200)
    note: str = Field(default="", max_length=500)


class Rollback(BaseModel):
    """A version to go back to, and why."""

    model_config = ConfigDict(extra="forbid")
    version: str = Field(min_length=1, max_length=80)
    note: str = Field(default="", max_length=500)
    force: StrictBool = Field(
        default=False, description="Also over edits that no version has; they are kept beside."
    )


def workshop_of(request: Request) -> Workshop:
    """Where this request works on the configuration."""
    return Workshop(desk_of(request), request.app.state.workbench)


def wanted(given: str | None) -> str:
    """The ETag of an If-Match; Refused 428 without one."""
    if not given:
        raise Refused(428, "config.etag", "say what was edited", "send its ETag as If-Match")
    return given.strip().removeprefix("W/").strip('"')


def done(outcome: Outcome) -> Response:
    """A deployment as an answer: 409 when the engine did not take it."""
    return answer(outcome, 409 if outcome.taken is False else 200, {"ETag": f'"{outcome.etag}"'})


@router.get("", summary="The files of the configuration as they are now", responses=gives(dict[str, Any]))
def look(
    request: Request,
    identity: Analyst,
    if_none_match: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Passwords and keys in them are hidden; what hides them (`•••`) stays what it was when it is sent back."""
    found = workshop_of(request).look()
    tag = f'"{found["etag"]}"'
    if if_none_match == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return answer(found, headers={"ETag": tag})


@router.get(
    "/schema",
    summary="The JSON Schema of channel files",
    responses=gives(dict[str, Any], media="application/schema+json"),
)
def schema(request: Request, identity: Analyst) -> Response:
    """For completion and hover in editors."""
    content = workshop_of(request).bench.schema()
    return Response(
        content, headers={"Cache-Control": "private, max-age=3600"}, media_type="application/schema+json"
    )


@router.get(
    "/samples/{name:path}", summary="A sample message of the configuration's folder", responses=gives(Text)
)
def sample(request: Request, identity: Analyst, name: Annotated[str, Path(max_length=300)]) -> Response:
    """Its text, line by line."""
    return answer(Text(workshop_of(request).sample(name)))


@router.post(
    "/lint", summary="Every problem of the configuration with these edits", responses=gives(Problems)
)
def lint(request: Request, identity: Analyst, edited: Edited) -> Response:
    """As `isthmus lint`; nothing is written."""
    return answer(Problems(workshop_of(request).lint(edited.edits)))


@router.post(
    "/try",
    summary="What a channel with these edits would do to a message, step by step",
    responses=gives(Traces),
)
def trial(request: Request, identity: Analyst, trial: Trial) -> Response:
    """As `isthmus try`; nothing is sent or stored. A stored message needs the right to see patient data."""
    return answer(Traces(workshop_of(request).trace(trial.channel, trial.message, trial.edits)))


@router.post(
    "/plan",
    summary="What a message would change in the destinations, record by record",
    responses=gives(Effects),
)
def plan(
    request: Request,
    identity: Analyst,
    trial: Trial,
    reveal: Annotated[bool, Query(description="With keys and values; audited.")] = False,
) -> Response:
    """As `isthmus plan`; nothing is written anywhere."""
    return answer(Effects(workshop_of(request).plan(trial.channel, trial.message, trial.edits, reveal)))


@router.post(
    "/diff",
    summary="How two versions differ, in plain words and line by line",
    responses=gives(dict[str, Any]),
)
def diff(request: Request, identity: Analyst, asked: Comparison) -> Response:
    """As `isthmus config diff`."""
    return answer(workshop_of(request).diff(asked.edits, asked.before, asked.after))


@router.post("/deploy", summary="Write edits and let the engine take them up", responses=DEPLOYED)
def deploy(request: Request, identity: Analyst, deployment: Deployment, if_match: IfMatch = None) -> Response:
    """Refused with errors of the configuration (422); what the engine does not take is put back (409)."""
    if not deployment.edits:
        raise Refused(422, "config.nothing", "there is nothing to deploy")
    return done(workshop_of(request).deploy(deployment.edits, wanted(if_match), deployment.note))


@router.post(
    "/reload", summary="Let the engine take up the files as they are", responses=gives(dict[str, Any])
)
def reload(request: Request, identity: Analyst, asked: Reload) -> Response:
    """What changed, or why it is not taken; needs the role analyst on all channels."""
    return answer(desk_of(request).reload(asked.name, asked.note))


@router.get("/history", summary="The configurations that ran, newest first", responses=gives(History))
def history(
    request: Request, identity: Analyst, limit: Annotated[int, Query(ge=1, le=1000)] = 50
) -> Response:
    """Number, version, when, who, note, and what changed."""
    return answer(History(workshop_of(request).history(limit)))


@router.get("/versions/{version}", summary="The files of a version", responses=gives(dict[str, Any]))
def show(request: Request, identity: Analyst, version: Version) -> Response:
    """As `isthmus config show`; passwords and keys are hidden."""
    return answer(workshop_of(request).show(version))


@router.post(
    "/rollback",
    summary="Write the files of a version back and let the engine take them up",
    responses=DEPLOYED,
)
def rollback(request: Request, identity: Analyst, back: Rollback, if_match: IfMatch = None) -> Response:
    """A new entry of the history. Refused (409) where edits that no version has would be lost, unless `force`."""
    return done(workshop_of(request).rollback(back.version, wanted(if_match), back.note, back.force))


@router.get("/tables", summary="The code tables with their rows", responses=gives(dict[str, Any]))
def tables(request: Request, identity: Analyst) -> Response:
    """By name; each row with the file and line where it is written."""
    found = workshop_of(request).tables()
    return answer(found, headers={"ETag": f'"{found["etag"]}"'})


@router.get(
    "/tables/census",
    summary="The codes that the last messages asked the tables for",
    responses=gives(dict[str, Any]),
)
def census(request: Request, identity: Analyst, last: Annotated[int, Query(ge=1, le=5000)] = 200) -> Response:
    """By table: how often each row was asked for, and codes without a row; so many messages of each channel."""
    return answer(workshop_of(request).census(last))


@router.post("/tables/{name}/codes", summary="Write one code of a table, or take it away", responses=DEPLOYED)
def code(
    request: Request,
    identity: Analyst,
    name: Annotated[str, Path(max_length=200)],
    code: Code,
    if_match: IfMatch = None,
) -> Response:
    """Into the file where the table stands; the engine takes it up."""
    return done(workshop_of(request).code(name, code.code, code.row, wanted(if_match), code.note))
