"""Users and the audit log, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from console.api.answers import desk_of, stores_of
from console.api.people import whole
from console.pages.render import page
from console.problems import Refused
from console.queries import After
from console.rights import Admin
from engine.errors import UserError
from engine.security import passwords
from engine.security.roles import Grant, Role
from engine.store import audit, users

router = APIRouter()


def _users(request: Request, status: int = 200, wrong: str = "") -> Response:
    with stores_of(request).reading() as tx:
        found, now = users.everybody(tx), tx.now()
    return page(request, "users.html", status, users=found, now=now, roles=list(Role), wrong=wrong)


@router.get("/users")
def everybody(request: Request, identity: Admin) -> Response:
    """All users."""
    whole(identity)
    return _users(request)


@router.post("/users")
def save(
    request: Request,
    identity: Admin,
    name: Annotated[str, Form(max_length=100)],
    role: Annotated[str, Form(max_length=20)] = "",
    channels: Annotated[str, Form(max_length=5000)] = "",
    password: Annotated[str, Form(max_length=2000)] = "",
    reveal: Annotated[str, Form(max_length=5)] = "",
    act: Annotated[str, Form(max_length=20)] = "add",
) -> Response:
    """Add, change, unlock, disable, enable or delete a user, or take a lost second factor away."""
    whole(identity)
    desk = desk_of(request)
    try:
        if act == "delete":
            desk.audited("user.delete", name, lambda tx: users.remove(tx, name))
        elif act == "unlock":
            desk.audited("user.unlock", name, lambda tx: users.unlock(tx, name))
        elif act == "factor":
            desk.audited("totp.off", name, lambda tx: users.set_totp(tx, name, None))
        elif act in ("disable", "enable"):
            off = act == "disable"
            desk.audited(f"user.{act}", name, lambda tx: users.change(tx, name, disabled=off))
        else:
            if role not in list(Role):
                raise Refused(422, "user.role", "choose a role")
            grants = [Grant(Role(role), tuple(channels.replace(",", " ").split()))]
            if act == "add":
                hashed = passwords.hashed(password, name)
                desk.audited(
                    "user.create", name, lambda tx: users.add(tx, name, hashed, grants, reveal=bool(reveal))
                )
            else:
                changes = {"grants": grants, "reveal": bool(reveal)}
                if password:
                    changes["password"] = passwords.hashed(password, name)
                desk.audited(
                    "user.change", name, lambda tx: users.change(tx, name, **changes), ", ".join(changes)
                )
    except UserError as error:
        return _users(request, 422, str(error))
    return RedirectResponse("/users", 303)


@router.get("/audit")
def audit_log(
    request: Request,
    identity: Admin,
    actor: str = "",
    action: str = "",
    object: str = "",
    after: After = None,
) -> Response:
    """Who did what, newest first, and whether the chain is whole."""
    whole(identity)
    with stores_of(request).reading() as tx:
        rows = audit.find(
            tx, actor=actor or None, action=action or None, object=object or None, after=after, limit=100
        )
        verdict = audit.verify(tx)
    return page(
        request, "audit.html", rows=rows, verdict=verdict, actor=actor, action=action, object=object,
        next=rows[-1].id if len(rows) == 100 else None,
    )  # fmt: skip
