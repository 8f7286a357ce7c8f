"""The cause of an error: its code and the place where it arose, as a short name that stays the same.

Guarantees: the same fault has the same fingerprint on every message, in every process and after an upgrade; it is
made of code and place alone, never of the error's text; a place keeps only what names a thing of HL7, Odoo or
the configuration, so record ids, quoted values and anything else of a message become `…`.
Refuses nothing: every code and place, none too, has a cause.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from engine.clock import Micros

if TYPE_CHECKING:
    from engine.store.tx import Tx

DISMISSED = 4
"""Flag of a message in ERROR: an operator discarded or replayed it, so it is an open error no more."""
UNDISMISSED = f"flags & {DISMISSED} = 0"

_PIECE = re.compile(
    r"""
    (?P<file> (?:[^\s:'"]*/)? (?P<base> [\w-]+\.(?:yaml|yml|py|j2|jinja|json|csv|txt) ) (?P<mark> (?::\d+){0,2} ) )
    | (?P<step> (?:filters|transformers|destinations|listener|response) (?: \[\d{1,3}\] | \.[A-Za-z_][\w-]* )* )
    | (?P<hl7> [A-Z][A-Z0-9]{2} (?:\[[^\]]*\])? (?: -\d{1,3} (?:\[[^\]]*\])? (?:\.\d{1,2}){0,2} )? )
    | (?P<name> [a-z_][a-z_]*\d? (?:\.[a-z_][a-z0-9_]*)* )
    """,
    re.VERBOSE,
)
_BRACKETS = re.compile(r"\[[^\]]*\]")
LONGEST = 120


def normal(place: str | None) -> str:
    """A place without anything that differs from message to message."""
    kept: list[str] = []
    for piece in (place or "").split():
        bare = piece.rstrip(":,;")
        found = _PIECE.fullmatch(bare)
        if found is None:
            said = "…"
        elif found["file"]:
            said = found["base"] + found["mark"]
        elif found["hl7"]:
            said = _BRACKETS.sub("", bare)
        else:
            said = bare
        if kept[-1:] != ["…"] or said != "…":
            kept.append(said + (":" if piece.endswith(":") and said != "…" else ""))
    return " ".join(kept)[:LONGEST].removesuffix(":")


@lru_cache(4096)
def fingerprint(code: str | None, place: str | None) -> str:
    """Eight hexadecimal digits for a code and a place. SQL knows it as `cause(code, place)`."""
    return blake2b(f"{code or ''}\0{normal(place)}".encode("utf-8", "replace"), digest_size=4).hexdigest()


class ErrorGroup(msgspec.Struct):
    """Open errors with one cause: `destination` is "" when the message itself failed.

    `text` says what was wrong and what to do, from the newest of them (`last_id`).
    """

    cause: str
    channel: str
    destination: str
    code: str
    place: str
    count: int
    first_id: int
    last_id: int
    first_at: Micros
    last_at: Micros
    text: str


_GROUPS = """
SELECT cause(error_code, error_place) AS c, channel, '', count(*) AS n, min(id), max(id),
    min(coalesce(routed_at, received_at)), max(coalesce(routed_at, received_at))
  FROM message WHERE {term}state = 'ERROR' AND {open} GROUP BY c, channel
UNION ALL
SELECT cause(error_code, error_place) AS c, channel, destination, count(*), min(message_id), max(message_id),
    min(finished_at), max(finished_at)
  FROM delivery WHERE {term}state = 'ERROR' GROUP BY c, channel, destination
ORDER BY n DESC, 2, 3, 1
"""


def error_groups(tx: Tx, channel: str | None = None) -> list[ErrorGroup]:
    """All open errors by cause, the most frequent first: failed messages, and deliveries given up."""
    term, values = ("channel = ? AND ", (channel,)) if channel else ("", ())
    groups = []
    for cause, name, destination, count, first, last, began, ended in tx.rows(
        _GROUPS.format(term=term, open=UNDISMISSED), values * 2
    ):
        table = (
            "delivery WHERE destination = ? AND message_id" if destination else "message WHERE '' = ? AND id"
        )
        code, place, text = tx.rows(
            f"SELECT error_code, error_place, error_text FROM {table} = ?", (destination, last)
        )[0]
        groups.append(
            ErrorGroup(
                cause, name, destination, code or "", normal(place), count, first, last, began or 0, ended or 0,
                text or "",
            )
        )  # fmt: skip
    return groups
