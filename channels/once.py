"""What a `duplicate` filter asked, decided: at C2 by the store, in tests and trials by what came before in them.

Guarantees: a message that came before is FILTERED whatever the later steps made of it; only one that goes on, or
was split, counts as having come: what ended in ERROR or was filtered did not.
"""

from __future__ import annotations

from typing import Protocol

from msgspec.structs import replace

from channels.pipeline import Rendered
from engine.model import Once
from engine.states import MessageState


class Seen(Protocol):
    """What passed before one message."""

    def before(self, once: Once, destination: str) -> int:
        """The message that passed within the window; 0: none did."""

    def note(self, once: Once, destination: str) -> None:
        """It passes."""


class Memory:
    """What passed in a trial; `at` are microseconds."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, bytes], tuple[int, int]] = {}
        self.number, self.at = 0, 0

    def next(self, number: int, at: int = 0) -> Memory:
        """The memory for the message of this number, received then."""
        self.number, self.at = number, at
        return self

    def before(self, once: Once, destination: str) -> int:
        """The message that passed within the window; 0: none did."""
        number, at = self._passed.get((destination, once.digest), (0, 0))
        return number if number and at >= self.at - once.window else 0

    def note(self, once: Once, destination: str) -> None:
        """It passes."""
        self._passed[destination, once.digest] = self.number, self.at


def decide(rendered: Rendered, seen: Seen, *, noting: bool = True) -> Rendered:
    """What becomes of the message; `rendered` itself when nothing came before."""
    if not rendered.once:
        return rendered
    told: dict[str, str] = {}
    for destination, once in rendered.once:
        known = seen.before(once, destination)
        if known:
            told.setdefault(destination, f"{once.label}: the same {once.what} came with message {known}")
    if "" in told:
        return _filtered(rendered, told[""])
    if told:
        skipped = [*rendered.skipped, *((name, why) for name, why in told.items() if name)]
        payloads = [one for one in rendered.payloads if one[0] not in told]
        if rendered.state == MessageState.TRANSFORMED and not payloads:
            reasons = "; ".join(f"{name}: {why}" for name, why in skipped)
            return _filtered(rendered, reasons, skipped)
        rendered = replace(rendered, skipped=skipped, payloads=payloads)
    if noting and (rendered.state == MessageState.TRANSFORMED or rendered.parts):
        for destination, once in rendered.once:
            if destination not in told:
                seen.note(once, destination)
    return rendered


def _filtered(rendered: Rendered, reason: str, skipped: list[tuple[str, str]] | None = None) -> Rendered:
    return Rendered(
        MessageState.FILTERED, reason=reason, skipped=skipped or [], version=rendered.version,
        columns=rendered.columns, snapshot=rendered.snapshot,
    )  # fmt: skip
