"""Users, API tokens and the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool
from starlette.responses import Response

from console import signing_in
from console.api.answers import answer, desk_of, stores_of
from console.api.openapi import gives
from console.problems import Refused
from console.queries import After, moment
from console.rights import Admin, Viewer
from engine.security import passwords
from engine.security.roles import Grant, Identity, Role
from engine.store import audit, tokens, users
from engine.store.tx import Tx

router = APIRouter(tags=["people"])
TokenId = Annotated[int, Path(ge=1, lt=2**53)]
UserName = Annotated[str, Path(max_length=100)]
LONGEST_TOKEN = 365 * 5  # days


class GrantIn(BaseModel):
    """A role on some channels, on all of them when none is named."""

    model_config = ConfigDict(extra="forbid")
    role: Role
    channels: list[str] = Field(default=[], max_length=1000)

    @property
    def grant(self) -> Grant:
        """As the store keeps it."""
        return Grant(self.role, tuple(self.channels))


class Secret(msgspec.Struct):
    """A token, and its secret, which is shown once."""

    secret: str
    token: tokens.Token


class Log(msgspec.Struct):
    """Entries of the audit log, the newest first; `next`: continue below this id."""

    entries: list[audit.Entry]
    next: int | None


LOG = gives(Log)
LOG[200]["content"]["application/fhir+json"] = {"schema": {"type": "object"}}


class NewUser(BaseModel):
    """A user to make."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=100)
    password: str = Field(max_length=passwords.LONGEST)
    grants: list[GrantIn] = Field(max_length=100)
    reveal: StrictBool = Field(default=False, description="May see patient data.")


class UserChange(BaseModel):
    """What is to be changed of a user; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    password: str | None = Field(default=None, max_length=passwords.LONGEST)
    grants: list[GrantIn] | None = Field(default=None, max_length=100)
    reveal: StrictBool | None = None
    disabled: StrictBool | None = None
    locked: Literal[False] | None = Field(default=None, description="false: may try again at once.")
    second_factor: Literal[False] | None = Field(
        default=None, description="false: takes it away, when it is lost."
    )


class Proof(BaseModel):
    """That it is its user who asks with an API token: what they sign in with."""

    model_config = ConfigDict(extra="forbid")
    password: str = Field(default="", max_length=2000, description="With an API token: of its user.")
    code: str = Field(default="", max_length=20, description="Of the second factor, where they have one.")


class NewToken(Proof):
    """An API token to make, for who asks."""

    name: str = Field(min_length=1, max_length=100)
    grants: list[GrantIn] = Field(max_length=100)
    reveal: StrictBool = False
    days: int = Field(default=90, ge=1, le=LONGEST_TOKEN, description="Days until it expires.")


@router.get("/users", summary="All users", responses=gives(list[users.User]))
def everybody(request: Request, identity: Admin) -> Response:
    """Without their secrets."""
    whole(identity)
    with stores_of(request).reading() as tx:
        return answer(users.everybody(tx))


@router.post("/users", summary="Make a user", status_code=201, responses=gives(users.User, 201))
def add(request: Request, identity: Admin, new: NewUser) -> Response:
    """Needs the role admin on all channels."""
    whole(identity)
    hashed = passwords.hashed(new.password, new.name)
    grants = [item.grant for item in new.grants]
    made = desk_of(request).audited(
        "user.create", new.name, lambda tx: users.add(tx, new.name, hashed, grants, reveal=new.reveal)
    )
    return answer(made, 201, {"Location": f"/api/v1/users/{new.name}"})


@router.patch("/users/{name}", summary="Change a user", responses=gives(users.User))
def change(request: Request, identity: Admin, name: UserName, change: UserChange) -> Response:
    """Their sessions end."""
    whole(identity)
    told = change.model_dump(exclude_none=True)
    changes = {key: value for key, value in told.items() if key not in ("locked", "second_factor")}
    if change.password is not None:
        changes["password"] = passwords.hashed(change.password, name)
    if change.grants is not None:
        changes["grants"] = [item.grant for item in change.grants]

    def work(tx: Tx) -> users.User:
        if change.locked is False:
            users.unlock(tx, name)
        if change.second_factor is False:
            users.set_totp(tx, name, None)
        return users.change(tx, name, **changes)

    return answer(desk_of(request).audited("user.change", name, work, ", ".join(told)))


@router.delete("/users/{name}", summary="Delete a user, their sessions and tokens", status_code=204)
def remove(request: Request, identity: Admin, name: UserName) -> Response:
    """What they did stays in the audit log."""
    whole(identity)
    desk_of(request).audited("user.delete", name, lambda tx: users.remove(tx, name))
    return Response(status_code=204)


def whole(identity: Identity) -> None:
    """Users are managed by admins of everything."""
    if not identity.may(Role.ADMIN):
        raise Refused(403, "forbidden", "this needs the role admin on all channels")


@router.get(
    "/tokens", summary="Your API tokens; for an admin, everybody's", responses=gives(list[tokens.Token])
)
def list_tokens(request: Request, identity: Viewer) -> Response:
    """Without their secrets."""
    with stores_of(request).reading() as tx:
        return answer(tokens.find(tx, None if identity.may(Role.ADMIN) else identity.name))


@router.post(
    "/tokens",
    summary="Make an API token; its secret is shown once",
    status_code=201,
    responses=gives(Secret, 201),
)
def add_token(request: Request, identity: Viewer, new: NewToken) -> Response:
    """It can never do more than you can; a token makes no tokens, unless its user's password comes along."""
    return answer(made_token(request, identity, new), 201)


def made_token(request: Request, identity: Identity, new: NewToken) -> Secret:
    """A new token of who asks, with its secret."""
    signed_in(request, identity, "token.create", new)
    until = int((datetime.now(UTC) + timedelta(days=new.days)).timestamp() * 1_000_000)
    grants = [item.grant for item in new.grants]
    secret, token = desk_of(request).audited(
        "token.create", new.name,
        lambda tx: tokens.add(tx, identity.name, new.name, grants, until, reveal=new.reveal),
    )  # fmt: skip
    return Secret(secret, token)


class Rotation(Proof):
    """How a token goes over to a new secret."""

    overlap: int = Field(default=0, ge=0, le=7 * 24, description="Hours that the old secret stays good.")


@router.post(
    "/tokens/{number:int}/rotate",
    summary="A new secret for an API token",
    status_code=201,
    responses=gives(Secret, 201),
)
def rotate(request: Request, identity: Viewer, number: TokenId, wanted: Rotation) -> Response:
    """With its name, rights and length of life; only of your own, as who has the secret acts as its user."""
    return answer(rotated(request, identity, number, wanted), 201)


def rotated(request: Request, identity: Identity, number: int, wanted: Rotation) -> Secret:
    """The token that takes the place of one; the old secret stays good for `overlap` hours."""
    signed_in(request, identity, "token.rotate", wanted)
    _owned(request, identity.name, number)
    secret, token = desk_of(request).audited(
        "token.rotate", str(number), lambda tx: tokens.rotate(tx, number, wanted.overlap * 3_600_000_000)
    )
    return Secret(secret, token)


@router.delete("/tokens/{number:int}", summary="Revoke an API token", status_code=204)
def revoke(
    request: Request,
    identity: Viewer,
    number: TokenId,
) -> Response:
    """Your own; for an admin, anybody's."""
    ended(request, identity, number)
    return Response(status_code=204)


def ended(request: Request, identity: Identity, number: int) -> None:
    """A token is good no more."""
    _owned(request, None if identity.may(Role.ADMIN) else identity.name, number)
    desk_of(request).audited("token.revoke", str(number), lambda tx: tokens.revoke(tx, number))


def signed_in(request: Request, identity: Identity, action: str, proof: Proof) -> None:
    """Refused to API tokens alone: what one has must not outlive it."""
    if not identity.token:
        return
    if not proof.password:
        raise Refused(403, "forbidden", "a token cannot make tokens", "sign in, or give your password")
    signing_in.proven(request, action, proof.password, proof.code)


def _owned(request: Request, owner: str | None, number: int) -> None:
    with stores_of(request).reading() as tx:
        if not any(token.id == number for token in tokens.find(tx, owner)):
            raise Refused(404, "token.unknown", f"there is no token {number}", "see the list of tokens")


@router.get("/audit", summary="Who did what, and who saw which patient data", responses=LOG)
def audit_log(
    request: Request,
    identity: Admin,
    actor: Annotated[str | None, Query(max_length=100)] = None,
    action: Annotated[str | None, Query(max_length=100)] = None,
    object: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[str | None, Query(max_length=40)] = None,
    until: Annotated[str | None, Query(max_length=40)] = None,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    format: Literal["json", "fhir"] = "json",
) -> Response:
    """Newest first; `format=fhir` gives a Bundle of AuditEvent resources (R4)."""
    whole(identity)
    with stores_of(request).reading() as tx:
        rows = audit.find(
            tx, actor=actor, action=action, object=object, since=moment(since), until=moment(until), after=after,
            limit=limit,
        )  # fmt: skip
    if format == "fhir":
        entries = [{"resource": audit.as_fhir(row)} for row in rows]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        return answer(bundle, kind="application/fhir+json")
    return answer(Log(rows, rows[-1].id if len(rows) == limit else None))


@router.get(
    "/audit/verify", summary="Whether the chain of the audit log is whole", responses=gives(audit.Verdict)
)
def verify(
    request: Request,
    identity: Admin,
    expect: Annotated[
        str | None, Query(max_length=200, description="A `head` of before: `expected` tells if it is there.")
    ] = None,
) -> Response:
    """Keep `head` elsewhere: it shows later whether the end was cut off."""
    whole(identity)
    with stores_of(request).reading() as tx:
        return answer(audit.verify(tx, expect))
