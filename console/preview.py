"""What an act would change, record by record, asked of the command line in a process of its own.

Guarantees: the answer of `messages replay --dry-run`; nothing is stored and nothing is sent; a process that takes too
long is ended; keys and values are masked unless they are to be revealed.
Refuses (Refused): 504 when it takes too long, 409 when it cannot be told (a configuration with errors, a destination
that cannot be reached), in the words of the command line.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from console.masking import DOT
from console.problems import Refused
from console.queries import Act
from engine.change import Change, kinds, named
from engine.store import audit

PROGRAM = "from engine.cli import main; main()"
LONGEST = 30.0  # seconds
LOOKED_AT = 50  # messages, the oldest
TOGETHER = threading.BoundedSemaphore(2)


class Field(msgspec.Struct):
    """One field: what stands there and what would."""

    name: str
    old: str
    new: str


class Record(msgspec.Struct):
    """One record. `kind`: created, changed, untouched, archived, merged, called, or why not."""

    kind: str
    model: str
    id: int | str | None
    key: str
    fields: list[Field]

    @property
    def name(self) -> str:
        """`res.partner,7`, `Patient/7`."""
        return named(self.model, self.id)


class Foreseen(msgspec.Struct):
    """What one message would do to one destination; `why` where it does nothing or cannot be told."""

    message_id: int
    channel: str
    destination: str
    state: str
    why: str
    records: list[Record]


class Preview(msgspec.Struct):
    """The effects of the first `looked_at` of `messages`."""

    messages: int
    looked_at: int
    revealed: bool
    effects: list[Foreseen]

    @property
    def counts(self) -> dict[str, int]:
        """How many records of each kind."""
        return Counter(record.kind for effect in self.effects for record in effect.records)


def preview(config: Path, data: Path, act: Act, ids: list[int], reveal: bool) -> Preview:
    """The effects of an act on these messages, in the order in which they would happen."""
    some = ids[:LOOKED_AT]
    told = asked(_arguments(config, data, act, some)) if some else []
    return Preview(len(ids), len(some), reveal, [effect(one, reveal) for one in told])


def edited(config: Path, data: Path, message_id: int, content: bytes, reveal: bool) -> list[Foreseen]:
    """The effects of an edited copy of a message, which is told to the command line on its standard input."""
    arguments = ["messages", "edit", "--dry-run", "--json", "--config", str(config), "--data", str(data)]
    return [effect(one, reveal) for one in asked([*arguments, str(message_id), "-"], content)]


def _arguments(config: Path, data: Path, act: Act, ids: list[int]) -> list[str]:
    only = act.query.only if act.verb == "resend" else {}
    names = {"destination": "--destination", "state": "--delivery", "code": "--code", "cause": "--cause"}
    given = [f"{names[name]}={value}" for name, value in only.items() if value]
    return [
        "messages", act.verb, "--dry-run", "--json", "--config", str(config), "--data", str(data), *given,
        *map(str, ids),
    ]  # fmt: skip


def asked(arguments: list[str], content: bytes = b"") -> list[dict[str, Any]]:
    """The effects that a verb tells as JSON (channels.preview.Effect); `content` is its standard input."""
    if not TOGETHER.acquire(timeout=LONGEST):
        raise Refused(503, "preview.busy", "others are looking ahead now", "try again in a minute")
    try:
        done = subprocess.run(  # noqa: S603 (our own program; numbers and checked words)
            [sys.executable, "-c", PROGRAM, *arguments], input=content, capture_output=True, timeout=LONGEST,
            check=False, env={**os.environ, audit.BY_CONSOLE: "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refused(
            504,
            "preview.slow",
            f"what would change was not known after {LONGEST:.0f} s",
            "choose fewer messages",
        ) from None
    finally:
        TOGETHER.release()
    try:
        return msgspec.json.decode(done.stdout, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1].removeprefix("isthmus: ") if lines else "this cannot be told"
        raise Refused(409, "preview.failed", why) from None


def effect(told: dict[str, Any], reveal: bool) -> Foreseen:
    """What the command line told of one message and destination, masked unless revealed."""
    changes = msgspec.convert(told["changes"], list[Change])
    records = [
        Record(
            kind, changed[0].model, changed[0].record, changed[0].key if reveal else DOT,
            [Field(one.field, _shown(one.old, reveal), _shown(one.new, reveal)) for one in changed if one.field],
        )
        for kind, changed in kinds(changes)
    ]  # fmt: skip
    names = ("message_id", "channel", "destination", "state", "why")
    return Foreseen(**{name: told[name] for name in names}, records=records)


def _shown(value: Any, reveal: bool) -> str:
    if value in (None, "", False, []):
        return ""
    return " ".join(str(value).split()) if reveal else DOT
