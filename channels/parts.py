"""The rows of the messages that another one was split into, or that take the place of a note.

Guarantee: each belongs to the message that it was made of (`parent_id`), and waits for whom that one waited for when
it names nobody itself. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from channels.pipeline import Rendered
from engine.clock import Micros
from engine.model import Meta
from engine.store.messages import NewMessage


def parts(meta: Meta, keys: tuple[int, ...], rendered: Rendered, at: Micros, tx: Any) -> Iterator[NewMessage]:
    """Of one message with these ordering keys."""
    for part in rendered.parts:
        mrn, visit, key, also = part.identity
        first, *others = (tx.blind(f"key:{one}") for one in (key, *also)) if key else keys or (0,)
        new = NewMessage(meta.channel, part.raw, at, part.control_id, part.type, meta.sender, meta.peer)
        new.ordering_key, new.also_keys = first, tuple(sorted(set(others) - {first}))
        new.mrn, new.visit, new.parent_id = mrn, visit, meta.id
        yield new
