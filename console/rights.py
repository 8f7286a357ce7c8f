"""What a route needs: a parameter `identity: Viewer` gives who asks, or 403.

Every route declares one of these, so that the table of who may call what can be made from the application itself
(`needs_of`). Rights on a single channel are checked by the route once it knows the channel: `on_channel`.
"""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from console.guard import SAFE
from console.problems import Refused
from engine.security.roles import Identity, Role
from engine.store.jobs import Job


def identity_of(request: Request) -> Identity:
    """Who asks; the gate has let them in."""
    found: Identity | None = request.state.identity
    if found is None:
        raise Refused(401, "unauthenticated", "sign in first")
    return found


async def check_csrf(request: Request) -> None:
    """A session's unsafe request carries its CSRF token, as a header or a form field."""
    session = request.state.session
    if request.method in SAFE or session is None:
        return
    given = request.headers.get("x-csrf-token", "")
    if not given and "form" in request.headers.get("content-type", ""):
        form = await request.form()
        given = str(form.get("csrf", ""))
    if not secrets.compare_digest(given.encode(), session.csrf.encode()):
        raise Refused(403, "csrf", "this form is out of date", "load the page again")


class Need:
    """A dependency: at least `role` somewhere, and `reveal` where patient data is shown."""

    def __init__(self, role: Role, reveal: bool = False) -> None:
        self.role = role
        self.reveal = reveal

    async def __call__(self, request: Request) -> Identity:
        """The identity, or Refused 403."""
        identity = identity_of(request)
        if not identity.somewhere(self.role):
            raise Refused(403, "forbidden", f"this needs the role {self.role}")
        if self.reveal and not identity.reveal:
            raise Refused(403, "forbidden", "this needs the right to see patient data")
        await check_csrf(request)
        return identity


Viewer = Annotated[Identity, Depends(Need(Role.VIEWER))]
Revealer = Annotated[Identity, Depends(Need(Role.VIEWER, reveal=True))]
Operator = Annotated[Identity, Depends(Need(Role.OPERATOR))]
Editor = Annotated[Identity, Depends(Need(Role.OPERATOR, reveal=True))]
Analyst = Annotated[Identity, Depends(Need(Role.ANALYST))]
Admin = Annotated[Identity, Depends(Need(Role.ADMIN))]


def sees(identity: Identity, job: Job) -> bool:
    """Whether a job is about messages that they may see, or some of them."""
    return identity.may(Role.VIEWER) or any(identity.may(Role.VIEWER, one) for one in job.channels)


def moves(identity: Identity, job: Job) -> bool:
    """Whether they may act on all that a job is about."""
    everywhere = bool(job.channels) and all(identity.may(Role.OPERATOR, one) for one in job.channels)
    return identity.may(Role.OPERATOR) or everywhere


def on_channel(identity: Identity, role: Role, channel: str) -> None:
    """Refused 403 unless they have the role on this channel; a channel they may not see is not there."""
    if not identity.may(role, channel):
        if not identity.may(Role.VIEWER, channel):
            raise Refused(404, "unknown", "there is no such thing here")
        raise Refused(403, "forbidden", f"this needs the role {role} on channel {channel}")
