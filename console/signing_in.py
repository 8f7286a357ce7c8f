"""The door: a name, a password and a second factor, or who is signed in once more by their password.

Guarantees: one attempt is checked at a time, so that as many at once are bounded as one after the other (also in
memory: each costs argon2id's 64 MiB); wrong ones are counted by user and by address before the next is checked; an
answer never tells what was wrong, or whether there is such a user. A user whom others have locked comes in on the
browsers where they signed in before.
Refuses: 429 an address with too many wrong attempts.
"""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from console.api.answers import desk_of, stores_of
from console.guard import COOKIE
from console.language import N_
from console.problems import Refused
from console.throttle import throttle_of
from engine.errors import UserError
from engine.security import passwords
from engine.store import audit, users
from engine.store.tx import Tx

DEVICE = "isthmus_device"
DEVICE_LIFE = 400 * 86400  # seconds; browsers keep no cookie longer


def checked(request: Request, name: str, password: str, code: str) -> str | None:
    """A session's cookie, or None when something did not fit. Either is in the audit log."""
    throttle, stores, address = throttle_of(request), stores_of(request), request.state.address
    device, before = request.cookies.get(DEVICE, ""), request.state.cookie

    def note(tx: Tx, outcome: str, detail: str = "") -> None:
        audit.record(tx, name, "sign-in", outcome=outcome, detail=detail, address=address)

    def enter(tx: Tx) -> str:
        cookie, _ = users.sign_in(tx, name, address, step, before)
        if rehashed is not None:
            tx.execute("UPDATE user SET password = ? WHERE name = ?", (rehashed, name))
        note(tx, "ok")
        return cookie

    def refuse(tx: Tx) -> None:
        if known.user is not None and not known.locked:
            users.failed(tx, name, device)
        note(tx, "refused", "locked" if known.locked else "")

    with throttle.turn:
        throttle.check(address)
        with stores.reading() as tx:
            known = users.secrets_of(tx, name, device)
        right = passwords.matches(known.password, password)
        step = passwords.totp_step(known.totp, code, time.time()) if known.totp else None
        usable = known.user is not None and not known.user.disabled and not known.locked
        if right and usable and (step is not None or not known.totp):
            outdated = known.password and passwords.outdated(known.password)
            rehashed = passwords.rehashed(password) if outdated else None
            try:
                return stores.write(enter)
            except UserError:  # a code that was used already
                pass
        stores.write(refuse)
        throttle.failed(address)
    return None


def new_password(request: Request, name: str, old: str, password: str) -> None:
    """Change one's own password. Refused 422 `password.wrong` with another old one, `password.weak`."""
    _confirm(request, name, old)
    hashed = passwords.hashed(password, name)
    desk_of(request).audited("password.change", name, lambda tx: users.change(tx, name, password=hashed))


def factor_on(request: Request, name: str, secret: str, code: str, password: str) -> None:
    """Keep a new second factor once a code of it was right; in place of another one with the password alone."""
    with stores_of(request).reading() as tx:
        has_one = users.known(tx, name).has_totp
    if has_one:
        _confirm(request, name, password)
    step = passwords.totp_step(secret, code, time.time())
    if step is None:
        raise Refused(422, "totp.code", N_("This code does not fit."))
    desk_of(request).audited("totp.on", name, lambda tx: users.set_totp(tx, name, secret, step))


def factor_off(request: Request, name: str, password: str) -> None:
    """Go without a second factor; takes the password."""
    _confirm(request, name, password)
    desk_of(request).audited("totp.off", name, lambda tx: users.set_totp(tx, name, None))


def proven(request: Request, action: str, password: str, code: str) -> None:
    """Refused 422 unless these are the password of an API token's user and, where they have a second factor, a code of
    it: then it is they who act. Refusals are in the audit log."""
    desk = desk_of(request)
    name = desk.identity.name
    try:
        _confirm(request, name, password, code)
    except UserError as error:
        desk.refused(action, "", error.code)
        raise


def _confirm(request: Request, name: str, password: str, code: str | None = None) -> None:
    """Refused when this is not the password of who is signed in, or `code` none of their second factor; wrong ones are
    counted by address, and by user from wherever they come: who has stolen a session shall not find the password with
    it."""
    throttle, counted = throttle_of(request), (request.state.address, f"user {name}")
    with throttle.turn:
        for one in counted:
            throttle.check(one)
        with stores_of(request).reading() as tx:
            known = users.secrets_of(tx, name)
        factor = known.totp if code is not None else None
        step = passwords.totp_step(factor, code or "", time.time()) if factor else None
        if not passwords.matches(known.password, password) or (factor and step is None):
            for one in counted:
                throttle.failed(one)
            raise Refused(422, "password.wrong", N_("The password is another one."))
        if step is not None:
            used = step
            stores_of(request).write(lambda tx: users.use_code(tx, name, used))


def keep(request: Request, response: Response, cookie: str, name: str = "") -> None:
    """Put the session's cookie, and with a name that of the device, into an answer."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=secure, path="/")
    if name:
        before = request.cookies.get(DEVICE, "")
        device = stores_of(request).write(lambda tx: users.device_of(tx, name, before))
        response.set_cookie(
            DEVICE,
            device,
            max_age=DEVICE_LIFE,
            httponly=True,
            samesite="strict",
            secure=secure,
            path="/login",
        )
