"""Users, API tokens and the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from console.api.answers import answer, desk_of, stores_of
from console.problems import Refused
from console.queries import moment
from console.rights import Admin, Viewer
from engine.security import passwords
from engine.security.roles import Grant, Identity, Role
from engine.store import audit, users

router = APIRouter(tags=["people"])
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


class NewUser(BaseModel):
    """A user to make."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=100)
    password: str = Field(max_length=passwords.LONGEST)
    grants: list[GrantIn] = Field(max_length=100)
    reveal: bool = Field(default=False, description="May see patient data.")


class UserChange(BaseModel):
    """What is to be changed of a user; what is left out stays."""

    model_config = ConfigDict(extra="forbid")
    password: str | None = Field(default=None, max_length=passwords.LONGEST)
    grants: list[GrantIn] | None = Field(default=None, max_length=100)
    reveal: bool | None = None
    disabled: bool | None = None


class NewToken(BaseModel):
    """An API token to make, for who asks."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100)
    grants: list[GrantIn] = Field(max_length=100)
    reveal: bool = False
    days: int = Field(default=90, ge=1, le=LONGEST_TOKEN, description="Days until it expires.")


@router.get("/users", summary="All users")
def everybody(request: Request, identity: Admin) -> Response:
    """Without their secrets."""
    with stores_of(request).reading() as tx:
        return answer(users.everybody(tx))


@router.post("/users", summary="Make a user", status_code=201)
def add(request: Request, identity: Admin, new: NewUser) -> Response:
    """Needs the role admin on all channels."""
    whole(identity)
    hashed = passwords.hashed(new.password, new.name)
    grants = [item.grant for item in new.grants]
    made = desk_of(request).audited(
        "user.create", new.name, lambda tx: users.add(tx, new.name, hashed, grants, reveal=new.reveal)
    )
    return answer(made, 201, {"Location": f"/api/v1/users/{new.name}"})


@router.patch("/users/{name}", summary="Change a user")
def change(request: Request, identity: Admin, name: UserName, change: UserChange) -> Response:
    """Their sessions end."""
    whole(identity)
    changes = change.model_dump(exclude_none=True)
    if change.password is not None:
        changes["password"] = passwords.hashed(change.password, name)
    if change.grants is not None:
        changes["grants"] = [item.grant for item in change.grants]
    return answer(
        desk_of(request).audited(
            "user.change", name, lambda tx: users.change(tx, name, **changes), ", ".join(changes)
        )
    )


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


@router.get("/tokens", summary="Your API tokens; for an admin, everybody's")
def list_tokens(request: Request, identity: Viewer) -> Response:
    """Without their secrets."""
    with stores_of(request).reading() as tx:
        return answer(users.tokens(tx, None if identity.may(Role.ADMIN) else identity.name))


@router.post("/tokens", summary="Make an API token; its secret is shown once", status_code=201)
def add_token(request: Request, identity: Viewer, new: NewToken) -> Response:
    """It can never do more than you can; a token makes no tokens."""
    if identity.token:
        raise Refused(403, "forbidden", "a token cannot make tokens", "sign in")
    until = int((datetime.now(UTC) + timedelta(days=new.days)).timestamp() * 1_000_000)
    grants = [item.grant for item in new.grants]
    secret, token = desk_of(request).audited(
        "token.create", new.name,
        lambda tx: users.add_token(tx, identity.name, new.name, grants, until, reveal=new.reveal),
    )  # fmt: skip
    return answer({"secret": secret, "token": token}, 201)


@router.delete("/tokens/{number}", summary="Revoke an API token", status_code=204)
def revoke(
    request: Request,
    identity: Viewer,
    number: Annotated[int, Path(ge=1, lt=2**53)],
) -> Response:
    """Your own; for an admin, anybody's."""
    owner = None if identity.may(Role.ADMIN) else identity.name
    with stores_of(request).reading() as tx:
        known = any(token.id == number for token in users.tokens(tx, owner))
    if not known:
        raise Refused(404, "token.unknown", f"there is no token {number}")
    desk_of(request).audited("token.revoke", str(number), lambda tx: users.revoke(tx, number))
    return Response(status_code=204)


@router.get("/audit", summary="Who did what, and who saw which patient data")
def audit_log(
    request: Request,
    identity: Admin,
    actor: Annotated[str | None, Query(max_length=100)] = None,
    action: Annotated[str | None, Query(max_length=100)] = None,
    object: Annotated[str | None, Query(max_length=200)] = None,
    since: Annotated[str | None, Query(max_length=40)] = None,
    until: Annotated[str | None, Query(max_length=40)] = None,
    after: Annotated[int | None, Query(ge=1, lt=2**53)] = None,
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
        return answer({"resourceType": "Bundle", "type": "collection", "entry": entries})
    return answer({"entries": rows, "next": rows[-1].id if len(rows) == limit else None})


@router.get("/audit/verify", summary="Whether the chain of the audit log is whole")
def verify(request: Request, identity: Admin) -> Response:
    """Keep `head` elsewhere: it shows later whether the end was cut off."""
    whole(identity)
    with stores_of(request).reading() as tx:
        return answer(audit.verify(tx))
