"""What every message format gives: a view by paths, a look at the identity of a message, and answers.

    parse(raw) -> View        msg[path], msg.all(path), msg[path] = value, bytes(msg), msg.split(path)
    peek(raw)  -> header      control id, type and sender, before the message is stored (C1)
    identify   -> Identity    what it is found by and kept in order by

Guarantees: the bytes of a view are the message's own until something is set; what is not there is ABSENT, what is
there and empty is CLEAR, anything else is a value; type and control id hold no free text, for they are stored in
clear. Refuses (FormatError, with what the answer must say): bytes that are not of the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import orjson

from engine.clock import Micros
from engine.errors import ConfigError, FormatError, HL7Error

MAX_DEPTH = 100
CACHED = 4096
_NAME = re.compile(r"[\w.:^/|@+-]{1,128}", re.ASCII)


class PathError(ConfigError):
    """A path that cannot be: `column` is the 1-based position inside it."""

    code = "format.path"

    def __init__(self, path: str, column: int, what: str, todo: str = "") -> None:
        super().__init__(what, where=f"path {path!r}, column {column}", todo=todo)
        self.path = path
        self.column = column


class View(Protocol):
    """`msg[...]` of one message."""

    def __getitem__(self, path: str) -> Any: ...
    def __setitem__(self, path: str, value: Any) -> None: ...
    def all(self, path: str) -> list[Any]:
        """Every value that `path` names, in order; absent ones left out."""

    def places(self, path: str) -> list[str]:
        """A path of its own for every value that `path` names: over all repetitions, segments, items, rows."""

    def split(self, path: str) -> list[bytes]:
        """One message for each item that `path` names; fewer than two: the message is one already."""

    def leaves(self) -> Iterator[tuple[str, Any]]:
        """Every place that holds something: its path, as `msg[...]` takes it, and its value."""

    def __bytes__(self) -> bytes: ...


class Identity(NamedTuple):
    """What a message is searched and ordered by; empty texts for what it does not say."""

    mrn: str = ""
    visit: str = ""
    key: str = ""
    also: tuple[str, ...] = ()  # further ordering keys: a merge belongs to several patients


class Header:
    """What is known of a message before it is stored. `view` is the whole message, read for it."""

    __slots__ = ("control_id", "sender", "type", "view")
    accept_ack = application_ack = ""

    def __init__(self, view: Any, control_id: Any = "", kind: Any = "", sender: Any = "") -> None:
        self.view = view
        self.control_id = name(control_id)
        self.type = name(kind)
        self.sender = name(sender)


class Verdict(NamedTuple):
    """What an answer says: MSA-1 and, when it is an error, ERR-3."""

    code: str
    condition: str = ""


class Format(Protocol):
    """One way to write messages, with the settings of one channel."""

    name: str
    content_type: str  # of messages and of answers
    ordering_key: str  # the path of it, where the channel names none
    typed: bool  # values keep their type; otherwise they are text

    def parse(self, raw: bytes) -> Any:
        """The view of a message. Raises FormatError or HL7Error."""

    def peek(self, raw: bytes) -> Any:
        """The header of a message. Raises FormatError or HL7Error; its `header` is what could be read."""

    def identify(self, raw: bytes, header: Any, path: str) -> Identity:
        """Its identifiers, and the ordering key at `path`. Never fails."""

    def parts(self, raw: bytes) -> list[bytes]:
        """The messages that arrived together; one, as it is, when it cannot be divided."""

    def check(self, path: str) -> None:
        """Raise PathError when `path` cannot be one of this format."""

    def acknowledge(self, header: Any, code: str, error: HL7Error | None, ack_id: str, now: Micros) -> bytes:
        """The answer with this MSA-1. `header` may be None when there is an error."""

    def verdict(self, answer: bytes) -> Verdict:
        """What an answer that `acknowledge` made says."""


class JsonAnswers:
    """Answers as a small JSON document: `{"code": "AA", "id": ..., "error": {...}}`."""

    content_type = "application/json"

    def acknowledge(self, header: Any, code: str, error: HL7Error | None, ack_id: str, now: Micros) -> bytes:
        """`code` is MSA-1 as in HL7: AA accepted, AE stored as an error, AR refused."""
        told: dict[str, Any] = {"code": code, "id": ack_id}
        if header is not None and header.control_id:
            told["control_id"] = header.control_id
        if error is not None:
            told["error"] = {
                "code": error.code,
                "text": error.what,
                "where": error.where,
                "todo": error.todo,
                "condition": error.condition,
            }
        return orjson.dumps(told)

    def verdict(self, answer: bytes) -> Verdict:
        """MSA-1 and the condition."""
        told = orjson.loads(answer)
        return Verdict(told["code"], told.get("error", {}).get("condition", ""))

    def parts(self, raw: bytes) -> list[bytes]:
        """One message, unless the format says otherwise."""
        return [raw]


def rank(verdict: Verdict) -> int:
    """Worst first: what is not stored, then what is stored as an error."""
    if verdict.condition == "207" and verdict.code in ("AR", "CR"):
        return 0
    return ("", "AR", "CR", "AE", "CE", "CA", "AA").index(verdict.code)


def worst(form: Format, answers: bytes | list[bytes] | None) -> Verdict | None:
    """What an answer says, or the worst of several; None when nothing is to be said."""
    found = [answers] if isinstance(answers, bytes) else answers or []
    return min((form.verdict(one) for one in found), key=rank, default=None)


def name(value: Any) -> str:
    """`value` if it is a short name, else empty: what is stored in clear must not hold free text."""
    text = value if isinstance(value, str) else str(value) if type(value) is int else ""
    return text if _NAME.fullmatch(text) else ""


def plain(value: Any) -> str:
    """`value` as a key: text and numbers, anything else is no key."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def identify(view: Any, mrn: str, visit: str, key: str) -> Identity:
    """The identity by paths; what cannot be read is empty."""
    return Identity(plain(reading(view, mrn)), plain(reading(view, visit)), plain(reading(view, key)))


def reading(view: Any, path: str) -> Any:
    """The value at `path`, or empty when there is none, or no path."""
    if not path:
        return ""
    try:
        return view[path]
    except Exception:
        return ""  # a path that fails on this document


def bad(what: str, todo: str, code: str = "format.unreadable") -> FormatError:
    """Bytes that are not of the format: refused for good (ERR-3 100)."""
    return FormatError(what, code=code, todo=todo, ack="AR", condition="100")


def cached(cache: dict[str, Any], path: str, make: Callable[[str], Any]) -> Any:
    """The compiled form of `path`; paths made at run time must not fill the memory."""
    found = make(path)
    if len(cache) >= CACHED:
        cache.clear()
    cache[path] = found
    return found
