"""What verbs say, here and with `--server` alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from engine.clock import iso

if TYPE_CHECKING:  # verbs that need no store start without it
    from engine.store.audit import Verdict
    from engine.store.versions import Entry

SHOWN = 20  # ids in a line


def counted(count: int, word: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def nothing(ids: Sequence[int] | None, as_json: bool) -> int:
    """No message was chosen; gives the exit status: 1 when messages were named."""
    if as_json:
        click.echo("null")
    elif ids:
        named = ", ".join(str(one) for one in ids[:SHOWN])
        click.echo(f"There is no message {named}{' …' if len(ids) > SHOWN else ''} that fits.", err=True)
    else:
        click.echo("No messages fit.")
    return 1 if ids else 0


def contentless(verb: str, gone: Sequence[int]) -> str:
    """Messages whose content is not kept."""
    named = ", ".join(str(one) for one in gone[:SHOWN])
    named += f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
    return (
        f"The content of {named} is not kept any more (`storage` or `retention` of the channel):"
        f" nothing to {verb}. Ask the sender to send it again."
    )


def exported(written: int, chosen: int) -> int:
    """How much was exported; gives the exit status."""
    click.echo(f"Exported {written} (of {chosen} chosen).", err=True)
    return 0 if written == chosen else 1


UNCHANGED = "Nothing was changed: use `isthmus messages replay`."


def no_content(id: int) -> str:
    """A message that cannot be edited."""
    return f"There is no message {id}, or its content is not kept."


def edited(id: int, parent: int, as_json: bool) -> str:
    """An edited copy was made."""
    return f'{{"id": {id}, "parent_id": {parent}}}' if as_json else f"Replayed as {id}."


def reloaded(result: Mapping[str, Any]) -> int:
    """What became of a reload; gives the exit status."""
    if not result["taken"]:
        for problem in result["problems"]:
            click.echo(problem, err=True)
        click.echo(f"Not taken: version {result['version']} goes on.", err=True)
        return 1
    for channel, what in result["changes"].items():
        click.echo(f"{channel}: {', '.join(what)}")
    if not result["changes"]:
        click.echo("No channel changed.")
    click.echo(f"Version {result['version']} runs.")
    return 0


def history(found: Sequence[Entry]) -> None:
    """The configurations that ran, a line each."""
    for entry in found:
        changes = "; ".join(f"{name}: {', '.join(what)}" for name, what in entry.changes)
        note = f"  ({entry.note})" if entry.note else ""
        click.echo(f"{entry.id:4}  {entry.version}  {iso(entry.at)}  {entry.actor}  {changes}{note}".rstrip())


def files(texts: Mapping[str, str]) -> None:
    """The files of a version."""
    for name, text in texts.items():
        click.echo(f"# {name}\n{text.rstrip()}\n")


def difference(sentences: Sequence[str], lines: Sequence[str], words: bool, as_json: bool) -> int:
    """How two configurations differ; gives the exit status."""
    if as_json:
        click.echo(msgspec.json.encode({"words": sentences, "diff": lines}).decode())
        return 1 if lines else 0
    for sentence in sentences or ["Nothing that matters." if lines else "The files are the same."]:
        click.echo(sentence)
    if lines and not words:
        click.echo("\n" + "\n".join(lines))
    return 1 if lines else 0


def verdict(found: Verdict, as_json: bool) -> int:
    """Whether the audit log is whole; gives the exit status."""
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    elif found.broken:
        click.echo(f"The chain is broken at entry {found.broken}.")
    elif not found.whole:
        click.echo("The chain is whole, but the expected hash is not in it: its end was cut off or replaced.")
    else:
        click.echo(f"{found.rows} entries, whole. Newest hash: {found.head}")
    return 0 if found.whole else 1


def user_added(name: str) -> str:
    """A user was made."""
    return f"User {name} is there."


def password_changed(name: str) -> str:
    """A user has a new password."""
    return f"The password of {name} is new."


def user_unlocked(name: str, second_factor_off: bool) -> str:
    """A user may sign in again."""
    return f"{name} may sign in" + (" without a second factor." if second_factor_off else ".")


def user_removed(name: str) -> str:
    """A user was deleted."""
    return f"User {name} is gone."


def token_revoked(number: int) -> str:
    """A token is good no more."""
    return f"Token {number} is revoked."
