"""The console's words in the reader's language: English in the pages and the code, others in console/languages.

Guarantees: a text without a translation is shown in English; values are put in by name (`%(name)s`) and escaped as
everywhere. Chosen by the cookie that /account sets, else by Accept-Language. Words of the product (states, roles,
YAML keys, error codes and the errors' own sentences) are the same in every language.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import yaml
from starlette.requests import Request

FOLDER = Path(__file__).parent / "languages"
COOKIE = "isthmus_language"
LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français", "es": "Español"}
_chosen: ContextVar[str] = ContextVar("language", default="en")


@cache
def catalogue(language: str) -> Mapping[str, str]:
    """English text to text in a language."""
    file = FOLDER / f"{language}.yaml"
    return yaml.safe_load(file.read_text("utf-8")) or {} if file.exists() else {}


def wanted(request: Request) -> str:
    """The language of who asks."""
    named = request.cookies.get(COOKIE, "")
    if named in LANGUAGES:
        return named
    offered: list[tuple[float, int, str]] = []
    for index, part in enumerate(request.headers.get("accept-language", "")[:500].split(",")):
        name, _, weight = part.strip().partition(";q=")
        try:
            offered.append((-float(weight or 1), index, name.lower().partition("-")[0]))
        except ValueError:
            continue
    return next((name for weight, _, name in sorted(offered) if name in LANGUAGES and weight < 0), "en")


def choose(language: str) -> None:
    """What follows in this context is in this language."""
    _chosen.set(language)


def chosen() -> str:
    """The language of this context."""
    return _chosen.get()


def gettext(text: str) -> str:
    """A text in the chosen language, its placeholders still in it."""
    return catalogue(_chosen.get()).get(text) or text


def ngettext(one: str, many: str, count: int) -> str:
    """The form for a number."""
    single = count == 1 or (count == 0 and _chosen.get() == "fr")
    return gettext(one if single else many)


ACTS = ("start", "stop", "pause", "resume", "reload", "cancel", "replay", "resend", "discard")
"""What one does to a channel, a job or messages, on buttons and in headings."""


OUTCOMES = (
    "created", "changed", "untouched", "archived", "merged", "called", "added", "removed", "same", "passed", "filtered",
    "unchanged", "error", "done already", "no such record", "nothing to archive", "nothing to merge",
    "skipped: no such record", "skipped: no such resource", "would be adopted", "would call",
    "would name the survivor", "would take over the retired record", "kept: merged into another",
)  # fmt: skip
"""What becomes of a record, a segment, or a message in a step."""

EVENTS = ("retry", "error", "discard", "replay", "resend", "edit", "export", "job")
"""What the store keeps of a message beside its states, in its timeline."""


def outcome(text: str) -> str:
    """One of OUTCOMES, or one with a method of the record behind it: `would call: action_confirm`."""
    said = gettext(text)
    word, colon, method = text.partition(": ")
    return f"{gettext(word)}: {method}" if colon and said == text else said


def N_(text: str) -> str:
    """Marks a text that is translated where it is shown, by the filter `translated`."""
    return text
