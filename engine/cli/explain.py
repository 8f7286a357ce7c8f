"""`explain`: what HL7 calls a place, a message type or a table, and what an error code of ours means."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import click

from engine.hl7 import events, names
from engine.hl7.paths import PathError
from engine.spec.document import did_you_mean

_ROW = re.compile(r"^\| `([a-z0-9_.]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)
_MESSAGE = re.compile(r"[A-Z][A-Z0-9]{2}(\^.*|_[A-Z0-9]{3})")
SHOWN = 40
"""So many codes of a table are shown with a place; `explain TABLE` shows all."""


@click.command("explain")
@click.argument("words", nargs=-1, required=True)
@click.option("--version", default=names.DEFAULT, show_default=True, help="HL7 version.")
def command(words: tuple[str, ...], version: str) -> None:
    """What each of WORDS is: a place of HL7, a message type, the number of a table, or an error code.

    A place has a name, a type, the codes of its table and the parts it is made of; a message type an event, a
    structure and segments; an error code what was wrong and what to do.

    Example: isthmus explain PID-3.4 PID.patient_name ADT^A08 0001 odoo.validation
    """
    wrong = False
    if version not in names.versions():
        click.echo(
            f"There are no tables of HL7 {version}: those of {names.nearest(version)} answer.", err=True
        )
    for word in words:
        try:
            explain(word, version)
        except PathError as error:
            click.echo(f"{word}: {error}", err=True)
            wrong = True
    sys.exit(1 if wrong else 0)


def explain(word: str, version: str) -> None:
    """One word as text. Raises PathError when nothing is called so."""
    if re.fullmatch(r"\d{4}", word):
        codes(word, version)
    elif _MESSAGE.fullmatch(word):
        message(events.describe(word, version))
    elif re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)*", word):
        error_code(word)
    else:
        show(names.describe(word, version))


def show(found: names.Description) -> None:
    """One place as text."""
    facts = [
        found.datatype,
        f"table {found.table}" if found.table else "",
        "required" if found.required else "",
    ]
    if found.repeats != 1:
        facts.append(f"repeats up to {found.repeats} times" if found.repeats else "repeats")
    inside = f" in {' > '.join(found.within)}" if found.within else ""
    click.echo(f"{found.path} {found.name}{inside} ({', '.join(filter(None, facts))}, HL7 {found.version})")
    title, values = names.table(found.table, found.version) if found.table else ("", ())
    if values:
        more = f" … {len(values)} in all: explain {found.table}" if len(values) > SHOWN else ""
        click.echo(f"  table {found.table} {title}: {' '.join(values[:SHOWN])}{more}")
    for part in found.parts:
        table = f", table {part.table}" if part.table else ""
        click.echo(f"  .{part.number} {part.name} ({part.datatype}{table})")


def codes(number: str, version: str) -> None:
    """Every code of a table. Raises PathError."""
    version = names.nearest(version)
    title, values = names.table(number, version)
    if not title and not values:
        raise PathError(number, 1, f"no codes are known of table {number} in HL7 {version}", "see the sender")
    click.echo(f"table {number} {title} (HL7 {version}): {' '.join(values)}")


def message(found: events.Message) -> None:
    """One message type as text."""
    title = f" {found.name}" if found.name else ""
    click.echo(f"{found.type}{title} (structure {found.structure}, HL7 {found.version})")
    for segment, title in found.segments:
        click.echo(f"  {segment} {title}".rstrip())


def error_code(code: str) -> None:
    """What an error code means. Raises PathError."""
    rows, told_by_lint = rows_of("errors.md"), rows_of("lint.md")
    if code in rows:
        what, todo = rows[code]
        click.echo(f"{code}: {what}\n  what to do: {todo}")
    elif code in told_by_lint:
        example, what = told_by_lint[code]
        click.echo(f"{code}: {what}\n  for example: {example}")
    else:
        raise PathError(
            code, 1, f"there is no error code {code}", did_you_mean(code, {**rows, **told_by_lint})
        )


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """The codes of a page of docs/, in the source tree or as installed beside the package."""
    beside = (
        Path(__file__).resolve().parents[2] / "docs",
        Path(sysconfig.get_path("data")) / "share/doc/isthmus",
    )
    found = next((folder / page for folder in beside if (folder / page).is_file()), None)
    text = found.read_text("utf-8") if found else ""
    return {code: (one.replace("\\|", "|"), other) for code, one, other in _ROW.findall(text)}
