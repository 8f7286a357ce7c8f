"""One's own: rights, password, second factor, saved searches."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from console import queries, signing_in
from console.api.answers import answer, desk_of, stores_of
from console.api.openapi import gives
from console.rights import Viewer
from engine.security import passwords
from engine.security.roles import Grant
from engine.store import saved, users

router = APIRouter(tags=["account"])
Title = Annotated[
    str, Path(min_length=1, max_length=100, pattern=r"\S", description="The name of the search.")
]
Password = Annotated[str, Field(max_length=2000)]


class Account(msgspec.Struct):
    """Who asks: the user, and what they, or the token that they use, may do now."""

    user: users.User
    grants: tuple[Grant, ...]
    reveal: bool
    token: int


class Factor(msgspec.Struct):
    """A new second factor, which is not on yet: its secret, and the `otpauth:` address for an app."""

    secret: str
    address: str


class NewPassword(BaseModel):
    """One's old password and the new one."""

    model_config = ConfigDict(extra="forbid")
    old: Password
    password: str = Field(max_length=passwords.LONGEST)


class NewFactor(BaseModel):
    """A secret that was given out, a code of it, and the password when it takes the place of another one."""

    model_config = ConfigDict(extra="forbid")
    secret: str = Field(pattern=f"^{passwords.TOTP}$")
    code: str = Field(max_length=20)
    password: Password = ""


class Confirmed(BaseModel):
    """One's password."""

    model_config = ConfigDict(extra="forbid")
    password: Password


@router.get("/account", summary="Who you are and what you may do", responses=gives(Account))
def account(request: Request, identity: Viewer) -> Response:
    """Of a token: what it may do, at most what its user may."""
    with stores_of(request).reading() as tx:
        user = users.known(tx, identity.name)
    return answer(Account(user, identity.grants, identity.reveal, identity.token))


@router.post("/account/password", summary="Change your password; your sessions end", status_code=204)
def password(request: Request, identity: Viewer, new: NewPassword) -> Response:
    """Takes the old one."""
    signing_in.new_password(request, identity.name, new.old, new.password)
    return Response(status_code=204)


@router.post("/account/second-factor/new", summary="A secret for a second factor", responses=gives(Factor))
def offer(request: Request, identity: Viewer) -> Response:
    """Nothing is changed before a code of it was given."""
    secret = passwords.new_totp()
    return answer(Factor(secret, passwords.totp_address(secret, identity.name)))


@router.put("/account/second-factor", summary="Turn your second factor on, or change it", status_code=204)
def factor_on(request: Request, identity: Viewer, new: NewFactor) -> Response:
    """With a code of the new secret; to change one takes the password."""
    signing_in.factor_on(request, identity.name, new.secret, new.code, new.password)
    return Response(status_code=204)


@router.post("/account/second-factor/off", summary="Turn your second factor off", status_code=204)
def factor_off(request: Request, identity: Viewer, confirmed: Confirmed) -> Response:
    """Takes the password."""
    signing_in.factor_off(request, identity.name, confirmed.password)
    return Response(status_code=204)


@router.get("/searches", summary="Your saved searches", responses=gives(dict[str, dict[str, Any]]))
def searches(request: Request, identity: Viewer) -> Response:
    """By name: filters for `POST /messages/search`."""
    with stores_of(request).reading() as tx:
        return answer(saved.searches(tx, identity.name))


@router.put("/searches/{name}", summary="Keep a search by a name", status_code=204)
def save(request: Request, identity: Viewer, name: Title, query: queries.Query) -> Response:
    """Refused with filters that are patient data."""
    kept = queries.kept(query)
    _ = query.filters
    desk_of(request).stores.write(lambda tx: saved.keep(tx, identity.name, name, kept))
    return Response(status_code=204)


@router.delete("/searches/{name}", summary="Forget a search", status_code=204)
def forget(request: Request, identity: Viewer, name: Title) -> Response:
    """Also when there is none of this name."""
    stores_of(request).write(lambda tx: saved.keep(tx, identity.name, name, None))
    return Response(status_code=204)
