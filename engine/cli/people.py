"""`user`, `token` and `audit`: who may use the console and the API, and what they did."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from engine.cli import access, people_elsewhere, saying, secret, showing
from engine.cli.options import data_option, json_option
from engine.cli.remote import served
from engine.errors import UserError
from engine.security import passwords
from engine.security.roles import Grant, Role
from engine.store import audit, tokens, users
from engine.store.tx import Tx

T = TypeVar("T")
ROLES = click.Choice([role.value for role in Role])


@click.group("user")
def user() -> None:
    """Users of the console and the API."""


@user.command("list")
@data_option
@json_option
@served(people_elsewhere.users_list)
def list_users(data: Path, as_json: bool) -> None:
    """All users and what they may do.

    Example: isthmus user list
    """
    with access.reading(data) as tx:
        found = users.everybody(tx)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    showing.user_table(found)


@user.command("add")
@click.argument("name")
@click.option("--role", type=ROLES, default=Role.VIEWER.value, show_default=True, help="What they may do.")
@click.option("--channel", "channels", multiple=True, help="Only on this channel; may be given again.")
@click.option("--reveal", is_flag=True, help="May see patient data; every view is audited.")
@data_option
@served(people_elsewhere.user_add)
def add(name: str, role: str, channels: tuple[str, ...], reveal: bool, data: Path) -> None:
    """Make a user; the password is asked for, or read from standard input.

    Example: isthmus user add nightshift --role operator
    """
    hashed = passwords.hashed(secret.password(), name)
    grants = [Grant(Role(role), channels)]
    access.audited(data, "user.create", name, lambda tx: users.add(tx, name, hashed, grants, reveal=reveal))
    click.echo(saying.user_added(name))


@user.command("password")
@click.argument("name")
@data_option
@served(people_elsewhere.user_password)
def password(name: str, data: Path) -> None:
    """Set a new password, which also unlocks; the user's sessions end.

    Example: isthmus user password nightshift
    """
    hashed = passwords.hashed(secret.password(), name)
    access.audited(data, "password.change", name, lambda tx: users.change(tx, name, password=hashed))
    click.echo(saying.password_changed(name))


@user.command("unlock")
@click.argument("name")
@click.option("--second-factor-off", is_flag=True, help="Also take the second factor away, when it is lost.")
@data_option
@served(people_elsewhere.user_unlock)
def unlock(name: str, second_factor_off: bool, data: Path) -> None:
    """Let a user whom wrong passwords have locked try again at once.

    Example: isthmus user unlock nightshift
    """

    def work(tx: Tx) -> None:
        users.unlock(tx, name)
        if second_factor_off:
            users.set_totp(tx, name, None)

    access.audited(data, "user.unlock", name, work)
    click.echo(saying.user_unlocked(name, second_factor_off))


@user.command("remove")
@click.argument("name")
@data_option
@served(people_elsewhere.user_remove)
def remove(name: str, data: Path) -> None:
    """Delete a user, with sessions and tokens; what they did stays in the audit log.

    Example: isthmus user remove nightshift
    """
    access.audited(data, "user.delete", name, lambda tx: users.remove(tx, name))
    click.echo(saying.user_removed(name))


@click.group("token")
def token() -> None:
    """API tokens."""


@token.command("add")
@click.argument("name")
@click.option("--user", "owner", required=True, help="Whose token it is: it never may more than they.")
@click.option(
    "--role", type=ROLES, default=Role.VIEWER.value, show_default=True, help="What it may do, at most."
)
@click.option("--channel", "channels", multiple=True, help="Only on this channel; may be given again.")
@click.option("--reveal", is_flag=True, help="May see patient data.")
@click.option("--days", type=click.IntRange(1, 1825), default=90, show_default=True, help="Until it expires.")
@data_option
@served(people_elsewhere.token_add)
def add_token(
    name: str, owner: str, role: str, channels: tuple[str, ...], reveal: bool, days: int, data: Path
) -> None:
    """Make a token; its secret is printed once.

    With --server a token of your own: your password is asked for, or read from standard input (the code of a second
    factor in the next line).

    Example: isthmus token add monitoring --user nightshift --days 365
    """
    until = time.time_ns() // 1000 + days * 86_400_000_000
    grants = [Grant(Role(role), channels)]
    made, _ = access.audited(
        data, "token.create", name, lambda tx: tokens.add(tx, owner, name, grants, until, reveal=reveal)
    )
    click.echo(made)


@token.command("list")
@data_option
@json_option
@served(people_elsewhere.tokens_list)
def list_tokens(data: Path, as_json: bool) -> None:
    """All tokens, without their secrets.

    Example: isthmus token list
    """
    with access.reading(data) as tx:
        found = tokens.find(tx)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    showing.token_list(found)


@token.command("rotate")
@click.argument("number", type=int)
@click.option(
    "--overlap", type=click.IntRange(0, 168), default=0, help="Hours that the old secret stays good."
)
@data_option
@served(people_elsewhere.token_rotate)
def rotate(number: int, overlap: int, data: Path) -> None:
    """Give a token a new secret, which is printed once; its name, rights and length of life stay.

    With --server one of your own; your password is asked for, as for `token add`.

    Example: isthmus token rotate 3 --overlap 24
    """
    hours = overlap * 3_600_000_000
    made, _ = access.audited(data, "token.rotate", str(number), lambda tx: tokens.rotate(tx, number, hours))
    click.echo(made)


@token.command("revoke")
@click.argument("number", type=int)
@data_option
@served(people_elsewhere.token_revoke)
def revoke(number: int, data: Path) -> None:
    """A token is good no more, at once.

    Example: isthmus token revoke 3
    """

    def work(tx: Tx) -> None:
        if not any(one.id == number for one in tokens.find(tx)):
            raise UserError(
                f"there is no token {number}", code="token.unknown", todo="see the list of tokens"
            )
        tokens.revoke(tx, number)

    access.audited(data, "token.revoke", str(number), work)
    click.echo(saying.token_revoked(number))


@click.group("audit")
def log() -> None:
    """Who did what, and who saw which patient data."""


@log.command("list")
@click.option("--actor", help="By this user.")
@click.option("--action", help="This action, such as phi.reveal.")
@click.option("--since", help="Since: 2026-11-22T03:00, 90m, 24h, 7d.")
@click.option("--limit", default=50, show_default=True, help="Newest so many.")
@click.option("--fhir", is_flag=True, help="As FHIR R4 AuditEvent resources, one a line.")
@data_option
@json_option
@served(people_elsewhere.audit_list)
def list_audit(
    actor: str | None,
    action: str | None,
    since: str | None,
    limit: int,
    fhir: bool,
    data: Path,
    as_json: bool,
) -> None:
    """The newest entries.

    Example: isthmus audit list --action phi.reveal --since 7d
    """
    with access.reading(data) as tx:
        rows = audit.find(tx, actor=actor, action=action, since=access.moment(since), limit=limit)
    showing.audit_log(rows, fhir, as_json)


@log.command("verify")
@click.option("--expect", help="A newest hash that was noted before: it must still be in the chain.")
@data_option
@json_option
@served(people_elsewhere.audit_verify)
def verify(expect: str | None, data: Path, as_json: bool) -> None:
    """Whether the chain of the audit log is whole. Exit 0 when it is, 1 when rows were changed or taken out.

    Note the newest hash elsewhere now and then: with --expect it shows whether the end was cut off since.

    Example: isthmus audit verify
    """
    with access.reading(data) as tx:
        verdict = audit.verify(tx, expect)
    sys.exit(saying.verdict(verdict, as_json))
