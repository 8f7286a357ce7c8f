"""What is on its way through a router: messages that wait, those that are routed together, and what becomes of those
that no pipeline can take."""

from __future__ import annotations

from dataclasses import dataclass

from channels.pipeline import Rendered
from engine.model import Meta
from engine.states import MessageState

DAMAGED = Rendered(
    MessageState.ERROR,
    code="store.corrupt",
    text="the stored message is damaged or gone (restore a backup, or let the sender send it again under a new MSH-10)",
    place="route",
)
POISON = Rendered(
    MessageState.ERROR,
    code="poison",
    text="the engine died twice while it worked on this message (replay it after the cause is mended)",
    place="route",
)


@dataclass(slots=True)
class Arrived:
    """A stored message that waits for its pipeline."""

    meta: Meta
    raw: bytes
    keys: tuple[int, ...]  # ordering keys; () when it waits for nobody
    attempts: int = 0  # times that the engine died while it worked on it


@dataclass(slots=True)
class Batch:
    """Messages that are routed together; None for those that are not done."""

    first: int  # id of the first
    messages: list[tuple[Arrived, Rendered | None]]
    ready: bool = True  # False while lookups are fetched for it
    failures: int = 0
    marked: bool | None = None  # as being at work; False: not while it waits; None: it need not be


def refused(one: tuple[Arrived, Rendered], error: Exception) -> tuple[Arrived, Rendered]:
    """In the place of what the steps made, when that cannot be stored."""
    text = f"what the steps made cannot be stored ({type(error).__name__})"
    code, version = "route.refused", one[1].version
    return one[0], Rendered(MessageState.ERROR, code=code, text=text, place="route", version=version)
