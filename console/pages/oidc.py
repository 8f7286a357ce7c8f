"""Signing in through a provider: leave for it, come back from it, and be the user that it names.

Guarantees: a name that belongs to a user with a password, or to somebody of another provider, is taken by nobody else;
roles follow the provider at each sign-in; who was disabled here stays out. Every attempt is in the audit log.
"""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from console.api.answers import stores_of
from console.oidc import Attempt, Claimed, SignOn
from console.pages.account import inside, login_page
from console.pages.render import page
from console.problems import Refused
from console.signing_in import keep
from console.throttle import throttle_of
from engine.errors import StoreError, UserError
from engine.store import audit, users
from engine.store.tx import Tx

router = APIRouter(prefix="/oidc")
ATTEMPT = "isthmus_oidc"
_BOUND = b"oidc attempt"


def sign_on_of(request: Request) -> SignOn:
    """The providers of the application."""
    found: SignOn = request.app.state.sign_on
    return found


def _console(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


@router.get("/{name}/login")
def leave(request: Request, name: str, next: str = "/") -> Response:
    """To the provider; what belongs to this attempt is kept, encrypted, in this browser."""
    throttle_of(request).check(request.state.address)
    where, attempt = sign_on_of(request).leave(name, _console(request), inside(next))
    with stores_of(request).reading() as tx:
        keys = tx.codec.keys
        sealed = bytes([keys.current]) + keys.encrypt(msgspec.msgpack.encode(attempt), _BOUND)
    response = RedirectResponse(where, 303)
    # Lax: it must come along when the provider sends the browser back.
    response.set_cookie(
        ATTEMPT, sealed.hex(), max_age=600, httponly=True, samesite="lax", path="/oidc/",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return response


def _attempt(request: Request) -> Attempt | None:
    try:
        sealed = bytes.fromhex(request.cookies.get(ATTEMPT, ""))
        with stores_of(request).reading() as tx:
            content = tx.codec.keys.decrypt(sealed[0], sealed[1:], _BOUND)
        return msgspec.msgpack.decode(content, type=Attempt)
    except (ValueError, IndexError, StoreError, msgspec.DecodeError):
        return None


@router.get("/{name}/callback")
async def arrive(request: Request, name: str) -> Response:
    """Back from the provider: signed in, or told why not."""
    response = await run_in_threadpool(_arrive, request, name)
    response.delete_cookie(ATTEMPT, path="/oidc/")
    return response


def _arrive(request: Request, name: str) -> Response:
    throttle = throttle_of(request)
    throttle.check(request.state.address)
    stores = stores_of(request)

    def note(tx: Tx, who: str, outcome: str, detail: str) -> None:
        audit.record(tx, who, "sign-in", outcome=outcome, detail=detail, address=request.state.address)

    who, attempt = "", _attempt(request)
    try:
        claimed = sign_on_of(request).arrive(name, _console(request), request.query_params, attempt)
        who = claimed.name

        def enter(tx: Tx) -> str:
            user = welcome(tx, name, claimed)
            note(tx, user, "ok", f"through {name}")
            return users.sign_in(tx, user, request.state.address, before=request.state.cookie)[0]

        cookie = stores.write(enter)
    except UserError as error:
        throttle.failed(request.state.address)
        why = f"through {name}: {error.code}"
        stores.write(lambda tx: note(tx, who or "?", "refused", why))
        status = error.status if isinstance(error, Refused) else 401
        return login_page(request, status, next=attempt.next if attempt else "/", wrong=_sentence(error))
    # A page and not a redirect: after one from elsewhere the browser would not send a strict cookie.
    response = page(request, "entered.html", target=inside(attempt.next if attempt else "/"))
    keep(request, response, cookie)
    return response


def _sentence(error: UserError) -> str:
    todo = f" ({error.todo})" if error.todo else ""
    return f"{error.what[:1].upper()}{error.what[1:]}{todo}."


def welcome(tx: Tx, provider: str, claimed: Claimed) -> str:
    """The user whom the provider names, made when they come for the first time; their rights are those of now."""
    owner = f"{provider}\0{claimed.subject}"
    known = users.of_provider(tx, owner)
    if known is None:
        if users.get(tx, claimed.name) is not None:
            raise Refused(
                401, "oidc.taken", "this name belongs to another user of this console", "ask its admin"
            )
        users.add(tx, claimed.name, None, claimed.grants, reveal=claimed.reveal)
        users.bind(tx, claimed.name, owner)
        return claimed.name
    user = users.get(tx, known)
    if user is None or user.disabled:
        raise Refused(401, "oidc.refused", "you may not sign in here", "ask who manages this console")
    if user.grants != tuple(claimed.grants) or user.reveal != claimed.reveal:
        users.change(tx, known, grants=claimed.grants, reveal=claimed.reveal)
    return known
