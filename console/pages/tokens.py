"""One's API tokens: made, given a new secret, revoked; a secret is shown once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from console.api import people
from console.language import N_
from console.pages.account import account
from console.problems import Refused
from console.rights import Viewer
from engine.errors import UserError

router = APIRouter(prefix="/account/tokens")
Number = Annotated[int, Form(ge=1, lt=2**53)]


@router.post("")
def make(
    request: Request,
    identity: Viewer,
    name: Annotated[str, Form(max_length=100)] = "",
    role: Annotated[str, Form(max_length=20)] = "",
    channels: Annotated[str, Form(max_length=5000)] = "",
    days: Annotated[str, Form(max_length=10)] = "90",
    reveal: Annotated[str, Form(max_length=5)] = "",
) -> Response:
    """A new one, with a role on some channels or on all."""
    try:
        grant = {"role": role, "channels": channels.replace(",", " ").split()}
        new = people.NewToken.model_validate(
            {"name": name.strip(), "grants": [grant], "days": days, "reveal": bool(reveal)}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise Refused(422, "token", f"{first['loc'][0]}: {first['msg']}") from None
    return account(request, identity, secret=people.made_token(request, identity, new).secret)


@router.post("/rotate")
def rotate(
    request: Request, identity: Viewer, number: Number, overlap: Annotated[int, Form(ge=0, le=168)] = 0
) -> Response:
    """A new secret; the old one stays good for so many hours."""
    try:
        made = people.rotated(request, identity, number, people.Rotation(overlap=overlap))
        return account(request, identity, secret=made.secret)
    except Refused:
        raise
    except UserError:
        return account(request, identity, 422, wrong=N_("This token is good no more; make a new one."))


@router.post("/revoke")
def revoke(request: Request, identity: Viewer, number: Number) -> Response:
    """It is good no more."""
    people.ended(request, identity, number)
    return RedirectResponse("/account", 303)
