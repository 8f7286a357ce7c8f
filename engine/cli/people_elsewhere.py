"""What `user`, `token` and `audit` do with `--server`: ask the API, and say it in the words of the verbs here.

Passwords go there in the body of a request, over TLS (engine.cli.remote), and come from a terminal or standard input.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click
import msgspec

from engine.cli import access, saying, secret, showing
from engine.cli.remote import Remote
from engine.errors import UserError
from engine.store.audit import Entry, Verdict
from engine.store.tokens import Token
from engine.store.users import User

PAGE = 1000  # entries of the audit log


class Log(msgspec.Struct):
    """A page of the audit log."""

    entries: list[Entry]
    next: int | None


def _user(name: str) -> str:
    return f"/users/{quote(name, safe='')}"


def _grants(role: str, channels: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"role": role, "channels": channels}]


def users_list(remote: Remote, data: Path, as_json: bool) -> None:
    """As `user list`."""
    found = remote.get("/users", list[User])
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        showing.user_table(found)


def user_add(
    remote: Remote, name: str, role: str, channels: tuple[str, ...], reveal: bool, data: Path
) -> None:
    """As `user add`."""
    made = {"name": name, "password": secret.password(), "grants": _grants(role, channels), "reveal": reveal}
    remote.post("/users", made, User)
    click.echo(saying.user_added(name))


def user_password(remote: Remote, name: str, data: Path) -> None:
    """As `user password`."""
    remote.ask("PATCH", _user(name), {"password": secret.password()})
    click.echo(saying.password_changed(name))


def user_unlock(remote: Remote, name: str, second_factor_off: bool, data: Path) -> None:
    """As `user unlock`."""
    remote.ask(
        "PATCH", _user(name), {"locked": False} | ({"second_factor": False} if second_factor_off else {})
    )
    click.echo(saying.user_unlocked(name, second_factor_off))


def user_remove(remote: Remote, name: str, data: Path) -> None:
    """As `user remove`."""
    remote.ask("DELETE", _user(name))
    click.echo(saying.user_removed(name))


def tokens_list(remote: Remote, data: Path, as_json: bool) -> None:
    """As `token list`; who is no admin sees their own."""
    found = remote.get("/tokens", list[Token])
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        showing.token_list(found)


class Account(msgspec.Struct):
    """Whose token is used."""

    user: User


class Made(msgspec.Struct):
    """A new token."""

    secret: str


def _proof(remote: Remote, owner: str | None = None) -> dict[str, str]:
    """What the user of the token signs in with: a token alone makes no tokens."""
    user = remote.get("/account", Account).user
    if owner not in (None, user.name):
        raise UserError(
            f"{user.name} makes no tokens of {owner}", code="token.owner",
            todo="let them make it, or use `isthmus token add` on that machine",
        )  # fmt: skip
    proof = {"password": secret.password(user.name, new=False)}
    return proof | ({"code": secret.code()} if user.has_totp else {})


def token_add(
    remote: Remote, name: str, owner: str, role: str, channels: tuple[str, ...], reveal: bool, days: int, data: Path
) -> None:  # fmt: skip
    """As `token add`, for the user of the token that is used."""
    wanted = {"name": name, "grants": _grants(role, channels), "reveal": reveal, "days": days}
    click.echo(remote.post("/tokens", wanted | _proof(remote, owner), Made).secret)


def token_rotate(remote: Remote, number: int, overlap: int, data: Path) -> None:
    """As `token rotate`, of one's own."""
    wanted = {"overlap": overlap} | _proof(remote)
    click.echo(remote.post(f"/tokens/{number}/rotate", wanted, Made).secret)


def token_revoke(remote: Remote, number: int, data: Path) -> None:
    """As `token revoke`."""
    remote.ask("DELETE", f"/tokens/{number}")
    click.echo(saying.token_revoked(number))


def audit_list(
    remote: Remote, actor: str | None, action: str | None, since: str | None, limit: int, fhir: bool, data: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """As `audit list`."""
    at = access.moment(since)
    query: dict[str, Any] = {
        "actor": actor, "action": action, "since": at and datetime.fromtimestamp(at / 1e6, UTC).isoformat()
    }  # fmt: skip
    rows: list[Entry] = []
    while len(rows) < limit:
        query["limit"] = min(PAGE, limit - len(rows))
        given = {name: value for name, value in query.items() if value is not None}
        page = remote.get(f"/audit?{urlencode(given)}", Log)
        rows += page.entries
        query["after"] = page.next
        if page.next is None:
            break
    showing.audit_log(rows, fhir, as_json)


def audit_verify(remote: Remote, expect: str | None, data: Path, as_json: bool) -> None:
    """As `audit verify`: what the server says of its log."""
    asked = f"?{urlencode({'expect': expect})}" if expect is not None else ""
    sys.exit(saying.verdict(remote.get(f"/audit/verify{asked}", Verdict), as_json))
