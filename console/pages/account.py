"""Signing in and out, the first set-up, and one's own account: password, second factor, API tokens."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

import segno
from fastapi import APIRouter, Form, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from console import language as words
from console import signing_in
from console.acting import Desk
from console.api.answers import desk_of, stores_of
from console.guard import COOKIE, cookie_of
from console.language import N_
from console.pages.render import page
from console.rights import Viewer
from console.signing_in import checked, keep
from console.throttle import throttle_of
from engine.errors import UserError
from engine.security import passwords
from engine.security.roles import Identity, Role
from engine.store import tokens, users

router = APIRouter()


def inside(target: str) -> str:
    """A path of this site, and nothing else."""
    parts = urlsplit(target)
    local = (
        not parts.scheme
        and not parts.netloc
        and target.startswith("/")
        and not target.startswith(("//", "/\\"))
    )
    return target if local and "\\" not in target else "/"


def entered(request: Request, cookie: str, target: str, name: str) -> Response:
    """Go on, signed in: a new session each time, so that none can be fixed beforehand."""
    response = RedirectResponse(inside(target), 303)
    keep(request, response, cookie, name)
    return response


def login_page(request: Request, status: int = 200, **values: Any) -> Response:
    """The form, with a button for each sign-in provider."""
    providers = [(name, one.title or name) for name, one in request.app.state.sign_on.providers.items()]
    return page(request, "login.html", status, **{"ended": False, **values}, providers=providers)


@router.get("/login")
def ask(request: Request, next: str = "/") -> Response:
    """The form."""
    with stores_of(request).reading() as tx:
        empty = not users.everybody(tx)
    if empty:
        return RedirectResponse("/setup", 303)
    ended = bool(cookie_of(request.headers)) and request.state.session is None
    return login_page(request, next=inside(next), wrong="", ended=ended)


@router.get("/session")
def session(request: Request, identity: Viewer) -> Response:
    """Whether there is a session still, and what its forms send along: for pages whose text shall outlive theirs."""
    found = request.state.session
    return JSONResponse({"csrf": found.csrf if found is not None else ""})


@router.post("/login")
def login(
    request: Request,
    name: Annotated[str, Form(max_length=100)],
    password: Annotated[str, Form(max_length=2000)],
    code: Annotated[str, Form(max_length=20)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Check password and second factor; the answer never tells which of them was wrong, or whether there is a user."""
    cookie = checked(request, name, password, code)
    if cookie is None:
        wrong = N_("This did not fit. After several wrong passwords a user is locked for a while.")
        return login_page(request, 401, next=inside(next), wrong=wrong)
    return entered(request, cookie, next, name)


@router.post("/logout")
def logout(request: Request, identity: Viewer) -> Response:
    """End this session."""
    cookie = request.state.cookie
    desk_of(request).audited("sign-out", "", lambda tx: users.sign_out(tx, cookie))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/setup")
def setup_page(request: Request, token: str = "") -> Response:
    """The form of the first admin."""
    with stores_of(request).reading() as tx:
        if users.everybody(tx):
            return RedirectResponse("/login", 303)
    return page(request, "setup.html", token=token, wrong="", name="admin")


@router.post("/setup")
def setup(
    request: Request,
    token: Annotated[str, Form(max_length=200)],
    name: Annotated[str, Form(max_length=100)],
    password: Annotated[str, Form(max_length=2000)],
    again: Annotated[str, Form(max_length=2000)],
) -> Response:
    """Make the first admin, and sign them in."""
    throttle, stores = throttle_of(request), stores_of(request)
    throttle.check(request.state.address)
    try:
        if password != again:
            raise UserError("the two passwords are not the same", code="password.again")
        hashed = passwords.hashed(password, name)
        stores.write(lambda tx: users.set_up(tx, token.strip(), name, hashed))
    except UserError as error:
        throttle.failed(request.state.address)
        return page(request, "setup.html", 422, token=token, wrong=str(error), name=name)
    cookie, session = stores.write(lambda tx: users.sign_in(tx, name, request.state.address))
    Desk(stores, session.user.identity, request.state.address).audited("setup", name, lambda tx: None)
    return entered(request, cookie, "/", name)


@router.get("/account")
def account_page(request: Request, identity: Viewer) -> Response:
    """Password, second factor, tokens."""
    return account(request, identity)


def account(request: Request, identity: Identity, status: int = 200, **more: str) -> Response:
    """The page, with what was done or went wrong, a secret to keep, or a second factor to set up."""
    with stores_of(request).reading() as tx:
        user, mine, now = users.get(tx, identity.name), tokens.find(tx, identity.name), tx.now()
    told = {"done": "", "wrong": "", "totp": "", "address": "", "secret": ""} | more
    return page(
        request, "account.html", status, user=user, tokens=mine, languages=words.LANGUAGES,
        picked=request.cookies.get(words.COOKIE, ""), now=now, roles=list(Role), drawn=_drawn(told["address"]), **told,
    )  # fmt: skip


def _drawn(text: str) -> tuple[int, str]:
    """A text as a QR code: how many squares wide, and the path of the dark ones."""
    rows = list(segno.make(text, error="m").matrix_iter(border=3)) if text else []
    dark = ((x, y) for y, row in enumerate(rows) for x, square in enumerate(row) if square)
    return len(rows), "".join(f"M{x} {y}h1v1h-1z" for x, y in dark)


@router.post("/account/language")
def speak(request: Request, identity: Viewer, language: Annotated[str, Form(max_length=5)] = "") -> Response:
    """Show pages in this language, in this browser; empty: as it says itself."""
    response = RedirectResponse("/account", 303)
    if language in words.LANGUAGES:
        response.set_cookie(
            words.COOKIE, language, max_age=5 * 365 * 86400, httponly=True, samesite="lax", path="/",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    else:
        response.delete_cookie(words.COOKIE, path="/")
    return response


@router.post("/account/password")
def new_password(
    request: Request,
    identity: Viewer,
    old: Annotated[str, Form(max_length=2000)],
    password: Annotated[str, Form(max_length=2000)],
    again: Annotated[str, Form(max_length=2000)],
) -> Response:
    """All sessions end, also this one."""
    if password != again:
        return account(request, identity, 422, wrong=N_("The two new passwords are not the same."))
    try:
        signing_in.new_password(request, identity.name, old, password)
    except UserError as error:
        return account(request, identity, 422, wrong=error.what)
    return RedirectResponse("/login", 303)


@router.post("/account/totp")
def second_factor(
    request: Request,
    identity: Viewer,
    secret: Annotated[str, Form(pattern=f"^({passwords.TOTP})?$")] = "",
    code: Annotated[str, Form(max_length=20)] = "",
    off: Annotated[str, Form(max_length=5)] = "",
    password: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """First shows a new secret, then keeps it once a code of it was right; to turn it off takes the password."""
    name = identity.name
    if not off and not secret:
        fresh = passwords.new_totp()
        return account(request, identity, totp=fresh, address=passwords.totp_address(fresh, name))
    try:
        if off:
            signing_in.factor_off(request, name, password)
            return account(request, identity, done=N_("The second factor is off."))
        signing_in.factor_on(request, name, secret, code, password)
        return account(request, identity, done=N_("The second factor is on."))
    except UserError as error:
        again = {} if off else {"totp": secret, "address": passwords.totp_address(secret, name)}
        return account(request, identity, 422, wrong=error.what, **again)
