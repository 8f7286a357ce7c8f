"""What today's channel makes of a stored message: its steps, its canonical events, and where each value is from.

Guarantees: it is what `isthmus try` tells; nothing is stored, sent or looked up; without `reveal` it holds places,
names, outcomes and models, and of values only those of the message header.
Refuses (Refused): see console.workbench; 404 and 409 as for the message itself.
"""

from __future__ import annotations

from typing import Any

from console.masking import DOT, OPEN_SEGMENTS, masked
from console.problems import Refused
from console.stores import Stores
from console.workbench import Workbench
from engine.security.roles import Identity, Role
from engine.store.messages import raw

HIDDEN = frozenset({"value", "old", "new", "code", "key", "subject"})


def trace(
    stores: Stores, bench: Workbench, identity: Identity, message_id: int, reveal: bool
) -> dict[str, Any]:
    """The trace (channels.trace.Trace as plain data) of one message."""
    with stores.reading() as tx:
        rows = tx.rows("SELECT channel FROM message WHERE id = ?", (message_id,))
        content = raw(tx, message_id) if rows else None
    if not rows or not identity.may(Role.VIEWER, rows[0][0]):
        raise Refused(404, "message.unknown", f"there is no message {message_id}")
    if content is None:
        raise Refused(409, "message.gone", "its content is not kept any more")
    told: dict[str, Any] = bench.ask("trace", channel=rows[0][0], messages=[content])["traces"][0]
    return told if reveal else hidden(told)


def hidden(told: dict[str, Any]) -> dict[str, Any]:
    """A trace without what the message says."""
    found: dict[str, Any] = _hidden(told)
    found["answers"] = [masked(answer.encode()) for answer in told["answers"]]
    for destination in found["destinations"]:
        destination["payload"] = masked(destination["payload"].encode())
    return found


def _hidden(told: Any) -> Any:
    if isinstance(told, list):
        return [_hidden(item) for item in told]
    if not isinstance(told, dict):
        return told
    open_ = str(told.get("path", "")).partition("-")[0].partition("[")[0] in OPEN_SEGMENTS
    secret = HIDDEN | {"where"} if "table" in told else HIDDEN  # the row of a table is the code
    return {
        name: _dotted(item) if name in secret and not open_ else _hidden(item) for name, item in told.items()
    }


def _dotted(value: Any) -> Any:
    return value if value in (None, "", [], {}, '""') else DOT
