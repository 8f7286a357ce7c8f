"""What became of a message, as far as an acknowledgement must know.

Guarantees: what a message was split into is told with it, and so is what came of that; what was replayed or edited is
told by what took its place; what a response step passed on to another channel is none of its sender's business, and not
told. Refuses nothing.
"""

from __future__ import annotations

import msgspec

from engine.store.messages import PART
from engine.store.tx import Tx

_FATES = """
WITH RECURSIVE line (id, channel) AS (
  SELECT id, channel FROM message WHERE id = ?1 UNION ALL
  SELECT m.id, m.channel FROM line JOIN message AS m ON m.parent_id = line.id AND m.channel = line.channel)
SELECT m.parent_id, m.flags, m.id, m.state, m.error_code, m.error_text, m.error_place,
    d.state, d.error_code, d.error_text, d.error_place
  FROM line JOIN message AS m ON m.id = line.id LEFT JOIN delivery AS d ON d.message_id = m.id
  ORDER BY m.id, d.slot
"""


class Fate(msgspec.Struct):
    """State and error of a message, or of one of its deliveries (`destination`)."""

    message_id: int
    state: str
    error_code: str | None
    error_text: str | None
    error_place: str | None


def fates(tx: Tx, message_id: int) -> tuple[list[Fate], list[Fate]]:
    """Of a message, everything that it was split into, and what took the place of any: the messages and their
    deliveries, without those that were replaced.

    Nothing when there is no such message.
    """
    messages: dict[int, Fate] = {}
    deliveries: list[Fate] = []
    rows = tx.rows(_FATES, (message_id,))
    replaced = {parent for parent, flags, number, *_ in rows if number != message_id and not flags & PART}
    for _, _, number, state, code, text, place, *delivery in rows:
        if number in replaced:
            continue
        messages.setdefault(number, Fate(number, state, code, text, place))
        if delivery[0] is not None:
            deliveries.append(Fate(number, *delivery))
    return list(messages.values()), deliveries
